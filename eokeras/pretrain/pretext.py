"""Pretext tasks: targets that every patch has for free, for a network that is to learn without labels.

A model of pretext tasks is a `models.multitask` like any other; what stands here gives its data, heads, losses and
metrics, and refuses what would make the result worthless. Letters: B batch, H rows, W columns, K clusters.
"""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from eokeras.ben_ge import schema as facts
from eokeras.ben_ge.input_names import MASK, presence_name, split_view, view_name
from eokeras.ben_ge.records import RecordSchema
from eokeras.errors import InvalidArgumentError, RecordsError, check_choices
from eokeras.losses.by_task import LOSSES
from eokeras.losses.labelled import LabelledMeanAbsoluteError
from eokeras.metrics.classes import Accuracy
from eokeras.metrics.numbers import MeanAbsoluteError
from eokeras.models.heads import dense_regression_head, map_head, regression_head, scene_head
from eokeras.parallel import map_ahead
from eokeras.pipeline import SHORTCUTS, make_dataset
from eokeras.pretrain.clustering import GeoClusters

MADE_FROM = {"geocluster": "lonlat", "season": "season_input", "elevation": "dem", "era5": "era5", "s1": "s1"}
"""Pretext task -> the input that would give its answer away."""

READ_AS_INPUTS = ("era5", "s1")
"""Pretext tasks that the pipeline knows as inputs only."""


