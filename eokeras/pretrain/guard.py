"""Guards: callbacks that notice when pretraining learns nothing, and what its features are worth while it runs.

A contrastive loss can fall by a third while every embedding is the same, and views that do not differ make a perfect
one.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError, check_number
from eokeras.evaluate.embeddings import pooled
from eokeras.evaluate.predictions import named_inputs
from eokeras.models.encoders.contract import check_positive
from eokeras.pretrain.contrastive import EMBEDDINGS, ContrastivePretrainer, ViewPretrainer
from eokeras.pretrain.health import EmbeddingHealth, check_views, embedding_health
from eokeras.pretrain.masking import valid_values

FEWEST_PATCHES = 8
"""Of a batch to watch: two patches always lie on a line."""


class CollapseGuard(keras.callbacks.Callback):
    """Watches the embeddings of a fixed batch, logs them, and stops a run that has collapsed.

    Before training it checks that the views of the batch differ (`check_views`). Then, after every epoch or every
    `steps` batches, it measures the embeddings as training sees them, batch normalisation included, or the encoder's
    features where a model has no embeddings (masked and pretext models). A run counts as collapsed when, `patience`
    times in a row, the embeddings of *any* sensor or view lie on a line, have shrunk to a hundredth of their spread
    before training, or, in contrastive learning, point in one direction; or, at once, when one is not finite. It is
    stopped with a warning, and `collapsed` holds the sentence. A run that ends before it could be judged is warned
    of. Logs: `embedding_deviation`, `embedding_effective_rank`, ... (see `EmbeddingHealth`), means over sensors and
    views.

    Where `fit` is called again for the same model, steps, checks, `history` and the spread before training go on.

    Args:
        dataset: as given to `fit`; its first batch is taken. Or one batch, (inputs, ...) or a dict of inputs. Missing
            numbers (NaN, infinities, 0 in `<name>_mask`) are 0 for encoders of masked and pretext models.
        steps: check every so many batches, counted over the whole run; None: at the end of each epoch.
        patience: checks in a row that must look collapsed.
        largest_cosine: a mean cosine above it is a collapse, where the loss is of cosines.
        smallest_rank: an effective rank below it is a collapse.
        settle_steps: batches before which nothing but numbers that are not finite counts: fresh weights may look worse
            than they are.
        encoder: whose features to watch; None: the features of the model's `encoder`. Models of `multitask` have none
            and need it; pretrainers of views have embeddings and refuse it.

    Raises:
        InvalidArgumentError: a number breaks its rule, the batch has fewer than eight patches, or, at the beginning of
            `fit`, views do not differ, there is no encoder to watch, or one beside embeddings.

    Example:
        >>> model.fit(train, epochs=50, callbacks=[CollapseGuard(train)])  # doctest: +SKIP
    """

    def __init__(
        self, dataset, steps=None, patience=2, largest_cosine=0.99, smallest_rank=1.5, settle_steps=20, encoder=None
    ):
        super().__init__()
        check_positive("patience", patience)
        if steps is not None:
            check_positive("steps", steps)
        self.inputs = _first_inputs(dataset)
        self.steps, self.patience, self.encoder = steps, patience, encoder
        self.largest_cosine = check_number("largest_cosine", largest_cosine, above=0)
        self.smallest_rank = check_number("smallest_rank", smallest_rank, above=0)
        self.settle_steps = int(check_number("settle_steps", settle_steps, at_least=0))
        self.collapsed: str | None = None
        self.history: list[EmbeddingHealth] = []
        self._watched: keras.Model | None = None

    def on_train_begin(self, logs=None):
        """Checks the views, and measures the embeddings before training."""
        if isinstance(self.model, ViewPretrainer):
            for trunk in self.model.trunks.values():  # each by itself: one sensor may be changed and another not
                check_views(self._known_inputs(trunk))
        if self._watched is not self.model:
            self.history, self._earlier_steps, self._epoch_steps, self._checks = [], 0, 0, 0
            self._suspicions, self._judged = 0, 0
            self._features = self._features_to_watch()
            first = np.nan_to_num(self._embeddings())  # what is not finite is found at the first check
            self._first_deviations = [found.deviation for found in _healths(first)]
            self._watched = self.model  # last: what raised begins anew
        elif self.collapsed is not None:
            self._suspicions = 0
        self.collapsed = None

    def on_epoch_begin(self, epoch, logs=None):
        """Begins to count the steps of an epoch."""
        self._earlier_steps += self._epoch_steps
        self._epoch_steps = 0

    def on_train_batch_end(self, batch, logs=None):
        """Checks every `steps` batches."""
        self._epoch_steps = batch + 1  # several at once with `steps_per_execution`
        if self.steps is not None and self._seen // self.steps > self._checks:
            self._checks = self._seen // self.steps
            self._check({})

    def on_epoch_end(self, epoch, logs=None):
        """Checks, and puts what it found into the logs."""
        if self.steps is None:
            self._check(logs if logs is not None else {})
        elif self.history and logs is not None:
            logs |= _as_logs(self.history[-1])

    def on_train_end(self, logs=None):
        """Warns of a run that was too short to be judged."""
        self._earlier_steps += self._epoch_steps
        self._epoch_steps = 0
        if self.collapsed is None and self._judged < self.patience:
            checks = f"{self._judged} of the {self.patience} checks that it takes after {self.settle_steps} steps"
            warnings.warn(f"Whether this run has collapsed was not judged: it had {checks}.", stacklevel=2)

    @property
    def _seen(self) -> int:
        return self._earlier_steps + self._epoch_steps

    def _check(self, logs) -> None:
        embeddings = self._embeddings()
        if not np.isfinite(embeddings).all():
            self._stop("embeddings are not finite: lower the learning rate or clip gradients")
            return
        health = embedding_health(embeddings)
        self.history.append(health)
        logs |= _as_logs(health)
        if self._seen < self.settle_steps:
            return
        self._judged += 1
        reason = self._suspicion(embeddings)
        self._suspicions = self._suspicions + 1 if reason else 0
        if self._suspicions >= self.patience:
            self._stop(reason)

    def _suspicion(self, embeddings: np.ndarray) -> str:
        """What is wrong with the embeddings of one sensor in one view; "" where all are well."""
        for name, found, first in zip(self._names(), _healths(embeddings), self._first_deviations, strict=True):
            if found.deviation <= 0.01 * first:
                return f"embeddings{name} have shrunk to a point (deviation {found.deviation:.2g})"
            # Only where the loss sees directions: VICReg and features may lie far from the origin and yet be spread.
            if isinstance(self.model, ContrastivePretrainer) and found.mean_cosine > self.largest_cosine:
                return f"embeddings{name} of all patches point in one direction (mean cosine {found.mean_cosine:.3f})"
            if found.effective_rank < self.smallest_rank:
                return f"embeddings{name} of all patches lie on a line (effective rank {found.effective_rank:.2f})"
        return ""

    def _names(self) -> list[str]:
        """Of whom each embedding is, as a part of a sentence."""
        if self._features is not None:
            return [""]
        views = [f" in view {view + 1}" for view in range(self.model.views)] if self.model.views > 1 else [""]
        sensors = [f" of {name}" if name else "" for name in self.model.trunks]
        return [sensor + view for sensor in sensors for view in views]

    def _stop(self, reason: str) -> None:
        if self.collapsed is None:
            self.collapsed = f"Collapsed: {reason}. Training was stopped; its features tell patches apart no more."
            self.model.stop_training = True
            warnings.warn(self.collapsed, stacklevel=2)

    def _known_inputs(self, *trunks: keras.Model) -> dict:
        """The inputs of these trunks, or of all, in all their views."""
        names = [tensor.name for trunk in trunks or self.model.trunks.values() for tensor in trunk.inputs]
        known = {view for name in names for view in self.model.input_names(name)}
        return {name: values for name, values in self.inputs.items() if name in known}

    def _features_to_watch(self) -> keras.Model | None:
        """The encoder with one output, where the model's own embeddings are not what is watched."""
        if isinstance(self.model, ViewPretrainer):
            if self.encoder is not None:
                rule = "`encoder` must be None where a model has embeddings, which are watched."
                raise InvalidArgumentError(f"{rule} Received: {self.encoder.name}.")
            return None
        encoder = self.encoder if self.encoder is not None else getattr(self.model, "encoder", None)
        if encoder is None:
            rule = "`encoder` must be given where a model has neither embeddings nor an `encoder`."
            raise InvalidArgumentError(f"{rule} Received: {self.model.name}.")
        return pooled(encoder)

    def _embeddings(self) -> np.ndarray:
        """Embeddings (N, K, D) of the batch, float32; weights, statistics and metrics stay as they are."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # JAX trains on copies of the weights
        with keras.StatelessScope():
            if self._features is None:
                found = self.model(self._known_inputs(), training=True)[EMBEDDINGS]
            else:
                inputs = {name: valid_values(self.inputs, name)[0] for name in self.inputs}
                found = self._features(named_inputs(self._features, inputs), training=True)[:, None]
        return np.asarray(keras.ops.convert_to_numpy(found), "float32")


def _healths(embeddings: np.ndarray) -> list[EmbeddingHealth]:
    """Health of every one of the K embeddings (N, K, D)."""
    return [embedding_health(embeddings[:, index]) for index in range(embeddings.shape[1])]


def _first_inputs(dataset) -> dict[str, np.ndarray]:
    batch = next(iter(dataset)) if hasattr(dataset, "element_spec") else dataset
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if not isinstance(inputs, Mapping):
        rule = "`dataset` must give (inputs, ...) or inputs, a dict."
        raise InvalidArgumentError(f"{rule} Received: {type(inputs).__name__}.")
    found = {name: np.asarray(keras.ops.convert_to_numpy(values)) for name, values in inputs.items()}
    fewest = min(map(len, found.values()), default=0)
    if fewest < FEWEST_PATCHES:
        rule = f"`dataset` must give a first batch of {FEWEST_PATCHES} patches or more: few always lie on a line."
        raise InvalidArgumentError(f"{rule} Received: {fewest}.")
    return found


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
