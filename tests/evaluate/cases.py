"""Hand-made models, datasets and schemas for the tests of `eokeras.evaluate`."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.evaluate.scores import Scores, task_score

ZONES = len(TARGETS["climate_zone"].classes)
COVERS = len(TARGETS["land_cover_map"].classes)
KEYS = {"climate_zone": "zone_logits", "land_cover_map": "map_logits", "season": "day", "labels": "label_logits"}


def pass_through(shapes):
    """A model whose outputs are its inputs, so that its predictions are what the test puts in."""
    inputs = [keras.Input(shape, name=KEYS[task]) for task, shape in shapes.items()]
    outputs = {task: keras.layers.Identity()(tensor) for task, tensor in zip(shapes, inputs, strict=True)}
    return keras.Model(inputs, outputs)


class NumpyModel:
    """What the evaluation asks of a model, made of one function of the inputs; remembers what it was given."""

    def __init__(self, names, function):
        self.inputs = [SimpleNamespace(name=name) for name in names]
        self.function = function
        self.calls = []

    def predict_on_batch(self, inputs):
        self.calls.append({name: np.array(values) for name, values in inputs.items()})
        return self.function(inputs)


def make_schema(world=None, **statistics):
    defaults = {
        "climate_zone": {"counts": [0, 1, 5] + [1] * (ZONES - 3), "void": 0},
        "land_cover_map": {"counts": [3] + [1] * (COVERS - 1), "void": 0},
        "season": {"median": 0.5, "mean": 0.6},
    }
    return SimpleNamespace(
        classes={name: target.classes for name, target in TARGETS.items() if target.classes},
        statistics={**defaults, **statistics},
        world=world,
        bands={},
    )


def make_arrays(patches=90, tiles=15, dates=12, size=6, seed=0):
    """Inputs (logits of a mediocre predictor), targets and metadata as NumPy."""
    random = np.random.default_rng(seed)
    zone = random.integers(0, 5, patches)
    cover = random.integers(0, 4, (patches, size, size))
    season = random.random(patches).astype("float32")
    inputs = {
        "zone_logits": (np.eye(ZONES)[zone] + random.normal(0, 0.6, (patches, ZONES))).astype("float32"),
        "map_logits": (np.eye(COVERS)[cover] + random.normal(0, 0.7, (patches, size, size, COVERS))).astype("float32"),
        "day": (season + random.normal(0, 0.1, patches))[:, None].astype("float32"),
    }
    zone[::17] = VOID
    cover[random.random(cover.shape) < 0.1] = VOID
    season[::13] = np.nan
    targets = {"climate_zone": zone.astype("int32"), "land_cover_map": cover.astype("int32"), "season": season}
    metadata = {
        "patch_id": np.array([f"patch_{index:03d}" for index in range(patches)]),
        "tile": np.array([f"T{index % tiles:02d}" for index in range(patches)]),
        "date": np.array([f"2017-06-{index % dates + 1:02d}" for index in range(patches)]),
    }
    return inputs, targets, metadata


def make_dataset(arrays, batch_size=32, metadata=(), **others):
    """Stands in for `eokeras.make_dataset`: two dicts, or three when metadata are asked for."""
    inputs, targets, names = arrays
    parts = (inputs, targets, {key: names[key] for key in metadata}) if metadata else (inputs, targets)
    dataset = tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)
    dataset.recipe = functools.partial(make_dataset, arrays, batch_size)
    return dataset


SHAPES = {"climate_zone": (ZONES,), "land_cover_map": (6, 6, COVERS), "season": (1,)}
"""Output shapes of `pass_through` for the targets of `make_arrays`."""


def hand_scores(name, simulated=False, groups=None, **tasks):
    """`Scores` of one patch per group, from what was right: target -> list of hits (class) or of errors (season).

    `groups` renames the tile or date of each patch by target.
    """
    scored = {}
    for task, values in tasks.items():
        values = np.asarray(values, "float64")
        count = len(values)
        unit = "date" if task == "season" else "tile"
        names = np.array((groups or {}).get(task) or [f"{unit} {index:02d}" for index in range(count)])
        if task == "season":
            kind, classes = "regression", ()
            statistics = np.stack([np.nan_to_num(values), np.isfinite(values)], axis=1).astype("float64")
        else:  # two classes in turn; a miss goes to the other one
            kind, classes = TARGETS[task].kind, TARGETS[task].classes
            statistics = np.zeros((count, len(classes), len(classes)))
            for index, value in enumerate(values):
                truth = 1 + index % 2
                statistics[index, truth, truth] = value
                statistics[index, truth, 3 - truth] = 1 - value
        scored[task] = task_score(task, kind, classes, statistics, names)
    ids = np.array([f"patch {index:02d}" for index in range(count)])
    return Scores(name, scored, ids, simulated=simulated)
