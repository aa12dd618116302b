"""Pretraining without labels: masked autoencoding, inpainting, and pretext tasks from free metadata."""

from eokeras.pretrain.clustering import GeoClusters, geoclusters, load_geoclusters
from eokeras.pretrain.inpainting import Inpainter
from eokeras.pretrain.mae import MaskedAutoencoder
from eokeras.pretrain.pretext import PretextTasks, pretext_tasks

__all__ = [
    "GeoClusters",
    "Inpainter",
    "MaskedAutoencoder",
    "PretextTasks",
    "geoclusters",
    "load_geoclusters",
    "pretext_tasks",
]
