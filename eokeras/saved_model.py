"""Export: a trained model becomes a SavedModel that takes stored numbers and gives answers.

Calibration is inside, so that whoever serves the model cannot apply another one. Beside the
SavedModel stand `schema.json` (bands, order, scale, offset, units, classes, statistics,
versions) and `MODEL_CARD.md`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import keras
import tensorflow as tf

import eokeras
from eokeras.ben_ge import schema as ben_ge
from eokeras.ben_ge.input_names import modality_of, presence_name
from eokeras.ben_ge.records import RecordSchema
from eokeras.calibration import calibration_for_records
from eokeras.errors import (
    EokerasError,
    InvalidArgumentError,
    TargetExistsError,
    UnwritableError,
    check_choices,
)
from eokeras.layers import Calibrate

_UNITS = {
    "s2": "digital number; reflectance = digital number * scale + offset",
    "s1": "backscatter sigma-nought in dB",
    "dem": "surface elevation in m above the EGM2008 geoid",
    "era5": ", ".join(f"{variable.column} [{variable.unit}]" for variable in ben_ge.ERA5),
    "lonlat": "degrees",
    "season_input": "0 winter solstice .. 1 summer solstice",
}


def export(
    model: keras.Model,
    path: str | Path,
    schema: RecordSchema,
    *,
    calibrate: str = "standardise",
    bands: Mapping[str, Sequence[str]] | None = None,
    scores: str = "",
) -> Path:
    """Writes a model as a SavedModel that needs TensorFlow alone.

    Args:
        model: a functional model with named inputs of `make_dataset` and a dict of logits, one per
            target.
        path: directory to make; must not exist.
        schema: schema of the records that the model was trained on.
        calibrate: the calibration it was trained with, "standardise" or "tutorial".
        bands: the bands it was trained with, as given to `make_dataset`, input -> channel names.
        scores: text for the model card, for example `str(eokeras.evaluate.score(...))`.

    Returns:
        `path`. Its signature `serve` (and `serving_default`) takes a dict of float32 stored
        numbers with all bands in canonical order, (B, H, W, C) or (B, C), and returns a dict.
        H and W are free unless the model fixes them (heads with `pooling="flatten"` do).
        Presence inputs (`s1_present`) of the model are inputs here too, (B, 1): 1 where the modality
        is there, 0 where it is missing; NaN may then stand in its place.

        - class or map target: `<target>` uint8 class ids (B,) or (B, H, W) and
          `<target>_probabilities` float32 (..., classes);
        - multi-label: `<target>` uint8 0 or 1 and `<target>_probabilities`, (B, classes);
        - fractions: `<target>` float32 (B, classes); regression: `<target>` float32 (B,) in its unit, of a
          map (elevation) (B, H, W).

    Raises:
        InvalidArgumentError: an input or output of the model is none of this schema, `bands` names
            an unknown input or channel or not as many as the model takes, or the backend is not
            TensorFlow.
        TargetExistsError, UnwritableError: `path` exists or cannot be written.

    Example:
        >>> eo.export(model, "exported/fusion", schema=schema)  # doctest: +SKIP
        >>> loaded = tf.saved_model.load("exported/fusion")  # keep it in a variable  # doctest: +SKIP
        >>> loaded.serve({"s2": s2, "s1": s1})["land_cover_map"]  # doctest: +SKIP
    """
    target = Path(path)
    if target.exists():
        raise TargetExistsError(f"`path` must not exist yet. Received: {target}. Remove it or choose another.")
    if keras.backend.backend() != "tensorflow":
        raise InvalidArgumentError(
            "A SavedModel is made on the TensorFlow backend. Received: backend "
            f"{keras.backend.backend()!r}. Save the model as .keras and export it with KERAS_BACKEND=tensorflow."
        )
    serving = serving_model(model, schema, calibrate=calibrate, bands=bands)
    work = target.with_name(f".{target.name}.incomplete")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(parents=True, exist_ok=True)
        _save(serving, work)
        description = describe(model, schema, calibrate, bands)
        (work / "schema.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        (work / "MODEL_CARD.md").write_text(model_card(model, description, scores), encoding="utf-8")
        work.rename(target)
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, EokerasError):
            raise
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise UnwritableError(f"Cannot write the model to {target}: {reason}. Nothing was left there.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def serving_model(model: keras.Model, schema: RecordSchema, *, calibrate="standardise", bands=None) -> keras.Model:
    """The model with calibration before it and class ids, probabilities or units behind it.

    Inputs and outputs are those of `export`; the weights are shared with `model`.
    """
    check_choices("model inputs", input_names(model), [*schema, *_possible_presence(model)])
    outputs = model.output if isinstance(model.output, dict) else {}
    if not outputs:
        raise InvalidArgumentError(f"`model` must have a dict of outputs by target. Received: {type(model.output)}.")
    check_choices("model outputs", outputs, ben_ge.TARGETS)
    used = used_channels(model, schema, bands or {})
    shapes = _input_shapes(model, schema)
    inputs = {name: keras.Input(shape, name=name, dtype="float32") for name, shape in shapes.items()}
    calibrated = [
        Calibrate(
            calibration_for_records(name, calibrate, schema, used[name]),
            channels=schema[name].channels,
            name=f"calibrate_{name}",
        )(tensor)
        if name in used
        else tensor
        for name, tensor in inputs.items()
    ]
    logits = model(calibrated, training=False)
    answers = {}
    for task, values in logits.items():
        answers |= _answers(task, ben_ge.TARGETS[task].kind, keras.ops.cast(values, "float32"))
    return keras.Model(list(inputs.values()), answers, name=f"{model.name}_serving")


def _possible_presence(model: keras.Model) -> dict[str, str]:
    """Presence input -> modality, for the modalities that the model takes."""
    modalities = [modality_of(name) for name in input_names(model)]
    return {presence_name(modality): modality for modality in modalities if modality in ben_ge.INPUTS}


def _presence_inputs(model: keras.Model) -> dict[str, str]:
    """Presence input -> modality, of those that the model has."""
    possible = _possible_presence(model)
    return {name: possible[name] for name in input_names(model) if name in possible}


def used_channels(model: keras.Model, schema: RecordSchema, bands) -> dict[str, tuple[str, ...]]:
    """Channel names by input in the order that the model takes them; presence inputs have none."""
    rasters = [tensor for tensor in model.inputs if tensor.name not in _presence_inputs(model)]
    check_choices("bands", bands, [tensor.name for tensor in rasters])
    used = {}
    for tensor in rasters:
        used[tensor.name] = tuple(bands.get(tensor.name, schema[tensor.name].channels))
        check_choices(f"bands[{tensor.name!r}]", used[tensor.name], schema[tensor.name].channels)
        if len(used[tensor.name]) != tensor.shape[-1]:
            raise InvalidArgumentError(
                f"`bands` must name the {tensor.shape[-1]} channels of the model's input {tensor.name!r} in its order. "
                f"Received: {', '.join(used[tensor.name])}."
            )
    return used


def _input_shapes(model: keras.Model, schema: RecordSchema) -> dict[str, tuple[int | None, ...]]:
    """Shape of a serving input: height and width of the model, all canonical channels; (1,) of a presence input."""
    presence = _presence_inputs(model)
    return {
        tensor.name: (1,) if tensor.name in presence else (*tensor.shape[1:-1], len(schema[tensor.name].channels))
        for tensor in model.inputs
    }


def input_names(model: keras.Model) -> list[str]:
    """Names of the inputs of a functional model, in its order."""
    return [tensor.name for tensor in model.inputs]


def _answers(task: str, kind: str, logits) -> dict:
    if kind in ("class", "map"):
        ids = keras.ops.cast(keras.ops.argmax(logits, axis=-1), "uint8")
        return {task: ids, f"{task}_probabilities": keras.ops.softmax(logits, axis=-1)}
    if kind == "multilabel":
        present = keras.ops.cast(keras.ops.greater(logits, 0), "uint8")
        return {task: present, f"{task}_probabilities": keras.ops.sigmoid(logits)}
    if kind == "fractions":
        return {task: keras.ops.softmax(logits, axis=-1)}
    return {task: keras.ops.squeeze(logits, axis=-1)}


def _save(serving: keras.Model, path: Path) -> None:
    specification = {
        tensor.name: tf.TensorSpec(tuple(tensor.shape), tf.float32, name=tensor.name) for tensor in serving.inputs
    }

    def serve(inputs):
        return serving([inputs[name] for name in specification], training=False)

    archive = keras.export.ExportArchive()
    archive.track(serving)
    archive.add_endpoint(name="serve", fn=serve, input_signature=[specification])
    archive.write_out(str(path), verbose=False)


def describe(model: keras.Model, schema: RecordSchema, calibrate: str, bands=None) -> dict:
    """What `schema.json` holds: everything a user of the exported model must know."""
    used = used_channels(model, schema, bands or {})
    presence = _presence_inputs(model)
    inputs = {
        name: _describe_presence(presence[name])
        if name in presence
        else _describe_input(name, shape, used[name], schema)
        for name, shape in _input_shapes(model, schema).items()
    }
    outputs = {
        task: {
            "kind": ben_ge.TARGETS[task].kind,
            "classes": list(ben_ge.TARGETS[task].classes),
            "unit": ben_ge.TARGETS[task].unit,
        }
        for task in model.output
    }
    return {
        "inputs": inputs,
        "outputs": outputs,
        "calibrate": calibrate,
        "records": {"name": schema.name, "fingerprint": schema.fingerprint, "split": schema.split},
        "simulated": schema.world is not None,
        "versions": {name: version(name) for name in ("tensorflow", "keras")} | {"eokeras": eokeras.__version__},
    }


def _describe_input(name: str, shape, used_channels, schema: RecordSchema) -> dict:
    description = {
        "shape": ["batch", *(size or axis for size, axis in zip(shape, "HWC", strict=False))],
        "dtype": "float32",
        "channels": list(schema[name].channels),
        "used_channels": list(used_channels),
        "unit": _UNITS[modality_of(name)],
        "statistics": schema.statistics.get(name),
    }
    if modality_of(name) == "s2":
        description["reflectance"] = {band: schema.reflectance[band] for band in schema[name].channels}
    return description


def _describe_presence(modality: str) -> dict:
    return {
        "shape": ["batch", 1],
        "dtype": "float32",
        "channels": ["presence"],
        "used_channels": ["presence"],
        "unit": f"1 where {modality} is there, 0 where it is missing; NaN may then stand in its place",
        "statistics": None,
    }


def model_card(model: keras.Model, description: dict, scores: str = "") -> str:
    """The model card as Markdown: what goes in and out, what it was trained on, what it is not for."""
    inputs = "\n".join(
        f"- `{name}` ({', '.join(map(str, spec['shape']))}) float32: {', '.join(spec['channels'])}. {spec['unit']}."
        for name, spec in description["inputs"].items()
    )
    outputs = "\n".join(
        f"- `{name}`: {spec['kind']}, "
        + (f"{len(spec['classes'])} classes." if spec["classes"] else f"{spec['unit']}.")
        for name, spec in description["outputs"].items()
    )
    records = description["records"]
    trained_on = (
        f"Records `{records['name']}` (fingerprint {records['fingerprint']}, {records['split']['kind']} split)."
    )
    if description["simulated"]:
        trained_on += " The records are simulated: the model has never seen a satellite image and is for teaching only."
    return f"""# {model.name}

{model.count_params():,} weights.

## Input
Stored numbers, not calibrated: calibration is inside the model. Letters stand for any size (H and W from 16 on); the
grid is 10 m, or that of the stored bands where an input is named after it.

{inputs}

## Output
{outputs}

## Training
{trained_on}

## Scores
{scores or "None were given at export."}

## Limits
Land cover learned from ESA WorldCover repeats its errors, and WorldCover is itself made from Sentinel-1 and -2.
The scores say nothing about other regions, other processing baselines (reflectance offset) or more clouds.
"""