@dataclass(frozen=True)
class PretextTasks:
    """A set of pretext tasks; `pretext_tasks` makes and checks it.

    Args:
        names: of the tasks, which are those of the model's outputs too.
        inputs: of the network.
        schema: of the records.
        clusters: own clusters for `geocluster`, or None for those of the records.
    """

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    schema: RecordSchema
    clusters: GeoClusters | None = None

    @property
    def heads(self) -> dict:
        """Task -> a new head, for `models.multitask`."""
        return {name: self._head(name) for name in self.names}

    def _head(self, name):
        if name == "geocluster":
            return scene_head(self._cluster_count)
        if name == "season":
            return regression_head()
        if name == "elevation":
            return dense_regression_head(scale=self._relief_m)
        # Linear outputs: logits of no class, but standardised numbers.
        return scene_head(len(facts.ERA5)) if name == "era5" else map_head(len(self.schema["s1"].channels))

    @property
    def losses(self) -> dict:
        """Task -> a new loss, for `compile`: cross-entropy of clusters, else mean absolute errors."""
        return {name: self._loss(name) for name in self.names}

    def _loss(self, name):
        return LabelledMeanAbsoluteError() if name in READ_AS_INPUTS else LOSSES[facts.TARGETS[name].kind]()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Task -> weight, for `compile`: 1, but for metres of relief one over their standard deviation."""
        return {name: 1 / self._relief_m if name == "elevation" else 1.0 for name in self.names}

    @property
    def metrics(self) -> dict:
        """Task -> list of new metrics, for `compile`."""
        return {
            name: [Accuracy(self._cluster_count) if name == "geocluster" else MeanAbsoluteError()]
            for name in self.names
        }

    @property
    def _cluster_count(self) -> int:
        return len(self.clusters.centres) if self.clusters else len(facts.TARGETS["geocluster"].classes)

    @property
    def _relief_m(self) -> float:
        """Standard deviation [m] of heights about the mean of their patch, in training; at least 1."""
        return max((self.schema.statistics.get("elevation") or {}).get("std") or 1.0, 1.0)

    def dataset(self, split: str, **options):
        """One split as batches for `fit`: what `make_dataset` gives, with these inputs and pretext targets.

        Args:
            split: "train" for pretraining, which may use its patches alone.
            **options: of `make_dataset`, but `inputs` and `targets`.

        Returns:
            A `tf.data.Dataset` of (inputs, targets[, metadata]): `geocluster` (B,) int32, `season` (B,), `elevation`
            (B, H, W) metres above the mean of the patch, `era5` (B, 8) and `s1` (B, H, W, 2) in calibrated
            numbers (standard deviations, unless `calibrate` says otherwise); NaN where there is none. Its attribute
            `recipe` makes it again with other keywords.

        Raises:
            RecordsError, InvalidArgumentError: as `make_dataset`; or `bands` names what is a target here; or `mix` is
                given although clusters say where a patch lies, of which a mixed image has two.
        """
        moved = [name for name in self.names if name in READ_AS_INPUTS]
        wrong = [name for name in options.get("bands") or {} if name in moved]
        if wrong:
            raise InvalidArgumentError(
                f"`bands` may choose channels of inputs, not of targets. Received: {', '.join(wrong)}."
            )
        asked = tuple(options.get("metadata", ()))
        has_places = "geocluster" in self.names and self.clusters is not None
        if has_places and options.get("mix") is not None:
            raise InvalidArgumentError("`mix` must be None with `clusters`, which it cannot mix. Received: a function.")
        read = options | {
            "masks": options.get("masks", False) or "s1" in moved,
            "metadata": tuple(dict.fromkeys([*asked, *(("lonlat",) if has_places else ())])),
        }
        targets = tuple(name for name in self.names if name not in moved and not (name == "geocluster" and has_places))
        with warnings.catch_warnings():
            # What leaves the inputs again is no shortcut; those that stay were warned about by `pretext_tasks`.
            warnings.filterwarnings("ignore", message="Input .* is a shortcut")
            dataset = make_dataset(self.schema.path, split, (*self.inputs, *moved), targets, **read)
        dropped = {extra for name in moved for extra in (name, name + MASK, presence_name(name))}

        def apply(inputs, targets, metadata=None):
            made = dict(targets)
            for name in moved:  # of views the first, as all targets
                key, mask = (each if each in inputs else view_name(each, 1) for each in (name, name + MASK))
                made[name] = _missing_as_nan(inputs[key], inputs.get(mask))
            if has_places:
                made["geocluster"] = self.clusters.assign_tensor(metadata["lonlat"])
            kept = {key: values for key, values in inputs.items() if split_view(key)[0] not in dropped}
            made = {name: made[name] for name in self.names}
            return (kept, made, {name: metadata[name] for name in asked}) if asked else (kept, made)

        dataset = map_ahead(dataset, apply)
        dataset.recipe = functools.partial(self.dataset, split=split, **options)
        return dataset


def pretext_tasks(
    names: Sequence[str],
    schema: RecordSchema,
    inputs: Sequence[str],
    downstream: Sequence[str] = (),
    clusters: GeoClusters | None = None,
) -> PretextTasks:
    """Chooses pretext tasks and checks that they can teach something.

    Args:
        names: any of `geocluster` (which of K regions), `season` (0 winter .. 1 summer solstice), `elevation` (map
            of relief), `era5` (the 8 numbers of the weather) and `s1` (map of backscatter, as from Sentinel-2).
        schema: of the records, from `load_schema`.
        inputs: of the network that is pretrained, as of `make_dataset`.
        downstream: targets that it is pretrained for.
        clusters: from `geoclusters`, made of places of training. None: the clusters of the records, which ben-ge-800
            and the simulator ship and which were made from all places, those of the test too.

    Returns:
        `PretextTasks`.

    Raises:
        InvalidArgumentError: an unknown name; a pretext target is a downstream target; or an input is what a
            target is made from, so that the image would not be looked at.
        RecordsError: the records lack what a task is made from.

    Warns:
        UserWarning: clusters were made from other records; an input reveals a target in part (weather tells place and
            date), or a pretext target nearly is the downstream target (weather and season, regions and climate zones).

    Example:
        >>> schema = eo.load_schema("records/ben-ge-sim")                                             # doctest: +SKIP
        >>> pretext = pretext_tasks(("geocluster", "s1"), schema, ("s2",), ("land_cover_map",))       # doctest: +SKIP
        >>> encoder = eo.models.unet((120, 120, 12), width=16, name="s2")                             # doctest: +SKIP
        >>> model = eo.models.multitask(encoder, pretext.heads)                                       # doctest: +SKIP
        >>> model.compile("adam", pretext.losses, pretext.loss_weights, pretext.metrics)              # doctest: +SKIP
        >>> model.fit(pretext.dataset("train", shuffle=True, seed=0), epochs=10)                      # doctest: +SKIP
        >>> fine_tuned = eo.models.multitask(encoder, {"land_cover_map": eo.models.map_head(11)})     # doctest: +SKIP

    Reference:
        Ayush et al. 2020 (places), https://arxiv.org/abs/2011.09980; the tutorial's geolocation clusters
    """
    check_choices("names", names, MADE_FROM)
    check_choices("inputs", inputs, facts.INPUTS)
    check_choices("downstream", downstream, facts.TARGETS)
    names, inputs = tuple(dict.fromkeys(names)), tuple(inputs)
    if not names or not inputs:
        raise InvalidArgumentError(f"`names` and `inputs` must not be empty. Received: {names} and {inputs}.")
    both = [name for name in names if name in downstream]
    if both:
        raise InvalidArgumentError(
            "A pretext target must not be a downstream target: all of its labels would have been used. "
            f"Received: {', '.join(both)}."
        )
    for name in names:
        if MADE_FROM[name] in inputs:
            raise InvalidArgumentError(
                f"`inputs` must not hold what a pretext target is made from. Received: input {MADE_FROM[name]!r}, "
                f"task {name!r}."
            )
        needed = facts.TARGETS[name].feature if name in facts.TARGETS else name
        own = name == "geocluster" and clusters is not None
        if not own and needed not in schema.fields:
            way_out = " Make clusters with `geoclusters(records)`." if name == "geocluster" else ""
            raise RecordsError(f"{schema.path} lacks {needed!r}, which the task {name!r} is made from.{way_out}")
    if clusters and clusters.fingerprint and clusters.fingerprint != schema.fingerprint:
        message = f"`clusters` were made from other records than {schema.path}: their places may be those of its test."
        warnings.warn(message, stacklevel=2)
    _warn_of_shortcuts(names, inputs, downstream)
    return PretextTasks(names, inputs, schema, clusters)


def _warn_of_shortcuts(names, inputs, downstream):
    for name in names:
        for given in inputs:
            if (given, name) in SHORTCUTS:
                reason = SHORTCUTS[given, name]
                warnings.warn(f"Input {given!r} is a shortcut to target {name!r}: {reason}.", stacklevel=4)
        for target in downstream:
            if (MADE_FROM[name], target) in SHORTCUTS:
                reason = SHORTCUTS[MADE_FROM[name], target]
                warnings.warn(
                    f"Pretext target {name!r} comes near the downstream target {target!r}: {reason}. Count its labels "
                    "as labels.",
                    stacklevel=4,
                )


def _missing_as_nan(values, mask):
    import tensorflow as tf

    return values if mask is None else tf.where(mask > 0, values, float("nan"))
