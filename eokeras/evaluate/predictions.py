"""One pass over a data set: references and predictions -> per-patch statistics -> `Scores`.

Letters: B batch, H rows, W columns, C classes.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eokeras.ben_ge.input_names import PRESENT
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.scores import Scores, kind_of
from eokeras.evaluate.tally import Tally, check_finite, class_names

METADATA = ("patch_id", "tile", "date")

Predict = Callable[[Mapping[str, np.ndarray], Mapping[str, tuple]], Mapping[str, np.ndarray]]
"""(inputs of a batch, target name -> shape of its reference) -> target name -> prediction of that shape."""


def score(
    model,
    dataset,
    schema,
    *,
    name: str = "model",
    baselines: Sequence[Scores] = (),
    seed: int = 0,
    resamples: int = 1000,
) -> Scores:
    """Scores a model on a data set, with intervals over groups and beside trivial baselines.

    Each batch is read once. The trivial baselines know only the labels of the training split
    (`schema.statistics`): the most frequent class, the median, the mean fractions; for
    multi-label targets every label always, which is the best constant for macro-F1; for elevation
    flat ground. They are scored on the same patches by the same code. Under a label budget give the schema
    of `eokeras.count_labels`, so that they know no more labels than the model.

    Intervals hold 95 % and come from resampling whole tiles (dates for season), since the
    patches of a tile are alike. With fewer than ten groups there is none.

    Args:
        model: Keras model with named inputs and a dict of outputs, target name -> logits (B, C) or
            (B, H, W, C), or values (B, 1) or (B, H, W, 1). Softmax is taken of the logits of fractions. A single output
            that is no dict is taken for the one target of `dataset`.
        dataset: a dataset of `make_dataset`, or any `tf.data.Dataset` of `(inputs, targets)` dicts or of
            `(inputs, targets, metadata)` with `patch_id`, `tile`, `date`. A dataset of `make_dataset`
            is rebuilt with its metadata, in order and without augmentation.
        schema: of the records, for `.classes`, `.statistics` of the training split and `.world`.
        name: stands beside the scores.
        baselines: `Scores` on the same patches, usually from `baselines(train, test, schema)`.
        seed, resamples: of the intervals.

    Returns:
        `Scores`; class targets have accuracy and macro-F1 (climate zone with and without water), maps mean
        IoU and pixel accuracy, numbers and fractions MAE, labels macro-F1.

    Raises:
        InvalidArgumentError: `dataset` is empty or endless, has a target that the model does not output, or lacks
            an input of the model; shapes do not fit; a prediction is not finite; `baselines` are of other patches.

    Example:
        >>> scores = score(model, test, schema)  # doctest: +SKIP
        >>> print(scores)  # doctest: +SKIP
        target        metric    predictor            value  95 % interval   resampled
        climate_zone  accuracy  model                0.581  [0.502, 0.654]  14 tiles
                                most frequent class  0.306  [0.211, 0.420]  14 tiles

    Reference:
        Resampling groups: Field and Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x
    """
    dataset = with_metadata(dataset)
    tasks = tuple(dataset.element_spec[1])
    check_outputs(model, tasks)
    constants, notes = trivial_baselines(tasks, schema)
    if name in constants or name in {other.name for other in baselines}:
        raise InvalidArgumentError(f"`name` must differ from the names of the baselines. Received: name={name!r}.")
    predictors = {name: model_predictor(model, tasks), **constants}
    main, *trivial = score_predictors(predictors, dataset, schema, seed=seed, resamples=resamples)
    for other in baselines:
        _check_same_patches(main, other)
    return Scores(name, main.tasks, main.patch_ids, (*trivial, *baselines), notes, main.simulated)


def score_predictors(
    predictors: Mapping[str, Predict], dataset, schema, *, seed: int = 0, resamples: int = 1000
) -> tuple[Scores, ...]:
    """Scores several predictors in one pass over a data set; `score` and the baselines share it.

    Args:
        predictors: name -> function that gives class ids (B,) or (B, H, W), numbers (B,) or (B, C), or
            multi-hot labels (B, C); it may leave targets out.
        dataset: `(inputs, targets[, metadata])` as in `score`.

    Returns:
        one `Scores` per predictor, in their order.
    """
    tally = Tally(schema)
    for inputs, targets, *metadata in dataset.as_numpy_iterator():
        tally.add_patches(*metadata)
        shapes = {task: reference.shape for task, reference in targets.items()}
        for name, predict in predictors.items():
            tally.add(name, tally.statistics(name, targets, predict(inputs, shapes)))
    scores = tally.scores(seed=seed, resamples=resamples)
    return tuple(scores[name] for name in predictors)


def with_metadata(dataset, needs_target: bool = True):
    """The dataset with patch names, tiles and dates as a third dict, in order and not augmented, where it can.

    Args:
        needs_target: whether a data set without targets is an error.

    Raises:
        InvalidArgumentError: `dataset` is endless, or does not yield `(inputs, targets)` dicts.
    """
    if not hasattr(dataset, "element_spec"):
        raise InvalidArgumentError(f"`dataset` must be a `tf.data.Dataset`. Received: {type(dataset).__name__}.")
    if not _has_metadata(dataset) and hasattr(dataset, "recipe"):
        dataset = dataset.recipe(
            metadata=METADATA, shuffle=False, augment=None, mix=None, repeat=False, drop_remainder=False
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not all(isinstance(part, dict) for part in spec):
        raise InvalidArgumentError(
            f"`dataset` must yield (inputs, targets) or (inputs, targets, metadata), each a dict. Received: {spec}."
        )
    if needs_target and not spec[1]:
        raise InvalidArgumentError("`dataset` must have at least one target. Received: none.")
    if int(dataset.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise InvalidArgumentError("`dataset` must end. Received: a dataset that repeats for ever.")
    return dataset


def _has_metadata(dataset) -> bool:
    spec = dataset.element_spec
    return isinstance(spec, tuple) and len(spec) == 3 and set(METADATA) <= set(spec[2])


def _check_same_patches(main: Scores, other: Scores):
    if other.simulated != main.simulated:
        raise InvalidArgumentError("`baselines` must not mix scores of simulated and real data.")
    if main.patch_ids is None or not other.tasks:
        return
    if other.patch_ids is None or set(other.patch_ids) != set(main.patch_ids):
        raise InvalidArgumentError(f"`baselines` must be of the same patches. Received: {other.name!r} of others.")


# --- The model ---------------------------------------------------------------------------------------


def check_outputs(model, tasks) -> None:
    """Raises `InvalidArgumentError` naming the targets that a functional model does not output."""
    outputs = model.output if hasattr(model, "output") else None
    if isinstance(outputs, dict):
        lacking = [task for task in tasks if task not in outputs]
        if lacking:
            raise InvalidArgumentError(
                f"`model` must output every target of `dataset`. Received: a model that outputs {sorted(outputs)} "
                f"and lacks {', '.join(map(repr, lacking))}."
            )


def model_predictor(model, tasks) -> Predict:
    """The model as a predictor: logits or values become class ids, labels or numbers in the shape of the reference."""

    def predict(inputs, shapes):
        outputs = model.predict_on_batch(named_inputs(model, inputs))
        if not isinstance(outputs, dict):
            outputs = dict(zip(tasks, [outputs], strict=False)) if len(tasks) == 1 else {}
        lacking = [task for task in tasks if task not in outputs]
        if lacking:
            raise InvalidArgumentError(
                "`model` must output a dict with every target of `dataset`. "
                f"Received: no {', '.join(map(repr, lacking))}."
            )
        return {task: _decide(task, np.asarray(outputs[task], "float32"), shapes[task]) for task in tasks}

    return predict


def named_inputs(model, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The inputs that a model asks for, by name, so that one that it does not know can never shift the others.

    Raises:
        InvalidArgumentError: one is lacking.
    """
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    lacking = [key for key in names if key not in inputs]
    if lacking:
        way = " Make it with `presence=True`." if any(key.endswith(PRESENT) for key in lacking) else ""
        raise InvalidArgumentError(
            f"`dataset` must hold every input of the model. Received: inputs {sorted(inputs)}, "
            f"which lack {', '.join(map(repr, lacking))}.{way}"
        )
    return {key: inputs[key] for key in names} if names else inputs


