"""Encoders: functional models from one modality to a dict of levels.

A level `stride_n` is a map (B, about H / n, about W / n, C): features on a grid n times as coarse as
the 10 m grid, finest first. Scalars have the one level `vector` (B, C).
Letters: B batch, H rows, W columns, C channels.
"""

from eokeras.models.encoders.convolutional import unet, unet_decoder, unet_encoder
from eokeras.models.encoders.residual import resnet
from eokeras.models.encoders.scalars import dense_encoder
from eokeras.models.encoders.transformer import group_vit, vit

__all__ = ["dense_encoder", "group_vit", "resnet", "unet", "unet_decoder", "unet_encoder", "vit"]
