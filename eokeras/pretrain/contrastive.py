"""Pretrainers that bring together what belongs to one patch: two views of it, or what two sensors saw.

Letters: B patches of a batch, V views, K embeddings of a patch, F features, D numbers of an embedding.
"""

from collections.abc import Mapping
from itertools import combinations

import keras
from keras import layers, ops

from eokeras.ben_ge.input_names import view_name
from eokeras.errors import InvalidArgumentError, check_number
from eokeras.evaluate.embeddings import chosen_level
from eokeras.models.encoders.contract import VECTOR, check_positive
from eokeras.models.fusion.branches import own_inputs
from eokeras.pretrain.masking import check_no_weights
from eokeras.pretrain.view_losses import chance_loss, matching_accuracy, nt_xent, vicreg

EMBEDDINGS = "embeddings"
"""Output of a pretrainer beside those of its tasks."""


class ViewPretrainer(keras.Model):
    """What both methods share: K embeddings of every patch, and a loss on each pair of them.

    `compile(optimizer)` and `fit` on batches (inputs, targets) of `make_dataset`, for two views or more with
    `augment=eo.augment.views(first, second)`. Every encoder gives one embedding for each view, so K is V times the
    number of encoders; the loss is the mean over all pairs. All views of a batch pass an encoder together, so that
    batch normalisation cannot tell them apart.

    Args:
        encoders: an encoder, or a dict of name -> encoder for several sensors: functional models with named inputs
            that give a dict of levels. Fusion models serve, too.
        views: V, views of a patch in a batch; 1 where sensors alone are compared.
        projection: units of the projector's hidden and of its last layer D. All encoders share the projector, so their
            levels must be equally wide. It is thrown away after pretraining.
        heads: dict of task -> head for pretext tasks on the same features, whose losses are added; give `compile` their
            `loss` and `loss_weights`, as for `models.multitask`. They answer for the first view, which targets are of.
            For one encoder only.
        level: level of the encoders, averaged over the patch, that is projected; None: the one that most of an
            encoder's weights have a part in, as in `evaluate.embed`.

    Input shape:
        A dict of the encoders' inputs, (B, ...), calibrated float32; with several views `s2_view_1`, `s2_view_2`, ...
        Further keys are left alone.

    Output shape:
        A dict of `embeddings` (B, K, D) float32, and the outputs of the tasks (B, ...).

    Raises:
        InvalidArgumentError: an encoder gives no dict of levels, levels are not equally wide, there is nothing to
            compare, heads come with several encoders, or an input or a view of it is missing.
    """

    def __init__(self, encoders, views=2, projection=(256, 128), heads=None, level=None, trunks=None, **kwargs):
        super().__init__(**kwargs)
        check_positive("views", views)
        for width in projection:
            check_positive("projection", width)
        self.is_single = not isinstance(encoders, Mapping)
        found = {"": encoders} if self.is_single else dict(encoders)
        if views * len(found) < 2:
            rule = "`views` must be 2 or more where there is one encoder: a patch needs two embeddings to compare."
            raise InvalidArgumentError(f"{rule} Received: views={views}.")
        if heads and not self.is_single:
            raise InvalidArgumentError(
                f"`heads` must come with one encoder alone. Received: encoders {', '.join(found)}."
            )
        self.views, self.projection, self.level = views, tuple(projection), level
        self.trunks = trunks or {name: _trunk(name, encoder, heads or {}, level) for name, encoder in found.items()}
        self.encoders = found
        self.tasks = tuple(task for task in next(iter(self.trunks.values())).output if task != EMBEDDINGS)
        self.projector = self._build_projector()
        self.matching_accuracy = keras.metrics.Mean(name="matching_accuracy")
        self.built = True  # all layers are, from the shapes of the encoders

    @property
    def encoder(self):
        """The encoder, for probes and fine-tuning; of several take `encoders[name]`.

        Raises:
            InvalidArgumentError: there are several.
        """
        if not self.is_single:
            names = ", ".join(self.encoders)
            raise InvalidArgumentError(f"Take one of `encoders`: {names}. Received: `encoder`.")
        return self.encoders[""]

    def _build_projector(self):
        """Features (B, F) -> embeddings (B, D): dense, batch normalisation, ReLU, dense."""
        widths = {name: trunk.output[EMBEDDINGS].shape[-1] for name, trunk in self.trunks.items()}
        if len(set(widths.values())) > 1:
            rule = "`encoders` must give levels of equal width, which share one projector."
            raise InvalidArgumentError(f"{rule} Received: {widths}.")
        hidden, last = self.projection
        features = keras.Input((next(iter(widths.values())),), name="features")
        x = layers.Dense(hidden, use_bias=False, name="hidden")(features)
        x = layers.BatchNormalization(name="normalisation")(x)
        x = layers.ReLU(name="activation")(x)
        return keras.Model(features, layers.Dense(last, dtype="float32", name="embedding")(x), name="projector")

    def call(self, inputs, training=False):
        embeddings, outputs = [], {}
        for trunk in self.trunks.values():
            # By name, so that what a trunk does not read can never shift what it reads.
            found = dict(trunk({x.name: self._all_views(inputs, x.name) for x in trunk.inputs}, training=training))
            z = self.projector(found.pop(EMBEDDINGS), training=training)
            embeddings += ops.split(z, self.views)
            outputs |= {task: ops.split(output, self.views)[0] for task, output in found.items()}
        return {EMBEDDINGS: ops.stack(embeddings, axis=1), **outputs}

    def input_names(self, name):
        """Names of the views of an input: ["s2"], or ["s2_view_1", "s2_view_2"]."""
        return [name] if self.views == 1 else [view_name(name, view + 1) for view in range(self.views)]

    def _all_views(self, inputs, name):
        """An input in all views (V B, ...), first all patches in the first view."""
        lacking = [view for view in self.input_names(name) if view not in inputs]
        if lacking:
            way = " Make it with `augment=eo.augment.views(...)`." if self.views > 1 else ""
            raise InvalidArgumentError(
                f"`inputs` must hold {', '.join(self.input_names(name))}. Received: {', '.join(sorted(inputs))}.{way}"
            )
        return ops.concatenate([inputs[view] for view in self.input_names(name)], axis=0)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        z = y_pred[EMBEDDINGS]
        pairs = [(z[:, one], z[:, other]) for one, other in combinations(range(z.shape[1]), 2)]
        loss = sum(self.pair_loss(*pair) for pair in pairs) / len(pairs)
        self.matching_accuracy.update_state(sum(matching_accuracy(*pair) for pair in pairs) / len(pairs))
        if not self.tasks:
            check_no_weights(sample_weight)
            return loss + sum((ops.cast(extra, "float32") for extra in self.losses), 0.0)
        # The losses of the tasks, weighted, and those of the layers.
        targets, outputs = ({task: part[task] for task in self.tasks} for part in (y, y_pred))
        return loss + super().compute_loss(x, targets, outputs, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics of the tasks beside the pretrainer's own."""
        if not self.tasks:
            return self.get_metrics_result()
        targets, outputs = ({task: part[task] for task in self.tasks} for part in (y, y_pred))
        return super().compute_metrics(x, targets, outputs, sample_weight)

    def pair_loss(self, first, second):
        """Loss of one pair of embeddings (B, D)."""
        raise NotImplementedError

    def get_config(self):
        """What `from_config` needs."""
        names = None if self.is_single else list(self.encoders)
        return super().get_config() | {
            "names": names,
            "encoder_names": [encoder.name for encoder in self.encoders.values()],
            "trunks": [keras.saving.serialize_keras_object(trunk) for trunk in self.trunks.values()],
            "views": self.views,
            "projection": list(self.projection),
            "level": self.level,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model again; encoders and heads come as parts of its trunks."""
        config = dict(config)
        names, encoder_names = config.pop("names"), config.pop("encoder_names")
        trunks = [keras.saving.deserialize_keras_object(trunk, custom_objects) for trunk in config.pop("trunks")]
        found = [trunk.get_layer(name) for trunk, name in zip(trunks, encoder_names, strict=True)]
        encoders = dict(zip(names, found, strict=True)) if names else found[0]
        return cls(encoders, trunks=dict(zip(names or [""], trunks, strict=True)), **config)


def _trunk(name, encoder, heads, level):
    """An encoder with its averaged level as `embeddings` (to be), and the heads on its levels."""
    chosen, _ = chosen_level(encoder, level)
    inputs = own_inputs(encoder)
    levels = encoder(inputs)
    features = levels[chosen]
    if chosen != VECTOR:
        features = layers.GlobalAveragePooling2D(name="features")(features)
    outputs = {EMBEDDINGS: features, **{task: head(levels, name=task) for task, head in heads.items()}}
    return keras.Model(inputs, outputs, name=f"{name or encoder.name}_trunk")


@keras.saving.register_keras_serializable(package="eokeras")
class ContrastivePretrainer(ViewPretrainer):
    """Contrastive learning with NT-Xent: of all patches in the batch, which one is this, seen otherwise?

    Two views of one sensor make SimCLR; two sensors of one place (`views=1`, `encoders={"s1": ..., "s2": ...}`) the
    tutorial's dual encoder; `views=2` with several sensors both together; two dates of one cell
    (`make_dataset(..., dates=2)`) views that nature changed. `fit` logs the loss, to be read beside
    chance, log(2 B - 1) (`chance_loss`), and `matching_accuracy`, of which chance is 1 / (2 B - 1).

    **Large batches** hold more negatives. Within one device, build the encoders inside of `keras.RematScope("full")`,
    which computes activations again instead of keeping them. Over several devices use the JAX backend with
    `keras.distribution.DataParallel`, where a batch is that of all devices together. `tf.distribute` strategies of
    several replicas are refused, since each would see its own negatives alone.

    Args:
        temperature: of NT-Xent.
        encoders, views, projection, heads, level: as of `ViewPretrainer`.

    Input shape, Output shape:
        As of `ViewPretrainer`.

    Raises:
        InvalidArgumentError: as of `ViewPretrainer`, `temperature` is no number above 0, or it trains on several
            replicas of a `tf.distribute` strategy.

    Example:
        >>> import numpy as np
        >>> from eokeras.models import unet
        >>> encoders = {name: unet((16, 16, bands), width=2, name=name) for name, bands in (("s2", 12), ("s1", 2))}
        >>> model = ContrastivePretrainer(encoders, views=1, projection=(8, 4))
        >>> model.compile("adam")
        >>> batch = {name: np.random.rand(6, *encoder.input_shape[1:]) for name, encoder in encoders.items()}
        >>> logs = model.fit(batch, verbose=0).history

    Reference:
        Chen et al. 2020, https://arxiv.org/abs/2002.05709; two sensors: Scheibenreif et al. 2022,
        https://doi.org/10.1109/CVPRW56347.2022.00148; with places as a pretext task: Ayush et al. 2021,
        https://arxiv.org/abs/2011.09980
    """

    def __init__(self, encoders, views=2, temperature=0.1, **kwargs):
        super().__init__(encoders, views, **kwargs)
        self.temperature = check_number("temperature", temperature, above=0)

    def pair_loss(self, first, second):
        _check_one_replica()
        return nt_xent(first, second, self.temperature)

    @staticmethod
    def chance_loss(batch_size):
        """NT-Xent of a network that tells nothing, for batches of so many patches: log(2 B - 1)."""
        check_positive("batch_size", batch_size)
        return chance_loss(batch_size)

    def get_config(self):
        return super().get_config() | {"temperature": self.temperature}


def _check_one_replica():
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise InvalidArgumentError(
            "Contrastive learning over several devices must run on the JAX backend with "
            f"`keras.distribution.DataParallel`, where a batch is that of all. Received: {replicas} replicas."
        )


@keras.saving.register_keras_serializable(package="eokeras")
class VICRegPretrainer(ViewPretrainer):
    """VICReg: embeddings of one patch alike, features spread over the batch and not redundant; no negatives.

    A batch need not be large. Over several devices each one may take statistics of its own part.

    Args:
        invariance, variance, covariance: weights of the three terms, see `view_losses.vicreg`.
        encoders, views, projection, heads, level: as of `ViewPretrainer`.

    Input shape, Output shape:
        As of `ViewPretrainer`.

    Raises:
        InvalidArgumentError: as of `ViewPretrainer`, or a weight is no number from 0 on.

    Reference:
        Bardes et al. 2022, https://arxiv.org/abs/2105.04906
    """

    def __init__(self, encoders, views=2, invariance=25.0, variance=25.0, covariance=1.0, **kwargs):
        super().__init__(encoders, views, **kwargs)
        given = {"invariance": invariance, "variance": variance, "covariance": covariance}
        self.term_weights = {name: check_number(name, weight, at_least=0) for name, weight in given.items()}

    def pair_loss(self, first, second):
        return vicreg(first, second, **self.term_weights)

    def get_config(self):
        return super().get_config() | self.term_weights