def _decide(task: str, output: np.ndarray, shape: tuple) -> np.ndarray:
    """Logits or values of one batch -> prediction in the shape of the reference."""
    kind = kind_of(task)
    expected = shape
    if kind in ("regression", "map_regression") and output.shape == (*shape, 1):
        output = output[..., 0]
    if kind in ("class", "map"):
        expected = (*shape, output.shape[-1])  # the class list of the schema decides, in `patch_statistics`
    if output.shape != expected:
        raise InvalidArgumentError(f"Output {task!r} of `model` must have shape {expected}. Received: {output.shape}.")
    check_finite("model", task, output)
    if kind in ("class", "map"):
        return output.argmax(axis=-1)
    if kind == "multilabel":
        return (output > 0).astype("float32")  # logit 0 is probability 0.5
    if kind == "fractions":
        raised = np.exp(output - output.max(axis=-1, keepdims=True))
        return raised / raised.sum(axis=-1, keepdims=True)
    return output


# --- Trivial baselines -------------------------------------------------------------------------------


def trivial_baselines(tasks, schema) -> tuple[dict[str, Predict], tuple[str, ...]]:
    """Predictors that know the training labels alone, and why some are missing."""
    constants: dict[str, dict[str, np.ndarray]] = {}
    notes = []
    for task in tasks:
        found = _constant(task, schema)
        if found is None:
            notes.append(f"{task}: no training labels, so no trivial baseline.")
        else:
            constants.setdefault(found[0], {})[task] = found[1]
    return {name: _constant_predictor(values) for name, values in constants.items()}, tuple(notes)


def _constant(task, schema) -> tuple[str, np.ndarray] | None:
    kind = kind_of(task)
    statistics = (getattr(schema, "statistics", None) or {}).get(task) or {}
    if kind == "multilabel":
        return "every label", np.ones(len(class_names(task, schema)))
    if kind in ("class", "map") and np.sum(statistics.get("counts", 0)) > 0:
        return "most frequent class", np.argmax(statistics["counts"])
    if kind == "regression" and statistics.get("median") is not None:
        return "median", np.asarray(statistics["median"])
    if kind == "fractions" and statistics.get("mean") is not None:
        return "mean fractions", np.asarray(statistics["mean"])
    if kind == "map_regression":  # heights are counted from the mean of their patch
        return "flat ground", np.zeros(())
    return None


def _constant_predictor(values) -> Predict:
    def predict(inputs, shapes):
        return {task: np.broadcast_to(value, shapes[task]) for task, value in values.items()}

    return predict
