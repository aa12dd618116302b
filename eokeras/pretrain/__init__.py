"""Pretraining without labels: masked autoencoding, inpainting, and pretext tasks from free metadata."""

from eokeras.pretrain.mae import MaskedAutoencoder

__all__ = [
    "MaskedAutoencoder",
]
