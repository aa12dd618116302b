"""Stored numbers -> network inputs: one arithmetic for the pipeline and for the exported model.

`Calibration` holds the constants per channel, `apply` is the arithmetic, written once for any
array namespace (TensorFlow in the pipeline, `keras.ops` in a layer, NumPy in tests).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType, SimpleNamespace

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.records import RecordSchema
from eokeras.errors import InvalidArgumentError, check_choice, check_choices

KINDS = ("standardise", "tutorial")

# Fixed physical ranges that "tutorial" maps to [0, 1]. Reflectance and backscatter are the
# tutorial's own; it never reads the others, whose ranges here cover Europe.
_REFLECTANCE_RANGE = (0.0, 1.0)
_FIXED_RANGES = {
    "s1": ((-25.0, 0.0),) * len(schema.S1_POLARISATIONS),  # dB
    "dem": ((-100.0, 4900.0),),  # m; Mont Blanc is 4808 m
    "era5": tuple((variable.low, variable.high) for variable in schema.ERA5),
    "lonlat": ((-180.0, 180.0), (-90.0, 90.0)),  # degrees
    "season_input": ((0.0, 1.0),),
}


@dataclass(frozen=True)
class Calibration:
    """Constants of one input, one number per channel, all in stored numbers but `gain`.

    A number x becomes (clip(x, low, high) - centre) * gain, after NaN and `no_data` were replaced by
    `nan_value`, -inf by `lowest` and +inf by `highest`.
    """

    channels: tuple[str, ...]
    centre: tuple[float, ...]
    gain: tuple[float, ...]
    low: tuple[float, ...] | None  # None: not clipped
    high: tuple[float, ...] | None
    nan_value: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    no_data: tuple[float, ...] | None = None  # None: no number stands for "missing"

    def to_dict(self) -> dict:
        """JSON-able content; `Calibration.from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> "Calibration":
        """The calibration that `to_dict` described."""
        return cls(**{key: None if value is None else tuple(value) for key, value in content.items()})


def calibration_for_records(name: str, kind: str, records: RecordSchema, channels: Sequence[str]) -> Calibration:
    """The calibration of one input by what its records hold and state; arguments and errors as `calibration_for`."""
    return calibration_for(name, kind, records.statistics, channels, records[name].channels, records.reflectance)


def calibration_for(
    name: str,
    kind: str,
    statistics: dict,
    channels: Sequence[str] | None = None,
    held: Sequence[str] | None = None,
    reflectance: Mapping[str, Mapping[str, float]] | None = None,
) -> Calibration:
    """The calibration of one input.

    Args:
        name: an input (`"s2"`, `"s1"`, `"dem"`, `"era5"`, ...) or a stored group (`"s2_20m"`).
        kind: `"standardise"` (zero mean, unit standard deviation of the training split) or
            `"tutorial"` (fixed physical range to [0, 1]).
        statistics: `RecordSchema.statistics` of the records.
        channels: channel names in the order wanted; by default all that are `held`.
        held: the channels of the records and of their statistics; by default the canonical ones.
        reflectance: band -> `scale` and `offset` of the digital numbers; by default those of BigEarthNet v1.

    Raises:
        InvalidArgumentError: `name`, `kind` or a channel is unknown, or "standardise" without training statistics.
    """
    check_choice("calibrate", kind, KINDS)
    check_choice("name", name, schema.CHANNELS)
    held = tuple(schema.CHANNELS[name] if held is None else held)
    names = tuple(channels or held)
    check_choices(f"channels of {name!r}", names, held)
    chosen = [held.index(channel) for channel in names]
    ranges = dict(zip(schema.CHANNELS[name], fixed_range(name, reflectance), strict=True))
    low, high = (np.array(bound) for bound in zip(*(ranges[channel] for channel in names), strict=True))
    if kind == "tutorial":
        middle = (low + high) / 2
        return _calibration(name, names, low, 1 / (high - low), (low, high), middle, low, high)
    training = statistics.get(name)
    if not training or not min(training["count"]):
        raise InvalidArgumentError(
            f'`calibrate="standardise"` needs the statistics of the training split for {name!r}. Received: records '
            'without training patches. Use calibrate="tutorial".'
        )
    mean, std, p1, p99 = (np.array(training[key], "float64")[chosen] for key in ("mean", "std", "p1", "p99"))
    std = np.where(std > 0, std, 1.0)  # a channel that is constant becomes zero
    return _calibration(name, names, mean, 1 / std, (None, None), mean, p1, p99)


def _calibration(name, names, centre, gain, clip, nan_value, lowest, highest) -> Calibration:
    def numbers(values):
        return None if values is None else tuple(float(value) for value in values)

    low, high = clip
    no_data = np.full(len(names), schema.DEM_NO_DATA) if name == "dem" else None
    constants = (centre, gain, low, high, nan_value, lowest, highest, no_data)
    return Calibration(names, *map(numbers, constants))


def fixed_range(name: str, reflectance: Mapping | None = None) -> tuple[tuple[float, float], ...]:
    """(low, high) in stored numbers of every canonical channel that "tutorial" maps to 0 and 1.

    `reflectance` is as for `calibration_for`; bands that it does not name are taken as of BigEarthNet v1.
    """
    if name in _FIXED_RANGES:
        return _FIXED_RANGES[name]
    numbers = {band.name: {"scale": band.scale, "offset": band.offset} for band in schema.S2_BANDS}
    numbers |= reflectance or {}
    return tuple(
        tuple((value - numbers[band]["offset"]) / numbers[band]["scale"] for value in _REFLECTANCE_RANGE)
        for band in schema.CHANNELS[name]
    )


def apply(x, calibration: Calibration, xp: ModuleType | SimpleNamespace, has_missing: bool = True):
    """Calibrates an array whose last axis is the channels.

    Args:
        x: float32, shape (..., C), stored numbers; may hold NaN and infinities.
        calibration: C channels.
        xp: array namespace with `where`, `isnan`, `isinf`, `minimum`, `maximum`.
        has_missing: False where `x` comes from integers and so is finite; saves passes over memory.

    Returns:
        float32 of the same shape, finite.
    """

    def constant(values):
        return np.array(values, "float32")

    if has_missing:
        x = xp.where(xp.isnan(x), constant(calibration.nan_value), x)
        infinite = xp.where(x < 0, constant(calibration.lowest), constant(calibration.highest))
        x = xp.where(xp.isinf(x), infinite, x)
    if calibration.no_data is not None:
        x = xp.where(x == constant(calibration.no_data), constant(calibration.nan_value), x)
    if calibration.low is not None:
        x = xp.minimum(xp.maximum(x, constant(calibration.low)), constant(calibration.high))
    return (x - constant(calibration.centre)) * constant(calibration.gain)
