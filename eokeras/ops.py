"""Operations of the input pipeline: factories of pure functions for `Dataset.map`.

Each takes a batch of stored fields (a dict, unchanged) and returns a dict of the entries it
makes. They work on batches: parsing, resampling and arithmetic cost less per patch that way.
Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from eokeras import calibration
from eokeras.ben_ge import schema
from eokeras.ben_ge.corine import CORINE_NO_DATA, class_of_code
from eokeras.ben_ge.input_names import MASK, modality_of, presence_name
from eokeras.calibration import Calibration

Batch = dict[str, tf.Tensor]
Operation = Callable[[Batch], Batch]

_TENSORFLOW = SimpleNamespace(
    where=tf.where, isnan=tf.math.is_nan, isinf=tf.math.is_inf, minimum=tf.minimum, maximum=tf.maximum
)
Bands = Mapping[str, Sequence[str]]
_ALL_BANDS: Bands = {name: raster.bands for name, raster in schema.RASTERS.items()}
_GRID_M = schema.RASTERS["s2_10m"].gsd_m  # ground sampling distance of the common grid


def parse(fields: Sequence[str], stored_bands: Bands = _ALL_BANDS) -> Callable[[tf.Tensor], Batch]:
    """Makes the parser of serialised records.

    Args:
        fields: fields of the records to read; others cost nothing.
        stored_bands: raster -> the bands that the records hold of it (`RecordSchema.stored_bands`); by default all.

    Returns:
        A function from serialised examples (B,) to a dict of (B, ...) tensors at stored
        resolution and dtype.
    """
    specification = {name: tf.io.FixedLenFeature([], tf.string) for name in fields}

    def apply(serialised: tf.Tensor) -> Batch:
        examples = tf.io.parse_example(serialised, specification)
        return {name: _decode(name, examples[name], stored_bands.get(name, ())) for name in fields}

    return apply


def _decode(name: str, raw: tf.Tensor, bands: Sequence[str]) -> tf.Tensor:
    field = schema.RASTERS.get(name) or schema.SCALARS[name]
    if field.dtype == "string":
        return raw
    values = tf.io.decode_raw(raw, field.dtype)
    shape = (*field.shape[:2], len(bands)) if bands else field.shape
    return tf.reshape(values, (-1, *shape))


def resample_to_10m(raster: tf.Tensor, gsd_m: int) -> tf.Tensor:
    """(B, H, W, C) of any dtype at `gsd_m` (10, 20 or 60) m -> the same extent in float32 on the 10 m grid.

    A whole patch gives (B, 120, 120, C), a crop of it fewer rows and columns. Bilinear with
    half-pixel centres, edges repeated: GDAL's bilinear read before it rounds.
    """
    factor = gsd_m // _GRID_M
    if factor == 1:
        return tf.cast(raster, tf.float32)
    size = [rows * factor for rows in raster.shape[1:3]]
    return tf.image.resize(raster, size, method="bilinear")


def assemble_s2(bands: Sequence[str], calibrated: Calibration | None, stored_bands: Bands = _ALL_BANDS) -> Operation:
    """Makes `s2` (B, 120, 120, C) float32 from the stored groups.

    Args:
        bands: band names in the order wanted.
        calibrated: calibration of exactly these bands, or None to keep stored numbers.
        stored_bands: stored group -> its bands, as for `parse`.
    """
    groups = s2_groups_of(bands)
    stored = [band for name in groups for band in stored_bands[name]]
    order = np.zeros((len(stored), len(bands)), "float32")
    for column, band in enumerate(bands):
        order[stored.index(band), column] = 1

    def apply(batch: Batch) -> Batch:
        stack = [resample_to_10m(batch[name], schema.RASTERS[name].gsd_m) for name in groups]
        stack = stack[0] if len(stack) == 1 else tf.concat(stack, axis=-1)
        # A gather along the last axis costs twice a product with a permutation matrix, which
        # is exact because the numbers come from integers and are finite.
        image = tf.tensordot(stack, order, axes=1)
        if calibrated is not None:
            image = calibration.apply(image, calibrated, _TENSORFLOW, has_missing=False)
        return {"s2": image}

    return apply


def s2_groups_of(bands: Sequence[str]) -> tuple[str, ...]:
    """The stored groups that hold any of the bands, in the order of the record."""
    return tuple(name for name in schema.S2_GROUPS if set(bands) & set(schema.RASTERS[name].bands))


def calibrate(
    name: str, channels: Sequence[str], calibrated: Calibration | None, held: Sequence[str] | None = None
) -> Operation:
    """Makes the float32 input `name` (B, ..., C) from its one stored field.

    Args:
        name: an input made of one field, or a stored Sentinel-2 group.
        channels: channel names in the order wanted.
        calibrated: calibration of exactly these channels, or None to keep stored numbers.
        held: the channels that the records hold, in their order; by default all.
    """
    (field,) = schema.INPUTS.get(name, (name,))
    held = schema.CHANNELS[name] if held is None else held
    order = [held.index(channel) for channel in channels]
    has_missing = (schema.RASTERS.get(field) or schema.SCALARS[field]).dtype.startswith("float")

    def apply(batch: Batch) -> Batch:
        values = batch[field]
        if values.shape.rank == 1:  # a number per patch
            values = values[:, tf.newaxis]
        if order != list(range(len(held))):
            values = tf.gather(values, order, axis=-1)
        values = tf.cast(values, tf.float32)
        if calibrated is not None:
            values = calibration.apply(values, calibrated, _TENSORFLOW, has_missing)
        return {name: values}

    return apply


def valid_mask(raster: str, channels: Sequence[str], held: Sequence[str] | None = None) -> Operation:
    """Makes `<raster>_mask` (B, H, W, C) float32: 1 where the stored number is finite, else 0; `held` as above."""
    held = schema.CHANNELS[raster] if held is None else held
    order = [held.index(channel) for channel in channels]

    def apply(batch: Batch) -> Batch:
        finite = tf.math.is_finite(tf.gather(batch[raster], order, axis=-1))
        return {f"{raster}{MASK}": tf.cast(finite, tf.float32)}

    return apply


def present(name: str, field: str) -> Operation:
    """Makes the presence input of `name` (B, 1) float32: 1, since every patch of these records has it.

    Args:
        name: an input, or a stored Sentinel-2 group: those share `s2_present`.
        field: a field of the records that the input is made from; it tells the size of the batch.
    """
    made = presence_name(modality_of(name))

    def apply(batch: Batch) -> Batch:
        return {made: tf.ones((tf.shape(batch[field])[0], 1))}

    return apply


def make_target(name: str, labelled: Sequence[str] | None = None) -> Operation:
    """Makes the target `name`: class ids int32 with VOID where there is none, float32 else.

    Args:
        name: of the target.
        labelled: ids of the patches that keep their label; all others get VOID or NaN throughout. The batch must then
            hold `patch_id` (B,). None: every patch keeps it.
    """
    make = _TARGETS[name]
    if labelled is None:
        return make
    initialise = tf.lookup.KeyValueTensorInitializer(tf.constant(labelled), tf.ones(len(labelled), tf.bool))
    keeps_label = tf.lookup.StaticHashTable(initialise, default_value=False)

    def apply(batch: Batch) -> Batch:
        values = make(batch)[name]
        keeps = tf.reshape(keeps_label.lookup(batch["patch_id"]), (-1, *[1] * (values.shape.rank - 1)))
        return {name: tf.where(keeps, values, schema.VOID if values.dtype.is_integer else np.nan)}

    return apply


def _in_order(entries: Sequence) -> dict[int, int]:
    """Code -> class id of the entries of a class table."""
    return {entry.code: index for index, entry in enumerate(entries)}


def _ids_of_codes(target: str, ids: Mapping[int, int]) -> Operation:
    table = np.full(max(256, 1 + max(CORINE_NO_DATA)), schema.VOID, "int32")  # stored codes are checked to lie below
    table[list(ids)] = list(ids.values())
    field = schema.TARGETS[target].feature

    def apply(batch: Batch) -> Batch:
        return {target: tf.gather(table, tf.cast(batch[field], tf.int32))}

    return apply


def _cast(target: str, dtype: tf.DType) -> Operation:
    field = schema.TARGETS[target].feature

    def apply(batch: Batch) -> Batch:
        return {target: tf.cast(batch[field], dtype)}

    return apply


def _top_class(batch: Batch) -> Batch:
    fractions = batch["land_cover_fractions"]
    top = tf.argmax(fractions, axis=-1, output_type=tf.int32)
    return {"land_cover": tf.where(_has_cover(fractions), top, schema.VOID)}


def _fractions(batch: Batch) -> Batch:
    fractions = batch["land_cover_fractions"]
    fractions = tf.where(_has_cover(fractions)[:, tf.newaxis], fractions, np.nan)
    return {"land_cover_fractions": tf.cast(fractions, tf.float32)}


def _elevation(batch: Batch) -> Batch:
    """Metres above the mean of what is there of the patch (of a crop: above the crop's mean), NaN without data."""
    stored = batch["dem"][..., 0]
    valid = tf.not_equal(stored, schema.DEM_NO_DATA)
    metres = tf.where(valid, tf.cast(stored, tf.float32), 0.0)
    axes = {"axis": (1, 2), "keepdims": True}
    mean = tf.math.divide_no_nan(tf.reduce_sum(metres, **axes), tf.reduce_sum(tf.cast(valid, tf.float32), **axes))
    return {"elevation": tf.where(valid, metres - mean, np.nan)}


def _has_cover(fractions: tf.Tensor) -> tf.Tensor:
    """(B,) bool: False for a patch all of whose pixels have no class."""
    return tf.reduce_sum(fractions, axis=-1) > 0


_TARGETS: Mapping[str, Operation] = {
    "climate_zone": _ids_of_codes("climate_zone", _in_order(schema.CLIMATE_ZONES)),
    "land_cover_map": _ids_of_codes("land_cover_map", _in_order(schema.LAND_COVER)),
    "reference_map": _ids_of_codes("reference_map", class_of_code()),
    "land_cover": _top_class,
    "land_cover_fractions": _fractions,
    "season": _cast("season", tf.float32),
    "geocluster": _cast("geocluster", tf.int32),
    "labels": _cast("labels", tf.float32),
    "elevation": _elevation,
}


def select(*parts: Sequence[str]) -> Callable[[Batch], tuple[Batch, ...]]:
    """Ends a pipeline: one dict per part, holding exactly the named entries in that order."""

    def apply(batch: Batch) -> tuple[Batch, ...]:
        return tuple({name: batch[name] for name in names} for names in parts)

    return apply
