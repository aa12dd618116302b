"""Transfer: start a model from the weights of another that was trained on other bands.

Letters: C channels (bands), F filters.
"""

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError


def load_by_band(model, source, bands, source_bands):
    """Copies all weights of `source`; those of the first layer go to the bands of the same name.

    The first layer's kernel has a slice per band. A band that the source knows takes its slice,
    wherever it stands; one that the source lacks takes the mean slice over all bands of the source.

    Args:
        model: takes the weights, in place. It is built as `source` but for the number of bands.
        source: gives them, unchanged.
        bands: names of the channels of `model`, in their order.
        source_bands: names of the channels of `source`, in their order.

    Returns:
        Tuple of the `bands` that the source lacks; empty where all were found.

    Raises:
        InvalidArgumentError: an argument is no built model, its first layer does not read all of its inputs (as in a
            late fusion: load its encoders one by one), the bands are not as many as the first layer takes or
            not distinct, or the models differ in more than their bands.

    Example:
        >>> from eokeras.models import unet
        >>> source = unet((32, 32, 3), width=2, name="s2")
        >>> model = unet((32, 32, 4), width=2, name="s2")
        >>> load_by_band(model, source, ("B08", "B04", "B03", "B02"), ("B02", "B03", "B04"))
        ('B08',)
    """
    target_weights, source_weights = _weights("model", model), _weights("source", source)
    first = _first_kernel(target_weights)
    _check_reads_all("model", model, target_weights[first])
    _check_reads_all("source", source, source_weights[first])
    _check_layouts(target_weights, source_weights, first)
    bands = _check_bands("bands", bands, target_weights[first])
    source_bands = _check_bands("source_bands", source_bands, source_weights[first])

    values = [keras.ops.convert_to_numpy(weight) for weight in source_weights]
    mean = values[first].mean(axis=-2)
    slices = [values[first][..., source_bands.index(band), :] if band in source_bands else mean for band in bands]
    values[first] = np.stack(slices, axis=-2)
    for weight, value in zip(target_weights, values, strict=True):
        weight.assign(value)
    return tuple(band for band in bands if band not in source_bands)


def _weights(argument, model):
    if not isinstance(model, keras.Model) or not model.weights:
        raise InvalidArgumentError(f"`{argument}` must be a built model with weights. Received: {model!r}.")
    return model.weights


def _first_kernel(weights):
    """Index of the first kernel: (..., C, F) of a convolution, a patch embedding or a dense layer alike."""
    kernels = [index for index, weight in enumerate(weights) if weight.name == "kernel"]
    if not kernels:
        raise InvalidArgumentError(f"`model` must have a layer with a kernel. Received: {weights[0].path} alone.")
    return kernels[0]


def _check_reads_all(argument, model, kernel):
    """The first kernel takes the channels of all inputs; else it need not be the one that reads the bands."""
    channels = {tensor.name: tensor.shape[-1] for tensor in model.inputs}
    if sum(channels.values()) != kernel.shape[-2]:
        raise InvalidArgumentError(
            f"`{argument}` must read all of its inputs in one first layer. Received: inputs with channels {channels}, "
            f"and {kernel.path} of {kernel.shape[-2]}. Load an encoder of it, as `model.get_layer('s2_unet')`."
        )


def _check_layouts(targets, sources, first):
    """Number, names and shapes of the weights agree, but for the bands of the first kernel."""
    if len(targets) != len(sources):
        found = f"{len(targets)} and {len(sources)} weights"
    else:
        pairs = enumerate(zip(targets, sources, strict=True))
        unequal = [pair for index, pair in pairs if len({_layout(weight, index == first) for weight in pair}) > 1]
        if not unequal:
            return
        found = " and ".join(f"{weight.path} {tuple(weight.shape)}" for weight in unequal[0])
    raise InvalidArgumentError(
        "`source` must be built as `model`, with the same kind, depth and width; only the bands may differ. "
        f"Received: {found}."
    )


def _layout(weight, is_first):
    """Name and shape of a weight; of the first kernel without its bands."""
    shape = tuple(weight.shape)
    return weight.name, (*shape[:-2], None, shape[-1]) if is_first else shape


def _check_bands(argument, bands, kernel):
    """The names as a tuple, as many as the kernel takes and no two alike."""
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    if len(names) != kernel.shape[-2] or len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"`{argument}` must name the {kernel.shape[-2]} bands of the first layer, each once, in their order. "
            f"Received: {', '.join(map(str, names))}."
        )
    return names
