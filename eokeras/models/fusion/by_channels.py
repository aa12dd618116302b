"""Fusion at the two ends of a network: of input channels (early) and of features before the heads (late).

Letters: B batch, H rows, W columns, C channels; x input, f encoder, h features.
"""

import keras

from eokeras.errors import InvalidArgumentError
from eokeras.models.encoders import unet
from eokeras.models.fusion.branches import (
    align,
    check_mapping,
    concatenate,
    fusion_model,
    gather_levels,
    run_encoders,
)


def early_fusion(shapes, encoder=unet, name="early_fusion"):
    """Stacks the channels of all modalities and encodes them with one encoder.

        s2 ──┐
        s1 ──┼─ concatenate ── f ── levels
        dem ─┘

    h = f([x_1, ..., x_M]). The encoder sees all channels of a pixel from its first layer on; the
    modalities must lie on one grid and one of them cannot be left out later.

    Args:
        shapes: dict of modality -> (H, W, C), with one H and W for all. Channels are
            stacked in this order.
        encoder: function `(shape, name=...)` -> encoder, as `unet` or
            `functools.partial(unet, width=32)`.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of `shapes`) of (B, H, W, C) per modality.

    Output shape:
        The dict of levels that `encoder` gives.

    Returns:
        A functional `keras.Model` with one input per modality.

    Raises:
        InvalidArgumentError: `shapes` is empty or no dict, a shape is not (H, W, C), or heights and widths differ.

    Example:
        >>> from functools import partial
        >>> model = early_fusion({"s2": (32, 32, 12), "dem": (32, 32, 1)}, partial(unet, width=4))
        >>> model.output["stride_1"].shape
        (None, 32, 32, 4)

    Reference:
        Audebert et al. 2018, https://arxiv.org/abs/1711.08681, compares early and late fusion of
        optical and elevation data.
    """
    check_mapping("shapes", shapes, "modality name -> (height, width, channels)")
    for modality, shape in shapes.items():
        if not isinstance(shape, (list, tuple)) or len(shape) != 3 or shape[2] is None:
            raise InvalidArgumentError(
                f"`shapes[{modality!r}]` must be (height, width, channels). Received: {shape!r}. "
                "A vector such as the weather has its own encoder in the other fusions, or steers one by `film`."
            )
    sizes = {modality: tuple(shape[:2]) for modality, shape in shapes.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidArgumentError(f"`shapes` must share one height and width. Received: {sizes}.")

    inputs = [keras.Input(tuple(shape), name=modality) for modality, shape in shapes.items()]
    stack = concatenate(inputs, "channel_stack")
    levels = encoder(tuple(stack.shape[1:]), name=f"{name}_stack")([stack])
    return keras.Model(inputs, levels, name=name)


def late_fusion(encoders, name="late_fusion"):
    """Encodes every modality by its own encoder and joins the channels of equal levels.

        s2 ── f_s2 ──┐
        s1 ── f_s1 ──┼─ concatenate, level by level ── levels
        era5 ─ f_era5┘

    h = [f_1(x_1), ..., f_M(x_M)]. The modalities meet in the heads alone; an encoder may have been
    trained elsewhere. The vector of an encoder of scalars is repeated over every pixel.

    Args:
        encoders: dict of modality -> encoder (a model that gives a dict of levels). An encoder
            with one input must call it by its modality. Channels are joined in this order.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of `encoders`) of what the encoders take.

    Output shape:
        A dict of the maps that all encoders of rasters give, channels concatenated; one `vector`
        (B, C) where all encoders are of scalars.

    Returns:
        A functional `keras.Model`; the encoders are layers of it (`model.get_layer("s2_unet")`).

    Raises:
        InvalidArgumentError: `encoders` is empty or no dict, an encoder gives no dict of levels or
            takes another modality than its key says, two encoders share an input or a name,
            or no level is common.

    Example:
        >>> shapes = {"s2": (32, 32, 12), "s1": (32, 32, 2)}
        >>> model = late_fusion({key: unet(shape, width=4, name=key) for key, shape in shapes.items()})
        >>> model.output["stride_1"].shape
        (None, 32, 32, 8)

    Reference:
        Audebert et al. 2018, https://arxiv.org/abs/1711.08681; Hong et al. 2021,
        https://arxiv.org/abs/2008.05457, compares early, middle and late fusion of remote-sensing data.
    """
    inputs, branches = run_encoders(encoders)
    levels = {
        level: concatenate(align(members, level), f"join_{level}")
        for level, members in gather_levels(branches, union=False).items()
    }
    return fusion_model(inputs, levels, decoder=None, name=name)
