"""Functional models: encoders give levels, fusion joins them, heads read them, `multitask` ties all together."""

from eokeras.models.encoders import unet
from eokeras.models.fusion import early_fusion, late_fusion
from eokeras.models.heads import map_head, regression_head, scene_head
from eokeras.models.tasks import multitask

__all__ = ["early_fusion", "late_fusion", "map_head", "multitask", "regression_head", "scene_head", "unet"]
