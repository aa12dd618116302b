"""What a model costs: weights, floating-point operations, memory, seconds.

Letters: B batch, H rows, W columns, C channels.
"""

import contextlib
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from eokeras.ben_ge import schema as facts
from eokeras.ben_ge.input_names import PRESENT
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.scores import kind_of

_WARM_UP_STEPS = 2  # the first traces, the second may still allocate
_STEPS = 10


@dataclass(frozen=True)
class Cost:
    """What a model costs, for patches of `height` x `width` on the 10 m grid. `print(cost)` shows a sentence each.

    Attributes:
        name: of the model.
        trainable_weights: numbers that training changes.
        flops: floating-point operations of one forward pass of one patch: those of convolutions and
            matrix products, a multiply-add counted as 2. None on another backend than TensorFlow.
        height, width: of the patch in pixels of 10 m; of the model where its size is fixed.
        batch_size: patches per batch, for memory and seconds.
        weight_bytes: all weights, also those that are not trained.
        gradient_bytes: one gradient per trainable weight.
        optimizer_bytes: the slots of the optimizer; 0 where the model is not compiled.
        activation_bytes: outputs of all layers for a batch, which training keeps for the backward pass.
        training_step_seconds, prediction_seconds: medians of measured batches; None where not measured.
    """

    name: str
    trainable_weights: int
    flops: int | None
    height: int
    width: int
    batch_size: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    training_step_seconds: float | None = None
    prediction_seconds: float | None = None

    @property
    def memory_bytes(self) -> int:
        """Estimate of what a training step needs: weights, gradients, optimizer slots, kept activations."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes

    def to_dict(self) -> dict:
        """JSON-able content."""
        return asdict(self) | {"memory_bytes": self.memory_bytes}

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.trainable_weights:,} trainable weights"]
        if self.flops is not None:
            size = f"{self.height} x {self.width}"
            lines.append(f"{scaled(self.flops, 1000)}FLOPs per patch of {size} (forward; multiply-add = 2)")
        lines.append(f"about {scaled(self.memory_bytes, 1024)}B for a training step of {self.batch_size} patches")
        for name, seconds in (("training step", self.training_step_seconds), ("prediction", self.prediction_seconds)):
            if seconds is not None:
                lines.append(f"{seconds:.3f} s per {name} of {self.batch_size} patches (median)")
        return "; ".join(lines)


def cost(
    model,
    batch_size: int = 32,
    *,
    height: int = 120,
    width: int = 120,
    measure: bool = False,
    steps: int = _STEPS,
) -> Cost:
    """Trainable weights, operations, memory and, where asked for, seconds of a model.

    - Operations are counted on the traced graph: 2 x output size x kernel height x kernel width x input
      channels for a convolution, 2 n m k for the product of (n, k) and (k, m), attention included. What
      works on single elements (normalisation, ReLU, pooling, enlarging, softmax) is left out: a few percent
      of a convolutional network. A training step costs about three times the forward pass.
    - Memory is an estimate, in the precision of the layers: weights, gradients, optimizer slots and the
      outputs of all layers for a batch. It leaves out what lives inside a layer (such as attention
      weights), the work space of convolutions and what an optimised graph does not keep.
    - Seconds are medians over `steps` batches of random numbers after a warm-up, on this machine as busy
      as it is. Weights and optimizer are as before afterwards.

    Args:
        model: functional model with named inputs. Memory of the optimizer and `measure` need it compiled.
        batch_size: patches per batch.
        height, width: pixels on the 10 m grid where the model leaves them free; 20 m and 60 m inputs get
            a half and a sixth.
        measure: also measures seconds; then every output must be a target of `ben_ge.schema`.
        steps: batches to measure.

    Raises:
        InvalidArgumentError: a number is out of range, `measure` without a compiled model, or the
            model holds a graph function whose operations cannot be counted.

    Example:
        >>> import keras
        >>> inputs = keras.Input((None, None, 3), name="s2")
        >>> outputs = {"land_cover_map": keras.layers.Conv2D(11, 1)(inputs)}
        >>> cost(keras.Model([inputs], outputs), height=10, width=10).flops  # 2 * 10 * 10 * 3 * 11
        6600
    """
    for name, value in (("batch_size", batch_size), ("height", height), ("width", width), ("steps", steps)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidArgumentError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    compiled = getattr(model, "optimizer", None) is not None
    if measure and not compiled:
        raise InvalidArgumentError("`measure=True` needs a compiled model. Received: a model without an optimizer.")
    if compiled and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    shapes = _input_shapes(model, height, width)
    seconds = _measured(model, shapes, batch_size, steps) if measure else (None, None)
    height, width = _patch_size(model, shapes, height, width)
    return Cost(
        name=model.name,
        trainable_weights=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        flops=_flops(model, shapes),
        height=height,
        width=width,
        batch_size=batch_size,
        weight_bytes=_bytes(model.weights),
        gradient_bytes=_bytes(model.trainable_weights),
        # Slots have the shape of their weight; the counter and the learning rate are scalars.
        optimizer_bytes=_bytes(slot for slot in model.optimizer.variables if len(slot.shape)) if compiled else 0,
        activation_bytes=batch_size * _activation_bytes(model, shapes),
        training_step_seconds=seconds[0],
        prediction_seconds=seconds[1],
    )


def scaled(value: float, base: int) -> str:
    """A number with a prefix of powers of 1000 or 1024: 1234567 -> "1.23 M"."""
    power = min(4, int(math.log(max(value, 1), base)))
    prefix = ("", "k", "M", "G", "T")[power] + ("i" if base == 1024 and power else "")
    return f"{value / base**power:.3g} {prefix}"


def _bytes(tensors) -> int:
    import keras

    name = keras.backend.standardize_dtype
    return sum(math.prod(tensor.shape) * np.dtype(name(tensor.dtype)).itemsize for tensor in tensors)


def _input_shapes(model, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shape of one patch by input, free heights and widths filled in."""
    shapes = {}
    for tensor in model.inputs:
        gsd_m = _gsd_m(tensor.name)
        free = (height * 10 // gsd_m, width * 10 // gsd_m)
        sizes = tensor.shape[1:]
        filled = [size or free[axis] for axis, size in enumerate(sizes[:-1])] if len(sizes) == 3 else sizes[:-1]
        shapes[tensor.name] = (*filled, sizes[-1])
    return shapes


def _gsd_m(name: str) -> int:
    """Ground sampling distance of an input in metres."""
    return facts.RASTERS[name].gsd_m if name in facts.S2_GROUPS else 10


def _patch_size(model, shapes, height: int, width: int) -> tuple[int, int]:
    """Pixels of 10 m of one patch: those of an input at 10 m, else of a coarser one whose size is fixed."""
    rasters = sorted((tensor for tensor in model.inputs if len(tensor.shape) == 4), key=lambda x: _gsd_m(x.name))
    if not rasters:
        return height, width
    name, gsd_m = rasters[0].name, _gsd_m(rasters[0].name)
    # 20 m and 60 m sizes are rounded down, so a free one says less than the argument.
    sizes = zip(rasters[0].shape[1:3], shapes[name], (height, width), strict=False)
    return tuple(asked if gsd_m > 10 and fixed is None else found * gsd_m // 10 for fixed, found, asked in sizes)


# --- Operations --------------------------------------------------------------------------------------


def _flops(model, shapes) -> int | None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    specification = [tf.TensorSpec((1, *shapes[tensor.name]), tensor.dtype) for tensor in model.inputs]
    graph = tf.function(lambda *inputs: model(list(inputs), training=False)).get_concrete_function(*specification).graph
    return sum(_operation_flops(operation) for operation in graph.get_operations())


def _operation_flops(operation) -> int:
    """Multiply-adds of one operation of a graph, counted as 2; 0 for what works on single elements.

    TensorFlow's own profiler would miss attention: it has no rule for `Einsum`.
    """
    kind = operation.type
    if kind.startswith(("Conv", "DepthwiseConv")) and len(operation.inputs) >= 2:
        # Each output position (input position, where transposed) takes every number of the filter once.
        *_, kernel, positions = operation.inputs if "Backprop" in kind else (*operation.inputs, operation.outputs[0])
        return 2 * math.prod(positions.shape[:-1]) * math.prod(kernel.shape)
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        inner = operation.inputs[0].shape[-2 if transposed else -1]
        return 2 * math.prod(operation.outputs[0].shape) * inner
    if kind == "Einsum" and len(operation.inputs) == 2:
        return 2 * math.prod(_einsum_sizes(operation).values())
    if "PartitionedCall" in kind or kind in ("While", "StatelessWhile", "If", "StatelessIf"):
        raise InvalidArgumentError(
            f"`model` must be one flat graph, so that its operations can be counted. Received: {kind} in "
            f"{operation.name!r}."
        )
    return 0


def _einsum_sizes(operation) -> dict[str, int]:
    """Size of every index of an `Einsum`; the axes of an ellipsis are numbered from the right."""
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, operation.inputs, strict=True):
        unnamed = len(tensor.shape) - len(term.replace("...", ""))
        letters = term.replace("...", "".join(map(str, reversed(range(unnamed)))))
        for letter, size in zip(letters, tensor.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes


# --- Memory ------------------------------------------------------------------------------------------


def _activation_bytes(model, shapes) -> int:
    """Bytes of the outputs of all layers for one patch, found by running one patch of zeros."""
    import keras

    sizes: list[int] = []
    with contextlib.ExitStack() as stack:
        for layer in _layers(model):
            stack.enter_context(_watched(layer, sizes))
        model([keras.ops.zeros((1, *shapes[x.name]), x.dtype) for x in model.inputs], training=False)
    return sum(sizes)


def _layers(model) -> set:
    """Layers of a model and of the models in it, each once; inputs are none."""
    import keras

    found = set()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            found.add(layer)
    return found


@contextlib.contextmanager
def _watched(layer, sizes: list[int]) -> Iterator[None]:
    """Notes the bytes of every output of a layer while the block runs."""
    import keras

    call = layer.call

    def watched(*args, **kwargs):
        outputs = call(*args, **kwargs)
        sizes.append(_bytes(keras.tree.flatten(outputs)))
        return outputs

    object.__setattr__(layer, "call", watched)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


# --- Seconds -----------------------------------------------------------------------------------------


def _measured(model, shapes, batch_size: int, steps: int) -> tuple[float, float]:
    """Median seconds of (a training step, a prediction) on random numbers."""
    import keras

    random = np.random.default_rng(0)
    inputs = {name: random.standard_normal((batch_size, *shape), "float32") for name, shape in shapes.items()}
    inputs |= {name: np.ones_like(values) for name, values in inputs.items() if name.endswith(PRESENT)}
    outputs = model.predict_on_batch(inputs)
    if not isinstance(outputs, dict):
        raise InvalidArgumentError("`measure=True` needs a model with a dict of outputs by target.")
    targets = {task: _target(task, values.shape, random) for task, values in outputs.items()}
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        training = _median_seconds(lambda: model.train_on_batch(inputs, targets), steps)
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        model.reset_metrics()
    return training, _median_seconds(lambda: model.predict_on_batch(inputs), steps)


def _target(task: str, shape: tuple[int, ...], random) -> np.ndarray:
    kind = kind_of(task)
    if kind in ("class", "map"):
        return random.integers(0, shape[-1], shape[:-1]).astype("int32")
    if kind in ("regression", "map_regression"):
        return random.random(shape[:-1], "float32")
    values = random.random(shape, "float32")
    return (values > 0.5).astype("float32") if kind == "multilabel" else values / values.sum(axis=-1, keepdims=True)


def _median_seconds(work, steps: int) -> float:
    for _ in range(_WARM_UP_STEPS):
        work()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
