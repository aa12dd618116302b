"""Transfer: start a model from the weights of another, of other bands too, and train its layers at rates of their own.

Letters: C channels (bands), F filters.
"""

from collections import Counter
from collections.abc import Mapping

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError, check_number


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


def layer_rates(encoder, first=0.1, last=1.0, model=None):
    """A factor of the learning rate for every weight of a pretrained encoder, for `LayerwiseAdamW`.

    Early layers see what most images share and need to change least; so factors grow from the encoder's first layer
    with weights to its last, each by the same ratio.

    Args:
        encoder: the pretrained model, alone or as part of the model that is trained.
        first, last: factors of its first and last layer, above 0.
        model: what is trained, where it holds other weights of the same paths, as a fusion of two encoders of one
            kind; None: it does not.

    Returns:
        Dict of weight path -> factor; of two weights of one path, `<path>:1/2` and `<path>:2/2` in their order. Freeze
        what is not to be trained before: among other weights the same keys are refused.

    Raises:
        InvalidArgumentError: `encoder` is no built model, trains no weights or some that `model` does not train, or a
            factor is no number above 0.

    Example:
        >>> from eokeras.models import unet
        >>> rates = layer_rates(unet((32, 32, 3), width=2, name="s2"), first=0.01)
        >>> round(min(rates.values()), 3), round(max(rates.values()), 3)
        (0.01, 1.0)

    Reference:
        Howard and Ruder 2018, Universal language model fine-tuning (discriminative fine-tuning),
        https://arxiv.org/abs/1801.06146
    """
    first, last = check_number("first", first, above=0), check_number("last", last, above=0)
    _weights("encoder", encoder)
    layers = [layer for layer in _flat_layers(encoder) if layer.trainable_weights]
    factors = np.geomspace(first, last, len(layers)) if len(layers) > 1 else [last] * len(layers)
    variables = (encoder if model is None else model).trainable_weights
    keys = dict(zip(map(id, variables), _weight_keys(variables), strict=True))
    own = [weight for layer in layers for weight in layer.trainable_weights]
    if not own or any(id(weight) not in keys for weight in own):
        rule = "`encoder` must train weights, which are those of `model`, too."
        raise InvalidArgumentError(f"{rule} Received: {len(own)} weights of {encoder.name}.")
    rates = {}
    for layer, factor in zip(layers, factors, strict=True):
        rates |= {keys[id(weight)]: float(factor) for weight in layer.trainable_weights}
    return rates


def _weight_keys(variables):
    """Path of every variable; of two of one path `<path>:1/2` and `<path>:2/2`."""
    counts, seen = Counter(variable.path for variable in variables), Counter()
    keys = []
    for path in (variable.path for variable in variables):
        seen[path] += 1
        keys.append(path if counts[path] == 1 else f"{path}:{seen[path]}/{counts[path]}")
    return keys


def _flat_layers(model):
    """Layers in their order, those of models inside of the model in its place."""
    for layer in model.layers:
        yield from _flat_layers(layer) if isinstance(layer, keras.Model) else (layer,)


@keras.saving.register_keras_serializable(package="eokeras")
class LayerwiseAdamW(keras.optimizers.Adam):
    """AdamW with a factor of the learning rate for some of the weights.

    Scaling gradients would do nothing: Adam divides by their size. The decay of a weight falls with its rate.

    Args:
        rates: dict of weight path -> factor, from `layer_rates`; all other weights (heads) learn at the full rate.
        learning_rate: a number or a schedule.
        decay: weight decay; after each step a weight has lost `rate * decay` of itself.
        kwargs: of `keras.optimizers.Adam`, but `weight_decay`, which would ignore the factors.

    Raises:
        InvalidArgumentError: `rates` is no dict of numbers from 0 on, or a path of it is none of the weights trained,
            or one of several; or `weight_decay` was given.

    Example:
        >>> from eokeras.models import multitask, scene_head, unet
        >>> encoder = unet((32, 32, 3), width=2, name="s2")
        >>> model = multitask(encoder, {"climate_zone": scene_head(12)})
        >>> model.compile(LayerwiseAdamW(layer_rates(encoder), learning_rate=1e-3))

    Reference:
        Loshchilov and Hutter 2019, Decoupled weight decay regularization, https://arxiv.org/abs/1711.05101
    """

    def __init__(self, rates, learning_rate=1e-3, decay=4e-3, name="layerwise_adamw", **kwargs):
        if kwargs.pop("weight_decay", None) is not None:
            raise InvalidArgumentError("`decay` must be given and not `weight_decay`, which would ignore the factors.")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not isinstance(rates, Mapping):
            raise InvalidArgumentError(f"`rates` must be a dict of weight path -> factor. Received: rates={rates!r}.")
        self.rates = {path: check_number(f"rates[{path!r}]", rate, at_least=0) for path, rate in rates.items()}
        self.decay = check_number("decay", decay, at_least=0)

    def build(self, variables):
        """Makes the state, and checks that every path is one of the weights trained."""
        keys = _weight_keys(variables)
        if several := sorted(set(self.rates) & {variable.path for variable in variables} - set(keys)):
            rule = "`rates` must name one weight each: give `layer_rates` the `model` that is trained."
            raise InvalidArgumentError(f"{rule} Received: {several[:3]} ({len(several)} in all), paths of several.")
        if unknown := sorted(set(self.rates) - set(keys)):
            rule = "`rates` must name weights that are trained."
            raise InvalidArgumentError(f"{rule} Received: {unknown[:3]} ({len(unknown)} in all), which are none.")
        super().build(variables)
        self._rates = [self.rates.get(key, 1.0) for key in keys]

    def update_step(self, gradient, variable, learning_rate):
        """One step of one weight at its own rate."""
        rate = learning_rate * self._rates[self._get_variable_index(variable)]
        if self.decay and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * keras.ops.cast(rate * self.decay, variable.dtype))
        super().update_step(gradient, variable, rate)

    def get_config(self):
        """What `from_config` needs."""
        return {**super().get_config(), "rates": self.rates, "decay": self.decay}
