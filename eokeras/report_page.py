"""The demo's page: which pictures and sentences it shows, in which order."""

import platform
from pathlib import Path

import eokeras
from eokeras import evaluate, plot, report
from eokeras.report import Picture, Section, Table

_LINE = "The whole job once: satellite patches become TFRecords, a trained fusion model, scores and a SavedModel."


def write_demo_report(result) -> Path:
    """Writes `report.html` of a `eokeras.demo.Result` and returns its path."""
    sections = [_overview(result), _data(result), _training(result)]
    if result.scores is not None:
        sections += [_scores(result), _maps(result)]
    sections.append(_export(result))
    versions = result.schema.metadata["versions"] | {"python": platform.python_version()}
    footer = ", ".join(f"{name} {value}" for name, value in versions.items())
    title = f"eokeras {eokeras.__version__}: demo on {result.schema.name}"
    return report.write_report(
        result.out / "report.html", title=title, sections=[s for s in sections if s], summary=_LINE, footer=footer
    )


def _overview(result) -> Section:
    schema = result.schema
    notes = [evaluate.SIMULATED] if schema.world is not None else []
    if result.scores is None or result.scores.is_illustration:
        notes.append(f"This run is {evaluate.ILLUSTRATION}: too few groups of patches to tell an effect from chance.")
    rows = [(name, f"{seconds:.1f} s") for name, seconds in result.seconds.items()]
    counts = ", ".join(f"{count} {name}" for name, count in schema.splits.items())
    split = schema.split
    text = (
        f"{sum(schema.splits.values())} patches of 1.2 km by 1.2 km: {counts}. Split: {split['kind']}"
        + (f" by {split['group'].replace('_', ' and ')}" if split["group"] else "")
        + f", seed {split['seed']}."
    )
    text += "".join(f"\n\n{note}" for note in split["notes"])
    return Section(
        "What was done",
        text,
        notes=[*notes, *(f"Missing here: {sentence}" for sentence in result.missing)],
        tables=[Table(("stage", "time"), rows, caption="Time of each stage on this machine")],
    )


def _data(result) -> Section:
    split = "test" if "test" in result.schema.splits else "train"
    inputs = [name for name in ("s2", "s1", "dem") if name in result.schema]
    batch = _batch(result, split, inputs=inputs, targets=[*result.configuration.targets])
    picture = Picture(
        plot.samples(batch, result.schema), "A few patches: true colour, backscatter, elevation, land cover, labels"
    )
    return Section("The patches", "Every modality of a few patches, as stored in the records.", figures=[picture])


def _training(result) -> Section:
    names = [name for name in result.history[0] if name != "epoch"]
    history = {name: [row[name] for row in result.history] for name in names}
    configuration = result.configuration
    text = (
        f"{configuration.fusion.capitalize()} fusion of {' and '.join(configuration.inputs)}: U-Nets of width "
        f"{configuration.width}, a head for each of {', '.join(configuration.targets)}; "
        f"{result.model.count_params():,} weights, {len(result.history)} epochs, batches of {configuration.batch_size}."
    )
    picture = Picture(plot.curves(history, result.schema), "Loss and metrics by epoch, training against validation")
    return Section("Training", text, figures=[picture])


def _scores(result) -> Section:
    figures = [Picture(plot.score_chart(result.scores), "Scores with intervals, beside baselines")]
    for task, score in result.scores.tasks.items():
        if score.confusion is not None and score.patches:
            figures.append(Picture(plot.confusion_matrix(result.scores, task), f"Confusion matrix of {task}"))
    text = (
        "Each score stands beside predictors that never look at the image's shapes: the most frequent class or the "
        "median of the training patches, neighbours on the map, weather, single pixels. A network that does not beat "
        "them has not learned from the image.\n\nIntervals hold 95 % and resample whole tiles (dates for season), "
        "because the patches of one tile are alike."
    )
    return Section(
        "Scores", text, notes=result.scores.sentences, tables=report.score_tables(result.scores), figures=figures
    )


def _maps(result) -> Section | None:
    targets = [name for name in ("land_cover_map", "elevation") if name in result.configuration.targets]
    if not targets:
        return None
    inputs = result.configuration.inputs
    predictions = result.model.predict(_batch(result, "test", calibrate=result.configuration.calibrate)[0], verbose=0)
    batch = _batch(result, "test", inputs=inputs, targets=targets)
    figures = [
        Picture(
            plot.maps(batch, predictions, result.schema, target=name),
            f"{name.replace('_', ' ').capitalize()}: reference above, prediction below",
        )
        for name in targets
    ]
    return Section("Maps", "Patches of the test split that training has not seen.", figures=figures)


def _export(result) -> Section:
    text = (
        "The SavedModel takes stored numbers (calibration is inside) and gives class ids, probabilities and maps. "
        "It was loaded in a new process with TensorFlow alone; the largest difference from model.predict was "
        f"{result.reload_difference:.1e}. schema.json and MODEL_CARD.md lie beside it."
    )
    code = (
        "import tensorflow as tf\n\n"
        f'model = tf.saved_model.load("{result.out}/exported")  # keep it in a variable\n'
        f"answers = model.serve({{{', '.join(f'{name!r}: {name}' for name in result.configuration.inputs)}}})"
    )
    return Section("The exported model", text, code=code)


def _batch(result, split: str, **options):
    """One batch of patches spread over the split (records are stored in random order)."""
    options = {"calibrate": None, "metadata": ("patch_id", "tile", "date")} | options
    recipe = result.configuration.dataset(split).recipe
    return next(iter(recipe(**options)))
