"""Strong and cheap baselines: what a score is worth that is reached without looking at the image as a whole.

Letters: N patches, B batch, H rows, W columns, C classes or channels, K neighbours.
"""

import warnings

import numpy as np

from eokeras.ben_ge import schema as facts
from eokeras.ben_ge.places import unit_vectors
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.pixels import sample_pixels
from eokeras.evaluate.predictions import METADATA, Predict, class_names, score_predictors
from eokeras.evaluate.scores import Scores, kind_of

NEIGHBOURS = 5
LOCATION = "nearest neighbours on the map"
WEATHER = "random forest on ERA-5"
PIXELS = "random forest per pixel"

_FOREST_TREES = 100
_PIXEL_TREES = 20  # one of 1.4 million pixels per 100 patches each


def baselines(train, test, schema, *, seed: int = 0, resamples: int = 1000, pixels: int = 50_000) -> tuple[Scores, ...]:
    """Scores of strong and cheap baselines on the patches of `test`, for `score(..., baselines=...)`.

    - Nearest neighbours on the map: the training labels of the five nearest patches, by longitude and latitude
      as unit vectors on the sphere, for climate zone, land cover, fractions and labels.
    - Random forest on ERA-5, for season. (The acquisition date *is* the season and would be perfect.)
    - Random forest per pixel, on the 10 m bands of Sentinel-2 and on Sentinel-1, whichever of them `train`
      reads, for the land-cover map and for elevation.

    A network that does not beat these has not learned from the image. Reading and predicting the map
    costs about as much as scoring a small network.

    Args:
        train, test: datasets of `make_dataset` with the targets to score.
        schema: of the records.
        seed: of the forests, of the pixels drawn, and of the intervals (as in `score`).
        resamples: of the intervals.
        pixels: largest number of training pixels of the forest per pixel.

    Returns:
        one `Scores` for each baseline that fits a target. Where the records lack what it needs it has
        no tasks, and `notes` says why.

    Raises:
        InvalidArgumentError: `train` or `test` is not of `make_dataset`.

    Reference:
        Nearest neighbours as a test of spatial leakage: Meyer and Pebesma 2022,
        https://doi.org/10.1038/s41467-022-29838-9
    """
    for argument, dataset in (("train", train), ("test", test)):
        if not hasattr(dataset, "recipe"):
            raise InvalidArgumentError(
                f"`{argument}` must be a dataset of `make_dataset` (with the attribute `recipe`), so that it can be "
                "read with other inputs. Received: a dataset without it."
            )
    tasks = tuple(test.element_spec[1])
    options = {"seed": seed, "resamples": resamples}
    located = tuple(
        task for task in tasks if kind_of(task) in ("class", "fractions", "multilabel") and task != "geocluster"
    )
    results = []
    if located:
        results.append(_by_location(train, test, schema, located, options))
    if "season" in tasks:
        results.append(_by_weather(train, test, schema, options))
    for task in ("land_cover_map", "reference_map", "elevation"):
        if task in tasks:
            results.append(_by_pixel(train, test, schema, task, pixels, options))
    if "geocluster" in tasks:
        reason = "clusters are made from longitude and latitude, so it would copy the target"
        results.append(_left_out(f"{LOCATION}, geocluster", schema, reason))
    return tuple(results)


def _left_out(name: str, schema, reason: str) -> Scores:
    return Scores(name, {}, notes=(f"left out: {reason}.",), simulated=getattr(schema, "world", None) is not None)


def _gives(schema, name: str) -> bool:
    return name in (getattr(schema, "bands", None) or {})


def _read_as(dataset, inputs, targets, **keywords):
    """The dataset with other inputs, in order, once, every patch, with metadata."""
    with warnings.catch_warnings():  # to use the shortcut is the purpose here
        warnings.simplefilter("ignore")
        return dataset.recipe(
            inputs=inputs, targets=targets, metadata=METADATA, shuffle=False, augment=None, mix=None, repeat=False,
            drop_remainder=False, cache=None, masks=False, **{"bands": None, "resolution": "10m", **keywords},
        )  # fmt: skip


