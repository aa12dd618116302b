"""Missing modalities: train on all subsets of the sensors, answer from those that are there.

Letters: B batch, H rows, W columns, C channels.
"""

import keras

from eokeras.ben_ge.input_names import inputs_by_modality, presence_name
from eokeras.errors import InvalidArgumentError
from eokeras.layers import DropModality
from eokeras.models.fusion.branches import check_levels, finest_first, own_inputs


def drop_modality(backbone, rate=0.3, name="drop_modality"):
    """Readies any backbone for missing modalities: by presence inputs, and by dropping some in training.

        s2 ─────────┐
        s1 ─────────┤
                    ├ zeros where missing or dropped ── backbone ── levels
        s2_present ─┤
        s1_present ─┘

    x_m -> p_m x_m with the presence p_m in {0, 1}: 1 as given, and in training set to 0 with
    probability `rate` for each patch and modality, though never for all that a patch has. What a
    missing modality holds changes nothing, NaN included. For calibrated inputs 0 is, after
    "standardise", the mean of training. `make_dataset(..., presence=True)` gives the presence inputs.

    Args:
        backbone: any encoder or fusion: a functional model that gives a dict of levels.
        rate: probability in [0, 1) of dropping a modality in training.
        name: name of the model.

    Input shape:
        A dict (or list, in this order) of what the backbone takes and of one `<modality>_present`
        (B, 1) per modality, 1 or 0. The stored groups of Sentinel-2 (`s2_10m`, `s2_20m`, `s2_60m`)
        share `s2_present`, and a mask (`s1_mask`) goes with its modality.

    Output shape:
        The levels of the backbone.

    Returns:
        A functional `keras.Model`, a backbone again; `backbone` is a layer of it.

    Raises:
        InvalidArgumentError: `backbone` gives no dict of levels or has presence inputs already, or
            `rate` is out of range.

    Example:
        >>> from eokeras.models.encoders import unet
        >>> model = drop_modality(unet((32, 32, 12), width=4, name="s2"))
        >>> [tensor.name for tensor in model.inputs]
        ['s2', 's2_present']

    Reference:
        ModDrop: Neverova et al. 2015, https://arxiv.org/abs/1501.00102
    """
    check_levels("backbone", backbone)
    values = own_inputs(backbone)
    modalities = inputs_by_modality(x.name for x in values)
    present = [keras.Input((1,), name=presence_name(modality)) for modality in modalities]
    taken = sorted({x.name for x in values} & {x.name for x in present})
    if taken:
        raise InvalidArgumentError(f"`backbone` must have no presence inputs yet. Received: {', '.join(taken)}.")

    groups = [index for x in values for index, names in enumerate(modalities.values()) if x.name in names]
    shown = DropModality(rate, groups, name="presence")([*values, *present])
    return keras.Model([*values, *present], finest_first(backbone(shown)), name=name)
