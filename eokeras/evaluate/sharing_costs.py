"""What one shared model costs beside the models that it stands in for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.costs import Cost, scaled
from eokeras.evaluate.scores import text_table

_TRAINING_MEMORY = "memory of a training step"

# (what, attribute of `Cost`, how the costs of several models join, unit, base of its prefixes)
_QUANTITIES = (
    ("trainable weights", "trainable_weights", sum, "", None),
    ("operations to predict a patch", "flops", sum, "FLOPs", 1000),
    ("time to predict a batch", "prediction_seconds", sum, "s", None),
    ("time of a training step", "training_step_seconds", sum, "s", None),
    ("memory of all weights", "weight_bytes", sum, "B", 1024),
    (_TRAINING_MEMORY, "memory_bytes", max, "B", 1024),
)


@dataclass(frozen=True)
class CostRatio:
    """One cost of two contestants.

    Attributes:
        name: what it costs, in words.
        first, second: of the multitask model, and of all models of the reference; None where not measured.
        unit: "" for a count.
        base: of the prefixes of its text, 1000 or 1024; None for none.
    """

    name: str
    first: float | None
    second: float | None
    unit: str = ""
    base: int | None = None

    @property
    def ratio(self) -> float | None:
        """`first` / `second`: below 1 the multitask model is cheaper; None where one is missing or 0."""
        return self.first / self.second if self.first is not None and self.second else None

    @property
    def texts(self) -> tuple[str, str]:
        """Both costs with their unit; "-" where not measured."""
        return self._text(self.first), self._text(self.second)

    def _text(self, value: float | None) -> str:
        if value is None:
            return "-"
        if self.base is not None:
            return f"{scaled(value, self.base)}{self.unit}"
        return f"{value:.3f} {self.unit}" if self.unit else f"{value:,}"

    def to_dict(self) -> dict:
        """JSON-able content, without the name."""
        return {"multitask": self.first, "reference": self.second, "ratio": self.ratio, "unit": self.unit}


@dataclass(frozen=True)
class SharingCosts:
    """Costs of one multitask model and of the models that together do the same. `print(...)` shows a table.

    Weights, operations and seconds of the reference's models add up: to answer for every task, each has to
    be held, and run. The memory of a training step does not: models are trained one after the other, so it
    is that of the largest.

    Attributes:
        multitask, reference: names of the two.
        first: cost of the multitask model.
        second: costs of the reference's models.
    """

    multitask: str
    reference: str
    first: Cost
    second: tuple[Cost, ...]

    @property
    def ratios(self) -> tuple[CostRatio, ...]:
        """Every cost that was measured on either side."""
        found = []
        for name, attribute, join, unit, base in _QUANTITIES:
            parts = [getattr(cost, attribute) for cost in self.second]
            second = None if None in parts else join(parts)
            ratio = CostRatio(name, getattr(self.first, attribute), second, unit, base)
            found += [ratio] if ratio.first is not None or ratio.second is not None else []
        return tuple(found)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the costs mean, in words."""
        size = f"patches of {self.first.height} x {self.first.width}; batches of {self.first.batch_size}"
        count = len(self.second)
        if count == 1:
            return (f"Costs: {size}.",)
        join = f"weights, operations and times of the {count} models of {self.reference} add up"
        return (f"Costs: {size}; {join}, the {_TRAINING_MEMORY} is that of the largest: they train one by one.",)

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        return ("cost", self.multitask, self.reference, "ratio")

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(what, of the multitask model, of the reference, their ratio)."""
        return [(item.name, *item.texts, "-" if item.ratio is None else f"{item.ratio:.2f}") for item in self.ratios]

    def to_dict(self) -> dict:
        """JSON-able content."""
        return {
            "multitask": self.first.to_dict(),
            "reference": [cost.to_dict() for cost in self.second],
            "ratios": {item.name: item.to_dict() for item in self.ratios},
        }

    def __str__(self) -> str:
        return "\n".join([text_table(self.headings, self.rows()), *self.sentences])


def sharing_costs(
    multitask: Cost,
    reference: Cost | Sequence[Cost] | Mapping[str, Cost],
    *,
    names: tuple[str, str] = ("multitask", "single-task"),
) -> SharingCosts:
    """Puts the cost of one multitask model beside that of the models that it stands in for.

    Args:
        multitask: from `eokeras.evaluate.cost`.
        reference: of one other model, or of each single-task twin: a sequence, or target -> cost.
        names: of the two sides, for tables and charts.

    Raises:
        InvalidArgumentError: nothing or something else was given, or the costs are for patches or batches of
            different sizes.

    Example:
        >>> zone, season = (Cost(name, 50, 500, 120, 120, 32, 200, 200, 0, 100) for name in ("zone", "season"))
        >>> both = Cost("both", 60, 550, 120, 120, 32, 240, 240, 0, 120)
        >>> [(item.name, item.ratio) for item in sharing_costs(both, [zone, season]).ratios][:2]
        [('trainable weights', 0.6), ('operations to predict a patch', 0.55)]
    """
    parts = [reference] if isinstance(reference, Cost) else list(_values(reference))
    given = [multitask, *parts]
    if not parts or not all(isinstance(cost, Cost) for cost in given):
        kinds = [type(cost).__name__ for cost in given]
        raise InvalidArgumentError(f"`costs` must hold a `Cost` of each model of both sides. Received: {kinds}.")
    sizes = {(cost.height, cost.width, cost.batch_size) for cost in given}
    if len(sizes) > 1:
        raise InvalidArgumentError(
            "`costs` must be for patches and batches of one size. Received: (height, width, batch_size) of "
            f"{', '.join(map(str, sorted(sizes)))}."
        )
    return SharingCosts(*names, multitask, tuple(parts))


def _values(reference) -> Sequence:
    if isinstance(reference, Mapping):
        return tuple(reference.values())
    return reference if isinstance(reference, Sequence) else (reference,)
