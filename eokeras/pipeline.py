"""`make_dataset`: the one way from TFRecord shards to (inputs, targets).

Letters: B batch, H rows, W columns, C channels.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from eokeras import ops, programs
from eokeras.augment.composition import fold
from eokeras.ben_ge import schema
from eokeras.ben_ge.input_names import modality_of, presence_name, view_count
from eokeras.ben_ge.label_subsets import LabelSubset
from eokeras.ben_ge.records import RecordSchema, load_schema
from eokeras.ben_ge.seal import check_seal
from eokeras.calibration import calibration_for_records
from eokeras.epochs import numbered_epochs, seed_of_batch
from eokeras.errors import InvalidArgumentError, RecordsError, check_choice, check_choices
from eokeras.label_choice import choose_patches, part_of
from eokeras.parallel import map_ahead
from eokeras.serialised import serialised_cells, serialised_patches
from eokeras.several_views import augment_dates, finish_views, parse_dates

_WORTH_COMPILING = 256  # patches: reading them a few times takes longer than compiling what is done to their pixels

SHORTCUTS = {
    ("lonlat", "geocluster"): "clusters are made from longitude and latitude",
    ("era5", "climate_zone"): "weather reveals place and date",
    ("era5", "season"): "weather reveals the date",
    ("era5", "geocluster"): "weather reveals the place",
    ("lonlat", "climate_zone"): "climate zones are regions of the map",
}
"""(Input, target) that can be read off from it without looking at the image -> why: the favourite leaks here."""


def make_dataset(
    records: str | Path,
    split: str,
    inputs: Sequence[str] = ("s2", "s1"),
    targets: Sequence[str] = (),
    *,
    batch_size: int = 32,
    bands: Mapping[str, Sequence[str]] | None = None,
    calibrate: str | None = "standardise",
    resolution: str = "10m",
    masks: bool = False,
    presence: bool = False,
    shuffle: bool = False,
    dates: int = 1,
    augment: Callable | None = None,
    mix: Callable | None = None,
    seed: int | None = None,
    first_epoch: int = 0,
    cache: str | None = None,
    repeat: bool = False,
    drop_remainder: bool = False,
    part: tuple[int, int] | None = None,
    metadata: Sequence[str] = (),
    label_fraction: float | Mapping[str, float] | None = None,
    label_shots: Mapping[str, int] | None = None,
    label_draw: str = "spread",
    label_seed: int = 0,
    label_group: str | None = None,
    labels: str | Path | LabelSubset | Mapping[str, str | Path | LabelSubset] | None = None,
    subset: str = "labelled",
) -> tf.data.Dataset:
    """Reads one split of the records as batches for `model.fit`.

    Args:
        records: directory that `eokeras.ben_ge.convert` or `apply_split` returned.
        split: "train", "val" or "test", as the records have them.
        inputs: any of `s2` (B, H, W, 12), `s1` (B, H, W, 2), `dem` (B, H, W, 1), `era5` (B, 8),
            `lonlat` (B, 2), `season_input` (B, 1): float32, channels last, 10 m grid. `s2` and `s1` have fewer
            channels where the records hold fewer bands.
        targets: any of `climate_zone`, `land_cover`, `geocluster` (B,) int32; `land_cover_map`
            and `reference_map` (B, H, W) int32, `ben_ge.schema.VOID` where there is no class; `season` (B,) float32;
            `land_cover_fractions` (B, 11) and `labels` (B, 19) float32; `elevation` (B, H, W) float32,
            metres above the mean of the patch (after a random crop: of the crop), NaN where there is none.
        batch_size: patches per batch; the last batch may hold fewer.
        bands: input -> channel names in the order wanted, e.g. `{"s1": ("VH", "VV")}`.
        calibrate: "standardise" (training statistics), "tutorial" (fixed ranges to [0, 1]), or
            None (stored numbers; at stored resolution in their stored dtypes, so that the least is moved: see
            `eokeras.from_stored`). Missing backscatter and heights: see `eokeras.calibration`.
        resolution: "10m", or "stored": then `s2` comes as `s2_10m` (B, 120, 120, 4),
            `s2_20m` (B, 60, 60, 6) and `s2_60m` (B, 20, 20, 2).
        masks: adds the input `s1_mask` (B, H, W, C) float32, 0 where backscatter is missing.
        presence: adds an input `<input>_present` (B, 1) float32 of ones for each of `inputs` (one
            `s2_present` for its stored groups), for models that can do without a modality.
        shuffle: new order in every epoch: of the shards, and of records among 256 neighbours, which are in random order
            already; of all records with `cache="memory"`; with files as cache of neighbours alone.
        dates: with 2 or more an element is no patch but a cell that was seen on so many dates, each date a view as
            after `eokeras.augment.views`: `s2_view_1`, `s2_view_2`. With `shuffle` the dates are drawn anew in every
            epoch, else they are the first ones. Cells seen more rarely are left out. Targets are those of the first of
            them, so that a label of a later date is not used.
        augment: a function (batch, seed) -> batch, such as `eokeras.augment.dihedral()`. After
            `eokeras.augment.views` every input comes once per view, as `s2_view_1`, `s2_view_2`; targets and
            metadata are those of the first view. With `dates` each date is augmented by itself.
        mix: a function (inputs, targets, seed) -> (inputs, targets), such as `eokeras.augment.cutmix()`, after all
            else; targets of classes may then be shares of classes, (B, N) or (B, H, W, N) float32.
        seed: makes order and augmentation repeatable: those of an epoch follow from this and its number alone.
        first_epoch: number of the first epoch; every further iteration is the next one. A run that goes on after k
            epochs gives k and sees what an unbroken one would. (A `fit` that builds the model from its data, as under a
            `tf.distribute` strategy, begins one iteration more; with `repeat` the epochs of `fit` are not these.)
        cache: None, "memory" (of stored records), or a path: files that begin with it hold the records, which pays
            where it lies on a faster disk than they do. One process at a time may write them; where it was killed amid
            that, TensorFlow names a file that ends in `.lockfile`, to be removed.
        repeat: endless epochs, each shuffled anew.
        drop_remainder: leaves out a last batch that is not full.
        part: (index, count): this one of so many equal parts of the patches, for hosts that train together, such as
            `(jax.process_index(), jax.process_count())`. Only its records are read, by `patches.csv`; sizes differ by
            one patch at most, so let all hosts take as many steps (`repeat=True` and `steps_per_epoch`).
        metadata: fields of the records (`patch_id`, `tile`, `date`, ...) in a third dict. Keras'
            `fit` would take it for sample weights, so use it for iterating and scoring only.
        label_fraction: share of the patches of "train" or "val" whose labels may be used: the data set holds these
            patches alone. By target (`{"season": 0.1, "climate_zone": 1.0}`, every target named) it holds the patches
            that any of `targets` has a label on, and the other labels are missing: `VOID` or NaN. Subsets of one seed
            and draw are nested, so the patches of the smaller share have the labels of the larger one too.
        label_shots: instead, one class target -> patches per class (`{"land_cover": 5}`).
        label_draw, label_seed, label_group: how they are drawn; see `eokeras.ben_ge.draw_labels`.
        labels: instead, the index file of a budget or what `draw_labels` gave; by target, a dict of these. They are
            drawn already: `label_draw`, `label_seed` and `label_group` do not count.
        subset: "labelled", or "unlabelled": the patches of the split that the budget leaves out, without targets.
            The pool for pretraining is all of training, `make_dataset(records, "train", inputs)` without targets.

    Give "val" the budget of "train": validation labels count, and early stopping on all of them with 1 % of the
    training labels is cheating (Oliver et al. 2018, https://arxiv.org/abs/1804.09170).

    Returns:
        A `tf.data.Dataset` of (inputs, targets) or (inputs, targets, metadata), each a dict.
        Its attribute `recipe` makes the same data set again with other keywords.

    Raises:
        RecordsError: no whole records here, their statistics do not belong to their shards, or they lack a modality
            or split asked for.
        InvalidArgumentError: an unknown name or an odd value; the message lists the valid ones.
        InvalidSourceError: `labels` is malformed, or of other records or another split.

    Example:
        >>> train = eo.make_dataset(records, "train", ("s2",), ("season",), shuffle=True)  # doctest: +SKIP
        >>> budget = {"label_fraction": 0.1, "label_draw": "clustered"}                    # doctest: +SKIP
        >>> few = eo.make_dataset(records, "train", ("s2",), ("season",), **budget)        # doctest: +SKIP
        >>> validation = eo.make_dataset(records, "val", ("s2",), ("season",), **budget)   # doctest: +SKIP
    """
    recipe = functools.partial(
        make_dataset, records, split=split, inputs=inputs, targets=targets, batch_size=batch_size, bands=bands,
        calibrate=calibrate, resolution=resolution, masks=masks, presence=presence, shuffle=shuffle, dates=dates,
        augment=augment, mix=mix, seed=seed, first_epoch=first_epoch, cache=cache, repeat=repeat,
        drop_remainder=drop_remainder, part=part, metadata=metadata,
        label_fraction=label_fraction, label_shots=label_shots, label_draw=label_draw, label_seed=label_seed,
        label_group=label_group, labels=labels, subset=subset,
    )  # fmt: skip
    record_schema = load_schema(records)
    check_seal(record_schema, split)
    _check_names(record_schema, split, inputs, targets, metadata)
    _check_options(batch_size, resolution, cache, calibrate, dates, first_epoch, part)
    channels = _channels(record_schema, inputs, bands or {}, resolution)
    choice = choose_patches(
        record_schema, split, targets, label_fraction=label_fraction, label_shots=label_shots, label_draw=label_draw,
        label_seed=label_seed, label_group=label_group, labels=labels, subset=subset,
    )  # fmt: skip
    if part is not None:
        choice = part_of(record_schema, split, choice, *part)
    labelled = choice.labelled if choice else {}
    fields = _fields(channels, targets, (*metadata, "patch_id") if labelled else metadata)

    if dates > 1:
        epoch = serialised_cells(record_schema, split, choice, dates, shuffle)
    else:
        epoch = serialised_patches(record_schema, split, choice, shuffle, cache)
    if shuffle or augment is not None or mix is not None:
        dataset = numbered_epochs(epoch, seed, first_epoch, repeat)
    else:
        dataset = tf.data.Dataset.zip((epoch(None),))
        dataset = dataset.repeat() if repeat else dataset
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    parse, change = ops.parse(fields, record_schema.stored_bands), augment
    if dates > 1:
        parse, change = parse_dates(parse), augment and augment_dates(augment)
    patches = int(choice.chosen.sum()) if choice else record_schema.splits[split]
    as_stored = calibrate is None and resolution == "stored"
    finish = _finish(record_schema, channels, targets, calibrate, as_stored, masks, presence, metadata, labelled)

    def read(serialised, *draws):
        with programs.compiling(patches >= _WORTH_COMPILING):
            batch = parse(serialised)
            if change is not None:  # before resampling: fewer and smaller numbers to move
                batch = change(batch, fold(seed_of_batch(*draws), 0))
            parts = finish_views(finish)(batch) if view_count(batch) else finish(batch)
            return parts if mix is None else (*mix(*parts[:2], fold(seed_of_batch(*draws), 1)), *parts[2:])

    dataset = map_ahead(dataset, read)
    dataset.recipe = recipe
    return dataset


def _check_names(records: RecordSchema, split, inputs, targets, metadata) -> None:
    check_choices("inputs", inputs, schema.INPUTS)
    check_choices("targets", targets, schema.TARGETS)
    check_choices("metadata", metadata, schema.SCALARS)
    if not inputs:
        raise InvalidArgumentError("`inputs` must name at least one input. Received: none.")
    lacking = [name for name in inputs if name not in records]
    lacking += [name for name in targets if name not in records.targets]
    lacking += [name for name in metadata if name not in records.fields]
    if lacking:
        raise RecordsError(
            f"{records.path} lacks what {lacking[0]!r} is made from. It can give inputs {list(records)} "
            f"and targets {list(records.targets)}."
        )
    if split not in records.splits:
        rule = f"`split` must be one of {list(records.splits)}. Received: split={split!r}."
        raise RecordsError(" ".join([rule, *records.split["notes"]]))
    for name, target in ((name, target) for name in inputs for target in targets):
        if schema.TARGETS[target].feature in schema.INPUTS[name]:
            raise InvalidArgumentError(f"`inputs` must not hold a target. Received: input {name}, target {target}.")
    for (given, asked), reason in SHORTCUTS.items():
        if given in inputs and asked in targets:
            warnings.warn(f"Input {given!r} is a shortcut to target {asked!r}: {reason}.", stacklevel=3)


def _check_options(batch_size, resolution, cache, calibrate, dates, first_epoch, part) -> None:
    for name, value in (("batch_size", batch_size), ("dates", dates)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidArgumentError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    if isinstance(first_epoch, bool) or not isinstance(first_epoch, int) or first_epoch < 0:
        rule = "`first_epoch` must be 0 or a positive integer."
        raise InvalidArgumentError(f"{rule} Received: first_epoch={first_epoch!r}.")
    if dates > 1 and cache is not None:
        rule = "`cache` must be None with `dates`, which a cache would draw only once."
        raise InvalidArgumentError(f"{rule} Received: cache={cache!r}, dates={dates}.")
    if part is not None and (
        not isinstance(part, tuple)
        or [type(number) for number in part] != [int, int]
        or not 0 <= part[0] < part[1]
        or dates > 1  # whose cells would lie in several parts
    ):
        rule = "`part` must be (index, count) with 0 <= index < count, and None with `dates`."
        raise InvalidArgumentError(f"{rule} Received: part={part!r}, dates={dates}.")
    check_choice("resolution", resolution, ("10m", "stored"))
    if calibrate is not None:
        check_choice("calibrate", calibrate, ("standardise", "tutorial"))
    if cache == "disk" or (cache is not None and not isinstance(cache, str | Path)):
        rule = '`cache` must be None, "memory" or a path: of files on a disk that is faster than that of the records.'
        raise InvalidArgumentError(f"{rule} Received: cache={cache!r}.")


def _channels(records, inputs, bands, resolution) -> dict[str, tuple[str, ...]]:
    """Channel names by input in the order wanted; at stored resolution `s2` becomes its groups."""
    check_choices("bands", bands, inputs)
    channels = {}
    for name in inputs:
        chosen = tuple(bands.get(name, records[name].channels))
        check_choices(f"bands[{name!r}]", chosen, records[name].channels)
        if not chosen or len(set(chosen)) < len(chosen):
            raise InvalidArgumentError(f"`bands[{name!r}]` must name channels once each. Received: {chosen}.")
        if name == "s2" and resolution == "stored":
            for group in ops.s2_groups_of(chosen):
                channels[group] = tuple(band for band in chosen if band in schema.RASTERS[group].bands)
        else:
            channels[name] = chosen
    return channels


def _fields(channels, targets, metadata) -> tuple[str, ...]:
    fields = []
    for name, chosen in channels.items():
        fields += _stored_fields(name, chosen)
    fields += [schema.TARGETS[name].feature for name in targets]
    return tuple(dict.fromkeys([*fields, *metadata]))


def _stored_fields(name: str, channels) -> tuple[str, ...]:
    """The fields of a record that an input with these channels is made from."""
    return ops.s2_groups_of(channels) if name == "s2" else schema.INPUTS.get(name, (name,))


def _finish(records, channels, targets, calibrate, as_stored, masks, presence, metadata, labelled):
    """Composes parsed fields -> (inputs, targets[, metadata])."""
    operations = [ops.make_target(name, labelled.get(name)) for name in targets]
    names = list(channels)
    for name, chosen in channels.items():
        constants = calibrate and calibration_for_records(name, calibrate, records, chosen)
        if name == "s2":
            operations.append(ops.assemble_s2(chosen, constants, records.stored_bands))
        elif as_stored and name in schema.RASTERS:
            operations.append(ops.stored(name, chosen, records[name].channels))
        else:
            operations.append(ops.calibrate(name, chosen, constants, records[name].channels))
    if masks and "s1" in channels:
        operations.append(ops.valid_mask("s1", channels["s1"], records["s1"].channels))
        names.append("s1_mask")
    if presence:
        fields = {modality_of(name): _stored_fields(name, chosen)[0] for name, chosen in channels.items()}
        operations += [ops.present(modality, field) for modality, field in fields.items()]
        names += map(presence_name, fields)
    select = ops.select(names, targets)

    def apply(stored):
        made = {}
        for operation in operations:
            made |= operation(stored)
        parts = select(made)
        # Metadata are fields as stored; an input of the same name holds calibrated numbers.
        return (*parts, {name: stored[name] for name in metadata}) if metadata else parts

    return apply
