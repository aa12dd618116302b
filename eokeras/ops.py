"""Operations of the input pipeline: factories of pure functions for `Dataset.map`.

Each takes a batch of stored fields (a dict, unchanged) and returns a dict of the entries it
makes. They work on batches: parsing, resampling and arithmetic cost less per patch that way.
What is done to every pixel is run by `programs.run`, which may compile it.
Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from eokeras import calibration, programs
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
    raster, factor = tf.cast(raster, tf.float32), gsd_m // _GRID_M
    return raster if factor == 1 else _enlarge(_enlarge(raster, factor, axis=2), factor, axis=1)


def _enlarge(raster: tf.Tensor, factor: int, axis: int) -> tf.Tensor:
    """Linearly by a whole factor along rows (1) or columns (2): sums of shifted copies, which XLA makes in one pass."""
    count = raster.shape[axis]
    first, rest = tf.split(raster, [1, count - 1], axis)
    start, last = tf.split(raster, [count - 1, 1], axis)
    before, after = tf.concat([first, start], axis), tf.concat([rest, last], axis)
    parts = []
    for phase in range(factor):
        offset = (
            phase + 0.5
        ) / factor - 0.5  # of a fine pixel's centre from that of its coarse pixel, in coarse pixels
        parts.append((1 - abs(offset)) * raster + abs(offset) * (before if offset < 0 else after))
    size = [length * factor if index == axis else length for index, length in enumerate(raster.shape)]
    return tf.reshape(tf.stack(parts, axis + 1), [-1, *size[1:]])


def assemble_s2(bands: Sequence[str], calibrated: Calibration | None, stored_bands: Bands = _ALL_BANDS) -> Operation:
    """Makes `s2` (B, 120, 120, C) float32 from the stored groups.

    Args:
        bands: band names in the order wanted.
        calibrated: calibration of exactly these bands, or None to keep stored numbers.
        stored_bands: stored group -> its bands, as for `parse`.
    """
    groups = s2_groups_of(bands)
    stored = [band for name in groups for band in stored_bands[name]]
    order = tuple(stored.index(band) for band in bands)

    def apply(batch: Batch) -> Batch:
        # Programs of their own: in one with the last step XLA would enlarge a pixel anew for every band it passes by.
        rasters = [_on_grid(batch[name], schema.RASTERS[name].gsd_m) for name in groups]
        return {"s2": programs.run(_in_channels, (rasters,), order, calibrated, False)}

    return apply


def _on_grid(raster: tf.Tensor, gsd_m: int) -> tf.Tensor:
    return raster if gsd_m == _GRID_M else programs.run(resample_to_10m, (raster,), gsd_m)


def _in_channels(
    rasters: Sequence[tf.Tensor], order: Sequence[int], calibrated: Calibration | None, has_missing: bool
) -> tf.Tensor:
    """Rasters of one grid, or numbers of a patch: (B, ..., C_i) -> calibrated float32 (B, ..., C) in an order."""
    rasters = [tf.cast(raster, tf.float32) for raster in rasters]
    values = rasters[0] if len(rasters) == 1 else tf.concat(rasters, axis=-1)
    if tuple(order) != tuple(range(values.shape[-1])):
        values = tf.gather(values, order, axis=-1)
    if calibrated is None:
        return values
    return calibration.apply(values, calibrated, _TENSORFLOW, has_missing)


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
    order = tuple(held.index(channel) for channel in channels)
    has_missing = (schema.RASTERS.get(field) or schema.SCALARS[field]).dtype.startswith("float")

    def apply(batch: Batch) -> Batch:
        values = batch[field]
        if values.shape.rank == 4:
            return {name: programs.run(_in_channels, ([values],), order, calibrated, has_missing)}
        values = values[:, tf.newaxis] if values.shape.rank == 1 else values  # numbers of a patch
        return {name: _in_channels([values], order, calibrated, has_missing)}

    return apply


def stored(name: str, channels: Sequence[str], held: Sequence[str]) -> Operation:
    """Makes the raster `name` (B, H, W, C) as it is stored, in its dtype; arguments as of `calibrate`."""
    order = tuple(held.index(channel) for channel in channels)

    def apply(batch: Batch) -> Batch:
        in_order = order == tuple(range(len(held)))
        return {name: batch[name] if in_order else programs.run(_taken, (batch[name],), order)}

    return apply


def _taken(values: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    return tf.gather(values, order, axis=-1)


def valid_mask(raster: str, channels: Sequence[str], held: Sequence[str] | None = None) -> Operation:
    """Makes `<raster>_mask` (B, H, W, C) float32: 1 where the stored number is finite, else 0; `held` as above."""
    held = schema.CHANNELS[raster] if held is None else held
    order = tuple(held.index(channel) for channel in channels)

    def apply(batch: Batch) -> Batch:
        return {f"{raster}{MASK}": programs.run(_finite, (batch[raster],), order)}

    return apply


def _finite(values: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    return tf.cast(tf.math.is_finite(_taken(values, order)), tf.float32)


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
    make, field = _TARGETS[name], schema.TARGETS[name].feature

    def values_of(batch: Batch) -> tf.Tensor:
        return programs.run(make, (batch[field],)) if field in schema.RASTERS else make(batch[field])

    if labelled is None:
        return lambda batch: {name: values_of(batch)}
    initialise = tf.lookup.KeyValueTensorInitializer(tf.constant(labelled), tf.ones(len(labelled), tf.bool))
    keeps_label = tf.lookup.StaticHashTable(initialise, default_value=False)

    def apply(batch: Batch) -> Batch:
        values = values_of(batch)
        keeps = tf.reshape(keeps_label.lookup(batch["patch_id"]), (-1, *[1] * (values.shape.rank - 1)))
        return {name: tf.where(keeps, values, schema.VOID if values.dtype.is_integer else np.nan)}

    return apply


def _in_order(entries: Sequence) -> dict[int, int]:
    """Code -> class id of the entries of a class table."""
    return {entry.code: index for index, entry in enumerate(entries)}


def _ids_of_codes(ids: Mapping[int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    table = np.full(max(256, 1 + max(CORINE_NO_DATA)), schema.VOID, "int32")  # stored codes are checked to lie below
    table[list(ids)] = list(ids.values())
    return lambda codes: tf.gather(table, tf.cast(codes, tf.int32))


def _cast(dtype: tf.DType) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda values: tf.cast(values, dtype)


def _top_class(fractions: tf.Tensor) -> tf.Tensor:
    top = tf.argmax(fractions, axis=-1, output_type=tf.int32)
    return tf.where(_has_cover(fractions), top, schema.VOID)


def _fractions(fractions: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.where(_has_cover(fractions)[:, tf.newaxis], fractions, np.nan), tf.float32)


def _elevation(dem: tf.Tensor) -> tf.Tensor:
    """Metres above the mean of what is there of the patch (of a crop: above the crop's mean), NaN without data."""
    stored = dem[..., 0]
    valid = tf.not_equal(stored, schema.DEM_NO_DATA)
    metres = tf.where(valid, tf.cast(stored, tf.float32), 0.0)
    axes = {"axis": (1, 2), "keepdims": True}
    mean = tf.math.divide_no_nan(tf.reduce_sum(metres, **axes), tf.reduce_sum(tf.cast(valid, tf.float32), **axes))
    return tf.where(valid, metres - mean, np.nan)


def _has_cover(fractions: tf.Tensor) -> tf.Tensor:
    """(B,) bool: False for a patch all of whose pixels have no class."""
    return tf.reduce_sum(fractions, axis=-1) > 0


_TARGETS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "climate_zone": _ids_of_codes(_in_order(schema.CLIMATE_ZONES)),
    "land_cover_map": _ids_of_codes(_in_order(schema.LAND_COVER)),
    "reference_map": _ids_of_codes(class_of_code()),
    "land_cover": _top_class,
    "land_cover_fractions": _fractions,
    "season": _cast(tf.float32),
    "geocluster": _cast(tf.int32),
    "labels": _cast(tf.float32),
    "elevation": _elevation,
}


def select(*parts: Sequence[str]) -> Callable[[Batch], tuple[Batch, ...]]:
    """Ends a pipeline: one dict per part, holding exactly the named entries in that order."""

    def apply(batch: Batch) -> tuple[Batch, ...]:
        return tuple({name: batch[name] for name in names} for names in parts)

    return apply
