"""Probes: what can be read from the features of a frozen encoder, with the labels that there are.

Features are computed once per pass, by the encoder in inference mode; its weights never change. What is fitted on
them is scikit-learn's. Letters: N patches, B batch, H rows, W columns, C classes, D features, n examples.
"""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError, check_number
from eokeras.evaluate.embeddings import chosen_level, embed, features_of, pooled
from eokeras.evaluate.pixels import is_labelled, sample_pixels
from eokeras.evaluate.predictions import Predict, score_predictors, with_metadata
from eokeras.evaluate.scores import Scores, kind_of
from eokeras.evaluate.tally import class_names
from eokeras.layers import Enlarge
from eokeras.models.encoders.contract import check_positive, level_name, map_levels

MAPS = ("map", "map_regression")

Rows = Callable[[np.ndarray], np.ndarray]
"""Features (n, D) -> predictions (n,) or (n, C)."""


def linear_probe(
    encoder: keras.Model,
    train,
    test,
    schema,
    *,
    level: str | None = None,
    regularisation: float = 1.0,
    pixels: int = 50_000,
    name: str = "linear probe",
    seed: int = 0,
    resamples: int = 1000,
) -> Scores:
    """Scores of linear models on frozen features: what an encoder under untrained heads would reach, solved exactly.

    Logistic regression by L-BFGS for classes and each of several labels, ridge regression for numbers and for
    fractions (clipped at 0 and brought to a sum of 1), on features standardised over the labelled examples. Scene
    targets read the average of a level over the patch, maps each pixel of it, enlarged bilinearly to the 10 m grid.

    Args:
        encoder: functional model with named inputs that gives a dict of levels.
        train: dataset of `make_dataset` with the targets to probe; under a label budget the probe sees its labels
            alone. Nothing is tuned, so no validation labels are spent.
        test: dataset of `make_dataset` with the same targets.
        schema: of the records.
        level: which level scene targets read (None: as `embed`); maps always read the finest map.
        regularisation: weight of the squared norm of the coefficients, against a loss summed over the examples.
        pixels: largest number of training pixels of a map.
        name: stands beside the scores.
        seed: of the pixels drawn, and of the intervals as in `score`.
        resamples: of the intervals.

    Returns:
        `Scores` with intervals over groups. Targets without a labelled example are left out, and `notes` says so.

    Raises:
        InvalidArgumentError: as `embed`; or the encoder has no map of the size of a target; or `regularisation` is no
            number above 0.

    Example:
        >>> print(evaluate.linear_probe(encoder, train, test, schema))  # doctest: +SKIP

    Reference:
        Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes,
        https://arxiv.org/abs/1610.01644
    """
    regularisation = check_number("regularisation", regularisation, above=0)
    scenes, maps = _tasks(test)
    readers: dict[str, Rows] = {}
    if scenes:
        found = embed(encoder, train, level=level)
        for task in scenes:
            readers[task] = linear_reader(task, found.features, found.targets[task], schema, regularisation)
    model = _map_model(encoder) if maps else None
    for task in maps:
        drawn = sample_pixels(_map_batches(model, train, task), pixels, seed)
        readers[task] = linear_reader(task, *drawn, schema, regularisation)
    readers = {task: reader for task, reader in readers.items() if reader is not None}
    predict = _predictor(readers, pooled(encoder, level) if scenes else None, model)
    return _scored(name, predict, readers, test, schema, seed, resamples)


def neighbour_probe(
    encoder: keras.Model,
    train,
    test,
    schema,
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
    level: str | None = None,
    name: str = "nearest neighbours",
    seed: int = 0,
    resamples: int = 1000,
) -> Scores:
    """Scores of the labels of the training patches with the most similar features; nothing is fitted.

    Similarity is the cosine s of two feature vectors; each of the nearest patches votes with the weight
    exp(s / temperature). Fewer labelled patches than `neighbours` all vote. Maps are left out: a patch has no
    single label there.

    Args:
        encoder, train, test, schema, level, name, seed, resamples: as in `linear_probe`.
        neighbours: how many patches vote.
        temperature: of the weights; lower trusts the nearest more.

    Returns:
        `Scores` with intervals over groups. Targets without a labelled example are left out, and `notes` says so.

    Raises:
        InvalidArgumentError: as `embed`; or all targets are maps; or an option breaks its rule.

    Reference:
        Wu et al. 2018, Unsupervised feature learning via non-parametric instance discrimination,
        https://arxiv.org/abs/1805.01978
    """
    check_positive("neighbours", neighbours)
    temperature = check_number("temperature", temperature, above=0)
    scenes, maps = _tasks(test)
    if not scenes:
        raise InvalidArgumentError(f"`test` must have a target of whole patches. Received: {list(maps)}.")
    found = embed(encoder, train, level=level)
    readers = {
        task: _neighbour_reader(task, found.features, found.targets[task], schema, neighbours, temperature)
        for task in scenes
    }
    readers = {task: reader for task, reader in readers.items() if reader is not None}
    predict = _predictor(readers, pooled(encoder, level), None)
    return _scored(name, predict, readers, test, schema, seed, resamples)


# --- Readers: features -> predictions ------------------------------------------------------------------


