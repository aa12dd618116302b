"""Fusion by attention: the features of each modality look at those of the others.

Letters: B batch, H rows, W columns, C channels, N tokens, M modalities. A token is the features of
one pixel of a level.
"""

from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.models.encoders.contract import check_positive
from eokeras.models.fusion.branches import (
    check_decoder,
    common_levels,
    fusion_model,
    gather_levels,
    is_map,
    join_by_convolution,
    joined_channels,
    pointwise,
    run_encoders,
)
from eokeras.models.fusion.joints import TokensToMap


def cross_attention_fusion(encoders, decoder=None, width=None, attention_heads=4, name="cross_attention_fusion"):
    """At the coarsest level each modality attends to all others; finer levels are joined as in middle fusion.

        h_s2 ─┬─────────────────────────────── + ── z_s2 ─┐
              └─ LN ── query ────── attention ─┘          │
                                        │                 ├─ concatenate, 1x1, BN, ReLU ── h
        h_s1 ─── LN ── key, value ──────┘                 │
        and the other way round ───────────────── z_s1 ───┘

    z_m = h_m + softmax(Q K^T / sqrt(d)) V with Q from LN(h_m), and K and V from LN(h_j) of all j other
    than m, their tokens in one row; then h = ReLU(BN(W [z_1, ..., z_M])). So a pixel of one sensor can
    draw on any place of another: the two need not match pixel by pixel. Tokens carry no position but
    what their encoders told them. A vector (scalars) is one token; where it is all there is to attend
    to, nothing can be chosen and every pixel gets the same. With one modality there are no others,
    and its tokens attend to each other (self-attention).

    Args:
        encoders, decoder, name: as in `middle_fusion`. Attention is at the coarsest level that all
            encoders of rasters give; its cost grows with the square of its pixels.
        width: channels of every joined level, at which the tokens attend too. None: those of the
            widest modality at that level. A modality that has others at the coarsest level gets a
            1x1 convolution first.
        attention_heads: number of heads; divides the channels of the coarsest level.

    Input shape:
        A dict (or list, in the order of `encoders`) of what the encoders take.

    Output shape:
        As `middle_fusion`.

    Returns:
        A functional `keras.Model`; the encoders are layers of it, and `attention_<modality>` is the
        `keras.layers.MultiHeadAttention` of a modality.

    Raises:
        InvalidArgumentError: as in `middle_fusion`; no level is common; `attention_heads` is no
            positive integer or does not divide the channels.

    Example:
        >>> from eokeras.models.encoders import unet_decoder, unet_encoder
        >>> shapes = {"s2": (32, 32, 12), "s1": (32, 32, 2), "dem": (32, 32, 1)}
        >>> encoders = {key: unet_encoder(shape, width=4, name=key) for key, shape in shapes.items()}
        >>> model = cross_attention_fusion(encoders, unet_decoder(width=4))
        >>> model.output["stride_1"].shape
        (None, 32, 32, 4)

    Reference:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; between modalities, with normalisation
        first: Tsai et al. 2019, https://arxiv.org/abs/1906.00295
    """
    check_decoder(decoder)
    check_positive("attention_heads", attention_heads)
    if width is not None:
        check_positive("width", width)
    inputs, branches = run_encoders(encoders)
    attended = common_levels(branches)[-1]
    levels = {}
    for level, members in gather_levels(branches, union=decoder is not None).items():
        channels = joined_channels(members, width)
        if level == attended:
            members = _attend(members, channels, attention_heads)
        levels[level] = join_by_convolution(members, channels, level)
    return fusion_model(inputs, levels, decoder, name)


def _attend(members, channels, attention_heads):
    """The same members, each with what it found in the others added; all with `channels` channels."""
    if channels % attention_heads:
        raise InvalidArgumentError(
            f"`attention_heads` must divide the {channels} channels of the coarsest level. "
            f"Received: attention_heads={attention_heads}."
        )
    tokens, normalised = {}, {}
    for modality, x in members.items():
        if x.shape[-1] != channels:
            x = pointwise(x, channels, f"attention_{modality}_projection")
        tokens[modality] = layers.Reshape((-1, channels), name=f"attention_{modality}_tokens")(x)
        normalise = layers.LayerNormalization(name=f"attention_{modality}_normalisation")
        normalised[modality] = normalise(tokens[modality])

    found = {}
    for modality, x in members.items():
        others = [normalised[other] for other in members if other != modality] or [normalised[modality]]
        row = layers.Concatenate(axis=1, name=f"attention_{modality}_others")(others) if len(others) > 1 else others[0]
        # Without biases, as in the paper: a bias of the keys would shift all scores alike and learn nothing.
        attention = layers.MultiHeadAttention(
            attention_heads, channels // attention_heads, use_bias=False, name=f"attention_{modality}"
        )
        added = layers.Add(name=f"attention_{modality}_residual")(
            [tokens[modality], attention(normalised[modality], row)]
        )
        found[modality] = _as_before(added, x, modality)
    return found


def _as_before(tokens, x, modality):
    """Tokens as the map or the vector that they were made from."""
    if is_map(x):
        return TokensToMap(name=f"attention_{modality}_map")([tokens, x])
    return layers.Reshape((tokens.shape[-1],), name=f"attention_{modality}_vector")(tokens)
