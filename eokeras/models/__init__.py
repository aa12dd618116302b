"""Functional models: encoders give levels, fusion joins them, heads read them, `multitask` ties all together."""

from eokeras.models.encoders import dense_encoder, group_vit, resnet, unet, unet_decoder, unet_encoder, vit
from eokeras.models.fusion import (
    cross_attention_fusion,
    drop_modality,
    early_fusion,
    film,
    gated_fusion,
    late_fusion,
    middle_fusion,
)
from eokeras.models.heads import dense_regression_head, map_head, regression_head, scene_head
from eokeras.models.sizing import match_parameters
from eokeras.models.tasks import multitask
from eokeras.models.transfer import LayerwiseAdamW, layer_rates, load_by_band
from eokeras.models.twins import single_task_twins

__all__ = [
    "LayerwiseAdamW",
    "cross_attention_fusion",
    "dense_encoder",
    "dense_regression_head",
    "drop_modality",
    "early_fusion",
    "film",
    "gated_fusion",
    "group_vit",
    "late_fusion",
    "layer_rates",
    "load_by_band",
    "map_head",
    "match_parameters",
    "middle_fusion",
    "multitask",
    "regression_head",
    "resnet",
    "scene_head",
    "single_task_twins",
    "unet",
    "unet_decoder",
    "unet_encoder",
    "vit",
]
