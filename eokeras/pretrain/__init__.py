"""Pretraining without labels: by views and sensors, by masking, by free metadata; and guards against collapse."""

from eokeras.pretrain.clustering import GeoClusters, geoclusters, load_geoclusters
from eokeras.pretrain.contrastive import ContrastivePretrainer, VICRegPretrainer
from eokeras.pretrain.guard import CollapseGuard, OnlineProbe
from eokeras.pretrain.health import EmbeddingHealth, check_views, embedding_health
from eokeras.pretrain.inpainting import Inpainter
from eokeras.pretrain.mae import MaskedAutoencoder
from eokeras.pretrain.pretext import PretextTasks, pretext_tasks
from eokeras.pretrain.view_losses import chance_loss, matching_accuracy, nt_xent, vicreg

__all__ = [
    "CollapseGuard",
    "ContrastivePretrainer",
    "EmbeddingHealth",
    "GeoClusters",
    "Inpainter",
    "MaskedAutoencoder",
    "OnlineProbe",
    "PretextTasks",
    "VICRegPretrainer",
    "chance_loss",
    "check_views",
    "embedding_health",
    "geoclusters",
    "load_geoclusters",
    "matching_accuracy",
    "nt_xent",
    "pretext_tasks",
    "vicreg",
]
