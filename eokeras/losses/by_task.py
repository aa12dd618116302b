"""The loss of every task, and class weights from the training statistics.

Letters: N classes.
"""

from collections.abc import Mapping

from eokeras.ben_ge.schema import TARGETS
from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.losses.classes import LabelledCrossentropy
from eokeras.losses.labelled import FractionCrossentropy, LabelledBinaryCrossentropy, LabelledMeanAbsoluteError

LOSSES = {
    "class": LabelledCrossentropy,
    "map": LabelledCrossentropy,
    "regression": LabelledMeanAbsoluteError,
    "fractions": FractionCrossentropy,
    "multilabel": LabelledBinaryCrossentropy,
    "map_regression": LabelledMeanAbsoluteError,
}
"""Kind of target (schema.py) -> the loss made for it."""


def for_tasks(tasks, schema=None, class_weights=None):
    """The loss of every task, for `model.compile(loss=...)`.

    The dict is plain: another loss for one task is put in its place with `|`, as in the example.
    Elevation costs metres, tens of times as much as a cross-entropy: mind its `loss_weights`.

    Args:
        tasks: names of targets (`eokeras.ben_ge.schema.TARGETS`).
        schema: the `RecordSchema` of the records that will be trained on, or None. It must describe
            the classes of every class target; "balanced" weights come from its training statistics (under a label
            budget: give the schema of `eokeras.count_labels`).
        class_weights: dict of class or map task -> "balanced" (see `balanced_weights`) or dict of class
            name -> weight, 1 for classes not named. Tasks left out have none.

    Returns:
        A dict of task -> `keras.losses.Loss` on logits: cross-entropy for classes and maps,
        mean absolute error for regression and elevation, cross-entropy against fractions, binary
        cross-entropy for labels. All average over labelled elements only.

    Raises:
        InvalidArgumentError: a task is unknown (the message lists the valid ones), the records do not
            describe its classes, or `class_weights` names a task or class that there is not, or holds
            what is no weight.

    Example:
        >>> losses = for_tasks(("climate_zone", "land_cover_map", "season"),
        ...                    class_weights={"land_cover_map": {"mangroves": 0, "herbaceous wetland": 5}})
        >>> from eokeras.losses import LabelledDice
        >>> losses |= {"climate_zone": LabelledDice()}
        >>> [type(loss).__name__ for loss in losses.values()]
        ['LabelledDice', 'LabelledCrossentropy', 'LabelledMeanAbsoluteError']
    """
    check_choices("tasks", tasks, TARGETS)
    for task in tasks:
        if schema is not None and TARGETS[task].classes and task not in schema.classes:
            raise InvalidArgumentError(
                f"`tasks` may hold targets of the records, {sorted(schema.classes)}. Received: {task!r}."
            )
    class_weights = {} if class_weights is None else class_weights
    check_choices("class_weights", class_weights, [task for task in tasks if TARGETS[task].kind in ("class", "map")])
    losses = {task: LOSSES[TARGETS[task].kind]() for task in tasks}
    return losses | {
        task: LabelledCrossentropy(_in_order(task, weights, schema)) for task, weights in class_weights.items()
    }


def balanced_weights(task, schema):
    """Class weights under which every class has the same share in the loss of all training labels.

    w(c) = n / (K n_c) with n_c labels (patches, or pixels of a map) of class c among n, and K classes that occur,
    as scikit-learn's "balanced": the mean weight over the training labels is 1. A class that never
    occurs has weight 1, so that a validation loss still counts it as an average label.

    The counts of `load_schema` are those of the whole training split. Who trains on a fraction of its labels, and
    means it, knows only theirs: `eokeras.count_labels` gives a schema that does.

    Args:
        task: a class or map target.
        schema: the `RecordSchema` of the records.

    Returns:
        N numbers in the order of the class ids.

    Raises:
        InvalidArgumentError: the records have no counts for `task`.

    Example:
        >>> from types import SimpleNamespace
        >>> schema = SimpleNamespace(statistics={"climate_zone": {"counts": [6, 2, 0]}})
        >>> [round(weight, 3) for weight in balanced_weights("climate_zone", schema)]  # 8 / (2 x 6), 8 / (2 x 2), 1
        [0.667, 2.0, 1.0]
    """
    counts = (getattr(schema, "statistics", None) or {}).get(task, {}).get("counts", ())
    if not sum(counts) or task not in TARGETS or TARGETS[task].kind not in ("class", "map"):
        raise InvalidArgumentError(
            "Balanced class weights need `schema` with counts of the classes in training, of a class or map target. "
            f"Received: none for {task!r}."
        )
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)


def _in_order(task, weights, schema):
    """Weights by class id from "balanced" or a dict by class name."""
    if isinstance(weights, str) and weights == "balanced":
        return balanced_weights(task, schema)
    if not isinstance(weights, Mapping):
        raise InvalidArgumentError(
            f'`class_weights[{task!r}]` must be "balanced" or a dict of class name -> weight. Received: {weights!r}.'
        )
    classes = TARGETS[task].classes if schema is None else schema.classes[task]
    check_choices(f"class_weights[{task!r}]", weights, classes)
    return tuple(weights.get(name, 1.0) for name in classes)
