"""Pretraining without labels, and the guards that tell whether anything was learned."""

from eokeras.pretrain.contrastive import ContrastivePretrainer, VICRegPretrainer
from eokeras.pretrain.guard import CollapseGuard, EmbeddingHealth, OnlineProbe, check_views, embedding_health
from eokeras.pretrain.view_losses import nt_xent, vicreg

__all__ = [
    "CollapseGuard",
    "ContrastivePretrainer",
    "EmbeddingHealth",
    "OnlineProbe",
    "VICRegPretrainer",
    "check_views",
    "embedding_health",
    "nt_xent",
    "vicreg",
]
