"""A model behind its own preparation: resampling to 10 m and calibration as its first layers, on the accelerator.

Where an accelerator is there, stored numbers are a third of the bytes that must reach it, and the CPU has only to read.
"""

import itertools
from collections.abc import Mapping, Sequence

import keras

from eokeras import ops
from eokeras.ben_ge import schema as ben_ge
from eokeras.ben_ge.records import RecordSchema
from eokeras.calibration import calibration_for_records
from eokeras.errors import InvalidArgumentError
from eokeras.layers import Calibrate, Enlarge
from eokeras.saved_model import used_channels

_GRID_M = ben_ge.RASTERS["s2_10m"].gsd_m


def from_stored(
    model: keras.Model,
    schema: RecordSchema,
    *,
    calibrate: str = "standardise",
    bands: Mapping[str, Sequence[str]] | None = None,
) -> keras.Model:
    """The same model for stored numbers: it resamples and calibrates first, as `make_dataset` would have.

    What it takes is what `make_dataset(..., calibrate=None, resolution="stored")` gives with the same `bands`:
    `s2_10m` (B, H, W, 4), `s2_20m` (B, H / 2, W / 2, 6) and `s2_60m` (B, H / 6, W / 6, 2) uint16 in place of `s2`, of
    them those that hold a band that is used; `s1` in dB, `dem` in metres, `era5` and `lonlat` as stored. Presence
    inputs pass; masks do not. Pixels are moved in the pipeline (`augment`), where maps move along with images.

    Args:
        model: a functional model of inputs of `make_dataset`.
        schema: schema of the records.
        calibrate: the calibration that the model is trained with, "standardise" or "tutorial".
        bands: input -> channel names in the order that the model takes them; give `make_dataset` the same ones.

    Returns:
        A model, not compiled, that shares its weights with `model`: train one and the other has learned. `model` is
        what to save and export.

    Raises:
        InvalidArgumentError: `model` is for Sentinel-2 at stored resolution already, or for a size that pixels of 60 m
            do not fill, an input of it is none of the schema, or `bands` do not fit.

    Example:
        >>> stored = eo.make_dataset(records, "train", calibrate=None, resolution="stored")  # doctest: +SKIP
        >>> behind = eo.from_stored(model, eo.load_schema(records))  # doctest: +SKIP
        >>> behind.compile("adamw", loss)  # doctest: +SKIP
        >>> behind.fit(stored)  # doctest: +SKIP
    """
    grouped = [tensor.name for tensor in model.inputs if tensor.name in ben_ge.S2_GROUPS]
    if grouped:
        raise InvalidArgumentError(
            f"`model` must take Sentinel-2 on the 10 m grid, as `s2`. Received: inputs {', '.join(grouped)}."
        )
    used = used_channels(model, schema, bands or {})
    inputs: list[keras.KerasTensor] = []
    prepared = []
    for tensor in model.inputs:
        if tensor.name not in used:  # presence
            inputs.append(keras.Input(tensor.shape[1:], name=tensor.name))
            prepared.append(inputs[-1])
            continue
        channels = used[tensor.name]
        held = _channels_held(tensor.name, channels)
        taken = _taken(tensor, held)
        inputs += taken.values()
        constants = calibration_for_records(tensor.name, calibrate, schema, channels)
        layer = Calibrate(constants, channels=[*itertools.chain(*held.values())], name=f"calibrate_{tensor.name}")
        prepared.append(layer(_on_one_grid(taken)))
    return keras.Model(inputs, model(prepared), name=f"{model.name}_from_stored")


def _channels_held(name: str, channels: Sequence[str]) -> dict[str, list[str]]:
    """Stored inputs that an input of the model is made from, and their channels, as `make_dataset` gives them."""
    if name != "s2":
        return {name: list(channels)}
    groups = ops.s2_groups_of(channels)
    return {group: [band for band in channels if band in ben_ge.RASTERS[group].bands] for group in groups}


def _taken(tensor: keras.KerasTensor, held: Mapping[str, Sequence[str]]) -> dict[str, keras.KerasTensor]:
    """Inputs of stored dtypes and sizes for these."""
    taken = {}
    for name, channels in held.items():
        raster = ben_ge.RASTERS.get(name)
        factor = raster.gsd_m // _GRID_M if name in ben_ge.S2_GROUPS else 1
        if odd := [size for size in tensor.shape[1:-1] if size and size % factor]:
            rule = f"`model` must take sizes that are multiples of {factor}, as pixels of {name} need."
            raise InvalidArgumentError(f"{rule} Received: {odd[0]} for the input {tensor.name}.")
        sizes = [size and size // factor for size in tensor.shape[1:-1]]
        dtype = raster.dtype if raster else "float32"
        taken[name] = keras.Input((*sizes, len(channels)), name=name, dtype=dtype)
    return taken


def _on_one_grid(taken: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Rasters, or one of numbers, as float32 channels on the 10 m grid, in the order in which they are held."""
    parts = []
    for name, tensor in taken.items():
        part = keras.ops.cast(tensor, "float32")
        factor = ben_ge.RASTERS[name].gsd_m // _GRID_M if name in ben_ge.S2_GROUPS else 1
        # Whatever the policy: half precision would round digital numbers before they are scaled.
        parts.append(part if factor == 1 else Enlarge(factor, dtype="float32", name=f"enlarge_{name}")(part))
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(dtype="float32")(parts)
