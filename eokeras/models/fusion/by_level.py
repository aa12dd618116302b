"""Fusion of features, level by level: by a learned mixture of channels (middle) or by learned weights (gated).

Letters: B batch, H rows, W columns, C channels, M modalities; h_m the features of modality m at one
level, h the joined ones.
"""

from eokeras.models.encoders.contract import check_positive
from eokeras.models.fusion.branches import (
    align,
    check_decoder,
    concatenate,
    fusion_model,
    gather_levels,
    join_by_convolution,
    joined_channels,
    pointwise,
    run_encoders,
)
from eokeras.models.fusion.joints import GatedSum


def middle_fusion(encoders, decoder=None, width=None, name="middle_fusion"):
    """Joins the features of all modalities at every level; one decoder reads what was joined.

        s2 ── f_s2 ─┬─ stride_1 ──┬─ join ── stride_1 ─┐
                    └─ stride_2 ─┬┼─ join ── stride_2 ─┴─ decoder ── levels
        s1 ── f_s1 ─┬─ stride_1 ─┼┘
                    └─ stride_2 ─┘

    h = ReLU(BN(W [h_1, ..., h_M])) at each level, W a 1x1 convolution. Unlike in late fusion the
    decoder is shared, and modalities may enter at different levels: Sentinel-2 bands at their stored
    resolution take part from stride 1, 2 and 4 on. A vector (scalars) is repeated over every pixel.

    Args:
        encoders: dict of modality -> encoder, as in `late_fusion`; without a decoder of their own
            where `decoder` is given (`unet_encoder`, `resnet`, `vit`).
        decoder: function `(levels, name)` -> levels, as `unet_decoder(64)`. With one, every level
            that some encoder gives is joined, from those that give it; without one, the levels that
            all encoders of rasters give.
        width: channels of every joined level. None: those of the widest modality at that level.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of `encoders`) of what the encoders take.

    Output shape:
        A dict of levels: the decoder's, or the joined ones (B, ~H/n, ~W/n, C); one `vector` (B, C)
        where all encoders are of scalars.

    Returns:
        A functional `keras.Model`; the encoders are layers of it.

    Raises:
        InvalidArgumentError: as in `late_fusion`; `width` is no positive integer; `decoder` is no
            function, or there are no maps to decode.

    Example:
        >>> from eokeras.models.encoders import unet_decoder, unet_encoder
        >>> encoders = {"s2_10m": unet_encoder((32, 32, 4), width=4, name="s2_10m"),
        ...             "s2_20m": unet_encoder((16, 16, 6), width=4, name="s2_20m", stride=2)}
        >>> model = middle_fusion(encoders, unet_decoder(width=4))
        >>> model.output["stride_1"].shape
        (None, 32, 32, 4)

    Reference:
        Hong et al. 2021, https://arxiv.org/abs/2008.05457; level by level, with a shared decoder, as
        in FuseNet (Hazirbas et al. 2016, https://doi.org/10.1007/978-3-319-54181-5_14), which adds
        where this concatenates.
    """
    _check_options(decoder, width)
    inputs, branches = run_encoders(encoders)
    levels = {
        level: join_by_convolution(members, joined_channels(members, width), level)
        for level, members in gather_levels(branches, union=decoder is not None).items()
    }
    return fusion_model(inputs, levels, decoder, name)


def gated_fusion(encoders, decoder=None, width=None, name="gated_fusion"):
    """Adds the features of all modalities at every level, weighted by gates that it learns to set.

        h_s2 ─┬─ 1x1, tanh ────── x g_s2 ─┐
              └─┐                         │
                ├─ 1x1, softmax ─ gates   + ── h ── (decoder) ── levels
              ┌─┘                         │
        h_s1 ─┴─ 1x1, tanh ────── x g_s1 ─┘

    h = sum_m g_m tanh(W_m h_m), g = softmax(V [h_1, ..., h_M]) over the modalities. The gates are one
    number per pixel and modality, positive and 1 in sum, so they can be drawn as maps:
    `keras.Model(model.inputs, model.get_layer("gate_stride_1").output)` gives them (B, H, W, M), in
    the order of the modalities. They tell how much of each was taken, which is no measure of what it
    is worth. A level that one modality alone gives has nothing to weigh and no gate.

    Args:
        encoders, decoder, name: as in `middle_fusion`.
        width: channels of every projection, and so of every joined level. None: those of the widest
            modality at that level.

    Input shape:
        A dict (or list, in the order of `encoders`) of what the encoders take.

    Output shape:
        As `middle_fusion`.

    Returns:
        A functional `keras.Model`; the encoders are layers of it.

    Raises:
        InvalidArgumentError: as in `middle_fusion`.

    Example:
        >>> from eokeras.models.encoders import dense_encoder, unet_encoder
        >>> encoders = {"s2": unet_encoder((32, 32, 12), width=4, name="s2"), "era5": dense_encoder((8,), name="era5")}
        >>> model = gated_fusion(encoders)
        >>> model.get_layer("gate_stride_16").output.shape
        (None, 2, 2, 2)

    Reference:
        Arevalo et al. 2017, https://arxiv.org/abs/1702.01992. There a gate is set for each channel,
        here for each modality.
    """
    _check_options(decoder, width)
    inputs, branches = run_encoders(encoders)
    levels = {
        level: _gated_sum(members, joined_channels(members, width), level)
        for level, members in gather_levels(branches, union=decoder is not None).items()
    }
    return fusion_model(inputs, levels, decoder, name)


def _gated_sum(members, channels, level):
    aligned = align(members, level)
    projected = [
        pointwise(x, channels, f"project_{modality}_{level}", activation="tanh")
        for modality, x in zip(members, aligned, strict=True)
    ]
    if len(projected) == 1:
        return projected[0]
    stack = concatenate(aligned, f"gate_{level}_stack")
    # In float32 also under mixed precision: gates in half precision would not sum to 1.
    gates = pointwise(stack, len(projected), f"gate_{level}", activation="softmax", dtype="float32")
    return GatedSum(name=f"join_{level}")([gates, *projected])


def _check_options(decoder, width):
    check_decoder(decoder)
    if width is not None:
        check_positive("width", width)