def _vectors(dataset, name: str, targets) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One input (N, C) and the targets of a whole dataset."""
    batches = [(inputs[name], labels) for inputs, labels, _ in dataset.as_numpy_iterator()]
    values = np.concatenate([inputs for inputs, _ in batches])
    return values, {task: np.concatenate([labels[task] for _, labels in batches]) for task in targets}


# --- Longitude and latitude --------------------------------------------------------------------------


def _by_location(train, test, schema, tasks, options) -> Scores:
    if not _gives(schema, "lonlat"):
        return _left_out(LOCATION, schema, "the records hold no longitude and latitude")
    lonlat, references = _vectors(_read_as(train, ("lonlat",), tasks, calibrate=None), "lonlat", tasks)
    models = {task: _neighbours(lonlat, references[task], task, schema) for task in tasks}
    models = {task: model for task, model in models.items() if model is not None}
    if not models:
        return _left_out(LOCATION, schema, "the training split has no labels")

    def predict(inputs, shapes):
        return {task: model(inputs["lonlat"]) for task, model in models.items()}

    return _score(LOCATION, predict, _read_as(test, ("lonlat",), tasks, calibrate=None), schema, options)


def _neighbours(lonlat, reference, task, schema):
    """Function from longitude and latitude (B, 2) to the mean label of the nearest training patches."""
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    kind = kind_of(task)
    if kind == "class":
        labelled = reference != facts.VOID
        labels = np.eye(len(class_names(task, schema)))[reference[labelled]]
    else:
        labelled = np.isfinite(reference).all(axis=-1)
        labels = reference[labelled]
    if not labelled.any():
        return None
    index = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(labels))).fit(unit_vectors(lonlat[labelled]))

    def predict(places):
        mean = labels[index.kneighbors(unit_vectors(places), return_distance=False)].mean(axis=1)
        if kind == "class":
            return mean.argmax(axis=-1)
        return (mean > 0.5).astype("float32") if kind == "multilabel" else mean

    return predict


# --- Weather -----------------------------------------------------------------------------------------


def _by_weather(train, test, schema, options) -> Scores:
    if not _gives(schema, "era5"):
        return _left_out(WEATHER, schema, "the records hold no ERA-5 weather")
    weather, references = _vectors(_read_as(train, ("era5",), ("season",), calibrate=None), "era5", ("season",))
    season = references["season"]
    labelled = np.isfinite(season)
    if not labelled.any():
        return _left_out(WEATHER, schema, "the training split has no labels")
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(_FOREST_TREES, min_samples_leaf=2, random_state=options["seed"])
    forest.fit(weather[labelled], season[labelled])

    def predict(inputs, shapes):
        return {"season": forest.predict(inputs["era5"])}

    return _score(WEATHER, predict, _read_as(test, ("era5",), ("season",), calibrate=None), schema, options)


# --- Pixels ------------------------------------------------------------------------------------------


def _by_pixel(train, test, schema, task, pixels, options) -> Scores:
    name = PIXELS if task == "land_cover_map" else f"{PIXELS}, {task}"
    read = {key.split("_")[0] for key in train.element_spec[0]}  # stored groups of `s2` count as `s2`
    fine = [band for band in facts.RASTERS["s2_10m"].bands if band in schema.bands.get("s2", ())]
    used = tuple(sensor for sensor in ("s2", "s1") if sensor in read and (sensor == "s1" or fine))
    if not used:
        return _left_out(name, schema, "the datasets read neither 10 m bands of s2 nor s1")
    bands = {"s2": fine} if "s2" in used else None
    train = _read_as(train, used, (task,), bands=bands, calibrate="standardise")
    values, labels = sample_pixels(_pixels_of(train, task, used), pixels, options["seed"])
    if not len(labels):
        return _left_out(name, schema, "the training split has no labels")
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    forest = RandomForestClassifier if kind_of(task) == "map" else RandomForestRegressor
    forest = forest(_PIXEL_TREES, min_samples_leaf=5, random_state=options["seed"], n_jobs=-1)
    forest.fit(values, labels)

    def predict(inputs, shapes):
        channels = np.concatenate([inputs[name] for name in used], axis=-1)
        found = forest.predict(channels.reshape(-1, channels.shape[-1]))
        return {task: found.reshape(channels.shape[:-1])}

    test = _read_as(test, used, (task,), bands=bands, calibrate="standardise")
    scores = _score(name, predict, test, schema, options)
    sensors = " and ".join({"s2": "the 10 m bands of S2", "s1": "S1"}[name] for name in used)
    note = f"{_PIXEL_TREES} trees on {sensors}, {len(labels):,} training pixels."
    return Scores(scores.name, scores.tasks, scores.patch_ids, (), (note,), scores.simulated)


def _pixels_of(dataset, task, used):
    """Batches of stacked channels (B, H, W, C) and references (B, H, W)."""
    for inputs, labels, _ in dataset.as_numpy_iterator():
        yield np.concatenate([inputs[name] for name in used], axis=-1), labels[task]


def _score(name, predict: Predict, dataset, schema, options) -> Scores:
    return score_predictors({name: predict}, dataset, schema, **options)[0]