def linear_reader(task: str, features: np.ndarray, reference: np.ndarray, schema, regularisation: float) -> Rows | None:
    """The linear model of one target, fitted on its labelled examples; None where there is none.

    Args:
        features: shape (n, D).
        reference: shape (n,) or (n, C), with `VOID` or NaN for no label.
    """
    kind, known = kind_of(task), _labelled_rows(reference)
    if not known.any():
        return None
    from sklearn.linear_model import Ridge  # scikit-learn takes a second to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, reference = features[known].astype("float64"), reference[known]
    if kind in ("class", "map"):
        return _classifier(features, reference, regularisation)
    if kind == "multilabel":
        readers = [_classifier(features, column > 0.5, regularisation) for column in reference.T]
        return lambda rows: np.stack([reader(rows) for reader in readers], axis=1).astype("float32")
    model = make_pipeline(StandardScaler(), Ridge(alpha=regularisation)).fit(features, reference)
    if kind != "fractions":
        return model.predict

    def fractions(rows):
        shares = np.clip(model.predict(rows), 0, None)
        total = shares.sum(axis=1, keepdims=True)
        return np.where(total > 0, shares / np.maximum(total, 1e-12), 1 / shares.shape[1])

    return fractions


def _classifier(features, reference, regularisation) -> Rows:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(reference)) == 1:  # scikit-learn refuses it; with few labels it happens
        return lambda rows: np.full(len(rows), reference[0])
    model = LogisticRegression(C=1 / regularisation, max_iter=1000)
    return make_pipeline(StandardScaler(), model).fit(features, reference).predict


def _neighbour_reader(task, features, reference, schema, neighbours, temperature) -> Rows | None:
    kind, known = kind_of(task), _labelled_rows(reference)
    if not known.any():
        return None
    from sklearn.neighbors import NearestNeighbors

    labels = reference[known]
    if kind == "class":
        labels = np.eye(len(class_names(task, schema)))[labels]
    index = NearestNeighbors(n_neighbors=min(neighbours, len(labels)), metric="cosine").fit(
        _directions(features[known])
    )

    def read(rows):
        distance, nearest = index.kneighbors(_directions(rows))  # 1 - cosine, (n, K)
        votes = np.exp((distance.min(axis=1, keepdims=True) - distance) / temperature)
        votes /= votes.sum(axis=1, keepdims=True)
        mean = np.einsum("nk,nk...->n...", votes, labels[nearest])
        if kind == "class":
            return mean.argmax(axis=-1)
        return (mean > 0.5).astype("float32") if kind == "multilabel" else mean

    return read


def _directions(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; one of length 0 stays."""
    rows = rows.astype("float64")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _labelled_rows(reference: np.ndarray) -> np.ndarray:
    known = is_labelled(reference)
    return known.all(axis=-1) if known.ndim == 2 else known


# --- Passes over the data --------------------------------------------------------------------------------


def _tasks(dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(targets of whole patches, maps) of a data set."""
    tasks = tuple(with_metadata(dataset).element_spec[1])
    maps = tuple(task for task in tasks if kind_of(task) in MAPS)
    return tuple(task for task in tasks if task not in maps), maps


def _map_model(encoder: keras.Model) -> keras.Model:
    """The encoder with one output (B, H, W, D): its finest map on the 10 m grid."""
    _, _ = chosen_level(encoder)  # checks that there are levels
    strides = map_levels(encoder.output)
    if not strides:
        rule = "`encoder` must have a map, to probe maps."
        raise InvalidArgumentError(f"{rule} Received: levels {list(encoder.output)}.")
    stride = min(strides)
    features = encoder.output[level_name(stride)]
    return keras.Model(encoder.inputs, Enlarge(stride, dtype="float32")(features) if stride > 1 else features)


def _map_batches(model, dataset, task):
    for inputs, targets, *_ in with_metadata(dataset).as_numpy_iterator():
        features = features_of(model, inputs)
        _check_size(task, features, targets[task].shape)
        yield features, targets[task]


def _check_size(task, features, shape) -> None:
    if features.shape[:3] != tuple(shape):
        rule = f"`encoder` must have a map of the size of {task!r}, {tuple(shape)[1:]}."
        raise InvalidArgumentError(f"{rule} Received: {features.shape[1:3]}.")


def _predictor(readers: Mapping[str, Rows], scene_model, map_model) -> Predict:
    """What `score_predictors` asks: features of a batch, read for every target."""

    def predict(inputs, shapes):
        scenes = [task for task in readers if kind_of(task) not in MAPS]
        maps = [task for task in readers if kind_of(task) in MAPS]
        found = {}
        if scenes:
            features = features_of(scene_model, inputs)
            found = {task: readers[task](features) for task in scenes}
        if maps:
            features = features_of(map_model, inputs)
            for task in maps:
                _check_size(task, features, shapes[task])
                # Patch by patch: readers copy what they read, and the features of a batch fill half a gigabyte.
                rows = features.reshape(len(features), -1, features.shape[-1])
                found[task] = np.stack([readers[task](patch) for patch in rows]).reshape(shapes[task])
        return found

    return predict


def _scored(name, predict, readers: Sequence[str], test, schema, seed, resamples) -> Scores:
    if not readers:
        raise InvalidArgumentError("`train` must hold a label of a target of `test`. Received: none.")
    test = with_metadata(test)
    left_out = [task for task in test.element_spec[1] if task not in readers]
    notes = (f"left out: no labels to learn {', '.join(left_out)} from.",) if left_out else ()
    (found,) = score_predictors({name: predict}, test, schema, seed=seed, resamples=resamples)
    return Scores(found.name, found.tasks, found.patch_ids, (), notes, found.simulated)
