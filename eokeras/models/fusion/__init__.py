"""Fusion: one function for each way to join modalities; all give a dict of levels.

From early to late: the channels of the inputs (`early_fusion`), the features of every level
(`middle_fusion`, `gated_fusion`, `cross_attention_fusion`), the features before the heads
(`late_fusion`). Beside them stand `film`, where scalars steer an image encoder, and
`drop_modality`, which readies any of them for missing sensors.
"""

from eokeras.models.fusion.attention import cross_attention_fusion
from eokeras.models.fusion.by_channels import early_fusion, late_fusion
from eokeras.models.fusion.by_level import gated_fusion, middle_fusion
from eokeras.models.fusion.conditioning import film
from eokeras.models.fusion.presence import drop_modality

__all__ = [
    "cross_attention_fusion",
    "drop_modality",
    "early_fusion",
    "film",
    "gated_fusion",
    "late_fusion",
    "middle_fusion",
]
