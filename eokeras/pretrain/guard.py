"""Guards: callbacks that notice when pretraining learns nothing, and what its features are worth while it runs.

A contrastive loss can fall by a third while every embedding is the same, and views that do not differ make a perfect
one. Letters: N patches, K embeddings of a patch, D numbers of an embedding.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import keras
import numpy as np

from eokeras.ben_ge.input_names import split_view, view_name
from eokeras.errors import InvalidArgumentError, check_number
from eokeras.evaluate.embeddings import pooled
from eokeras.evaluate.predictions import named_inputs
from eokeras.models.encoders.contract import check_positive
from eokeras.pretrain.contrastive import EMBEDDINGS, ContrastivePretrainer, ViewPretrainer


@dataclass(frozen=True)
class EmbeddingHealth:
    """How spread out the embeddings of a batch are.

    Attributes:
        deviation: mean over the D numbers of their standard deviation over patches; 0: all patches are the same point.
        effective_rank: exp of the entropy of the normalised singular values of the embeddings less their mean, 1 to D;
            1: all lie on a line (Roy and Vetterli 2007; RankMe, Garrido et al. 2023, arXiv 2210.02885).
        mean_cosine: mean cosine of different patches; 1: all point in one direction.
        alignment: mean squared distance of the embeddings of one patch, brought to length 1; NaN with one embedding.
        uniformity: log mean exp(-2 d^2) over distances d of different patches, at length 1; 0: all are the same, about
            -4 when spread evenly (both: Wang and Isola 2020, arXiv 2005.10242).
    """

    deviation: float
    effective_rank: float
    mean_cosine: float
    alignment: float
    uniformity: float


def embedding_health(embeddings: np.ndarray) -> EmbeddingHealth:
    """Measures embeddings (N, D) or, several of each patch, (N, K, D).

    Raises:
        InvalidArgumentError: there are fewer than two patches, or a number is not finite.

    Example:
        >>> health = embedding_health(np.eye(4))
        >>> round(health.mean_cosine, 3), round(health.effective_rank, 3)
        (0.0, 3.0)
    """
    z = np.asarray(embeddings, "float64")
    z = z[:, None] if z.ndim == 2 else z
    if z.ndim != 3 or len(z) < 2 or not np.isfinite(z).all():
        rule = "`embeddings` must be finite numbers of shape (patches, numbers) or (patches, views, numbers)."
        raise InvalidArgumentError(f"{rule} Received: shape={np.shape(embeddings)}, finite: {np.isfinite(z).all()}.")
    found = [_spread(z[:, index]) for index in range(z.shape[1])]
    deviation, rank, cosine, uniformity = np.mean(found, axis=0)
    unit = _unit(z)
    pairs = [(one, other) for one in range(z.shape[1]) for other in range(one)]
    distances = [np.square(unit[:, one] - unit[:, other]).sum(axis=-1).mean() for one, other in pairs]
    alignment = float(np.mean(distances)) if pairs else float("nan")
    return EmbeddingHealth(float(deviation), float(rank), float(cosine), alignment, float(uniformity))


def _spread(z: np.ndarray) -> tuple[float, float, float, float]:
    """(deviation, effective rank, mean cosine, uniformity) of embeddings (N, D)."""
    centred = z - z.mean(axis=0)
    sizes = np.linalg.svd(centred, compute_uv=False)
    sizes = sizes[sizes > 1e-9 * max(1.0, np.abs(z).max())]
    shares = sizes / sizes.sum() if sizes.size else np.ones(1)
    rank = np.exp(-np.sum(shares * np.log(shares)))
    unit = _unit(z)
    cosines = (unit @ unit.T)[~np.eye(len(z), dtype=bool)]
    # Squared distance of unit vectors: 2 - 2 cos.
    uniformity = np.log(np.mean(np.exp(-2 * (2 - 2 * cosines))))
    return z.std(axis=0).mean(), rank, cosines.mean(), uniformity


def _unit(z: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return np.where(length > 0, z / np.maximum(length, 1e-300), np.eye(z.shape[-1])[0])  # all zeros: one direction


def check_views(inputs: Mapping[str, np.ndarray]) -> None:
    """Checks that the views of a batch differ: augmenters that do nothing make a loss that is perfect and worthless.

    Args:
        inputs: one batch of `make_dataset(augment=views(...))`: `s2_view_1` (N, ...), `s2_view_2`, ...; what is no
            view is left alone.

    Raises:
        InvalidArgumentError: in more than half of the patches a view equals the first in every input.
    """
    equal: dict[int, list[np.ndarray]] = {}
    for key, values in inputs.items():
        name, view = split_view(key)
        if view is not None and view > 1:
            first, values = np.asarray(inputs[view_name(name, 1)]), np.asarray(values)
            same = (values == first) | (np.isnan(values) & np.isnan(first))
            equal.setdefault(view, []).append(same.reshape(len(same), -1).all(axis=1))
    share = max((float(np.mean(np.all(found, axis=0))) for found in equal.values()), default=0.0)
    if share > 0.5:
        raise InvalidArgumentError(
            "`inputs` must hold views that differ: give `make_dataset` an `augment` that changes them, drawn anew for "
            f"each view. Received: equal views of {share:.0%} of the patches."
        )


class CollapseGuard(keras.callbacks.Callback):
    """Watches the embeddings of a fixed batch, logs them, and stops a run that has collapsed.

    Before training it checks that the views of the batch differ (`check_views`). Then, after every epoch or every
    `steps` batches, it measures the embeddings that the loss sees, or the encoder's features where a model has none
    (`MaskedAutoencoder`). A run counts as collapsed when, twice in a row, all embeddings lie on a line, have shrunk
    to a hundredth of their spread before training, or, in contrastive learning, point in one direction; or, at
    once, when one is not finite. It is
    stopped with a warning, and `collapsed` holds the sentence. Logs: `embedding_deviation`,
    `embedding_effective_rank`, ... (see `EmbeddingHealth`).

    Embeddings are those of inference, where batch normalisation uses means that take about a hundred steps to settle;
    until then a healthy run may look collapsed.

    Args:
        dataset: as given to `fit`; its first batch is taken. Or one batch, (inputs, ...) or a dict of inputs.
        steps: check every so many batches; None: at the end of each epoch.
        patience: checks in a row that must look collapsed.
        largest_cosine: a mean cosine above it is a collapse, where the loss is of cosines.
        smallest_rank: an effective rank below it is a collapse.
        settle_steps: batches before which nothing but infinite numbers counts.

    Raises:
        InvalidArgumentError: a number breaks its rule, or, at the beginning of `fit`, views do not differ.

    Example:
        >>> model.fit(train, epochs=50, callbacks=[CollapseGuard(train)])  # doctest: +SKIP
    """

    def __init__(self, dataset, steps=None, patience=2, largest_cosine=0.99, smallest_rank=1.5, settle_steps=100):
        super().__init__()
        check_positive("patience", patience)
        if steps is not None:
            check_positive("steps", steps)
        self.inputs = _first_inputs(dataset)
        self.steps, self.patience = steps, patience
        self.largest_cosine = check_number("largest_cosine", largest_cosine, above=0)
        self.smallest_rank = check_number("smallest_rank", smallest_rank, above=0)
        self.collapsed: str | None = None
        self.history: list[EmbeddingHealth] = []
        self.settle_steps = int(check_number("settle_steps", settle_steps, at_least=0))
        self._first_deviation, self._suspicions, self._seen = 0.0, 0, 0
        self._features: keras.Model | None = None

    def on_train_begin(self, logs=None):
        """Checks the views, and measures the embeddings before training."""
        if isinstance(self.model, ViewPretrainer):
            check_views(self._known_inputs())
        self.collapsed, self.history, self._suspicions, self._seen, self._features = None, [], 0, 0, None
        embeddings = self._embeddings()
        self._first_deviation = embedding_health(embeddings).deviation if np.isfinite(embeddings).all() else 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Checks every `steps` batches."""
        self._seen += 1
        if self.steps is not None and (batch + 1) % self.steps == 0:
            self._check({})

    def on_epoch_end(self, epoch, logs=None):
        """Checks, and puts what it found into the logs."""
        if self.steps is None:
            self._check(logs if logs is not None else {})
        elif self.history and logs is not None:
            logs |= _as_logs(self.history[-1])

    def _check(self, logs) -> None:
        embeddings = self._embeddings()
        if not np.isfinite(embeddings).all():
            self._stop("embeddings are not finite: lower the learning rate or clip gradients")
            return
        health = embedding_health(embeddings)
        self.history.append(health)
        logs |= _as_logs(health)
        reason = self._suspicion(health) if self._seen >= self.settle_steps else ""
        self._suspicions = self._suspicions + 1 if reason else 0
        if self._suspicions >= self.patience:
            self._stop(reason)

    def _suspicion(self, health: EmbeddingHealth) -> str:
        if health.deviation <= 0.01 * self._first_deviation:
            return f"embeddings have shrunk to a point (deviation {health.deviation:.2g})"
        # Only where the loss sees directions: VICReg and features may lie far from the origin and yet be spread out.
        if isinstance(self.model, ContrastivePretrainer) and health.mean_cosine > self.largest_cosine:
            return f"embeddings of all patches point in one direction (mean cosine {health.mean_cosine:.3f})"
        if health.effective_rank < self.smallest_rank:
            return f"embeddings of all patches lie on a line (effective rank {health.effective_rank:.2f})"
        return ""

    def _stop(self, reason: str) -> None:
        if self.collapsed is None:
            self.collapsed = f"Collapsed: {reason}. Training was stopped; its features tell patches apart no more."
            self.model.stop_training = True
            warnings.warn(self.collapsed, stacklevel=2)

    def _known_inputs(self) -> dict:
        names = [tensor.name for trunk in self.model.trunks.values() for tensor in trunk.inputs]
        known = {view for name in names for view in self.model.input_names(name)}
        return {name: values for name, values in self.inputs.items() if name in known}

    def _embeddings(self) -> np.ndarray:
        if isinstance(self.model, ViewPretrainer):
            return np.asarray(self.model.predict_on_batch(self._known_inputs())[EMBEDDINGS], "float32")
        if self._features is None:
            self._features = pooled(self.model.encoder)
        return np.asarray(self._features.predict_on_batch(named_inputs(self._features, self.inputs)), "float32")


def _first_inputs(dataset) -> dict[str, np.ndarray]:
    batch = next(iter(dataset)) if hasattr(dataset, "element_spec") else dataset
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if not isinstance(inputs, Mapping):
        rule = "`dataset` must give (inputs, ...) or inputs, a dict."
        raise InvalidArgumentError(f"{rule} Received: {type(inputs).__name__}.")
    return {name: np.asarray(keras.ops.convert_to_numpy(values)) for name, values in inputs.items()}


def _as_logs(health: EmbeddingHealth) -> dict[str, float]:
    return {f"embedding_{name}": value for name, value in asdict(health).items() if not np.isnan(value)}


class OnlineProbe(keras.callbacks.Callback):
    """Logs what a probe on the encoder's features scores, while pretraining runs.

    Scores are read on validation data: whoever looks at the test set while training has tuned on it.

    Args:
        probe: function `(encoder, train, validation, schema)` -> `Scores`, such as `evaluate.linear_probe` or
            `evaluate.neighbour_probe`.
        train, validation: datasets of `make_dataset` with targets, without views.
        schema: of the records.
        epochs: probe after every so many epochs.
        encoder: which encoder; None: the `encoder` of the model.
        name: first word of the logs, `<name>_<target>_<metric>`.

    Raises:
        InvalidArgumentError: `epochs` is no positive integer.

    Example:
        >>> probe = OnlineProbe(evaluate.neighbour_probe, train, validation, schema, epochs=5)  # doctest: +SKIP
        >>> history = model.fit(views, epochs=50, callbacks=[probe])                            # doctest: +SKIP
        >>> history.history["probe_climate_zone_accuracy"]                                      # doctest: +SKIP
    """

    def __init__(self, probe: Callable, train, validation, schema, epochs=1, encoder=None, name="probe"):
        super().__init__()
        check_positive("epochs", epochs)
        self.probe, self.train, self.validation, self.schema = probe, train, validation, schema
        self.epochs, self.encoder, self.name = epochs, encoder, name
        self.scores = None

    def on_epoch_end(self, epoch, logs=None):
        """Probes; epochs between hold the last scores, so that the history has one number for each."""
        if epoch % self.epochs == self.epochs - 1 or self.scores is None:
            encoder = self.encoder if self.encoder is not None else self.model.encoder
            self.scores = self.probe(encoder, self.train, self.validation, self.schema)
        if logs is not None:
            for task, found in self.scores.tasks.items():
                logs |= {f"{self.name}_{task}_{metric}": item.value for metric, item in found.estimates.items()}
