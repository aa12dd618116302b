"""Models that weigh their tasks' losses by a rule in plain `compile` and `fit`.

Letters: K tasks, L_k loss of task k in a batch.
"""

import keras
from keras import ops

from eokeras.balance.gradients import check_backend
from eokeras.balance.rules import Rule, checked_weights, weights_in_order
from eokeras.balance.task_losses import loss_objects, task_losses
from eokeras.errors import InvalidArgumentError


def balanced(model, rule, reported_weights=None):
    """The same network, trained under a rule that weighs the losses of its tasks.

    Args:
        model: a functional model with named inputs and a dict of outputs, one per task, as `multitask` gives. The
            layers are shared: what `fit` of the result learns, `model` knows.
        rule: a new `FixedWeights`, `UncertaintyWeighting`, `DynamicWeightAverage`, `RandomLossWeighting`,
            `GradNorm` or `PCGrad`.
        reported_weights: dict of every task -> number, for the `loss` and `val_loss` that are logged. None: 1 each.

    Returns:
        A `BalancedModel`; its `inner` is the network without the rule.

    Raises:
        InvalidArgumentError: an argument is none of the above, the rule belongs to another model, or it needs
            gradients of single tasks and the backend is not TensorFlow.

    Example:
        >>> from eokeras.losses import for_tasks
        >>> from eokeras.models import multitask, regression_head, scene_head, unet
        >>> model = multitask(unet((16, 16, 2), width=1, name="s2"),
        ...                   {"climate_zone": scene_head(12), "season": regression_head()})
        >>> import eokeras.balance
        >>> learner = balanced(model, eokeras.balance.UncertaintyWeighting())
        >>> learner.compile("adam", loss=for_tasks(("climate_zone", "season")))
        >>> import numpy as np
        >>> inputs = {"s2": np.zeros((4, 16, 16, 2), "float32")}
        >>> targets = {"climate_zone": np.arange(4), "season": np.zeros(4, "float32")}
        >>> history = learner.fit(inputs, targets, verbose=0).history
        >>> sorted(history)
        ['climate_zone_loss', 'loss', 'season_loss', 'weight_climate_zone', 'weight_season']
    """
    if not isinstance(model, keras.Model) or not isinstance(getattr(model, "output", None), dict):
        raise InvalidArgumentError(
            "`model` must be a functional model with a dict of outputs, one per task, as `multitask` gives. "
            f"Received: {model!r}."
        )
    if not isinstance(rule, Rule):
        raise InvalidArgumentError(
            f"`rule` must be a rule of `eokeras.balance`, as `FixedWeights()`. Received: rule={rule!r}."
        )
    kind = GradientBalancedModel if rule.uses_gradients else BalancedModel
    # From a list: a model of a dict of inputs mixes them up where its data hold one more.
    return kind(
        inputs=list(model.inputs),
        outputs=dict(model.output),
        rule=rule,
        reported_weights=reported_weights,
        name=f"{model.name}_balanced",
    )


@keras.saving.register_keras_serializable(package="eokeras")
class BalancedModel(keras.Model):
    """A functional model whose training follows a rule; `balanced` makes it.

    - `compile` takes a loss for every task and no `loss_weights`. `fit` minimises what the rule says, plus
      regularisers. It logs `weight_<task>`, the mean over the epoch's steps, beside `<task>_loss` and the metrics.
    - `loss` and `val_loss` are both sum_k v_k L_k with the fixed `reported_weights` v_k, plus regularisers: the
      same quantity in every epoch and under every rule, so that early stopping and comparisons may use it. What
      the rule minimises changes its meaning with its weights, and is not logged.
    - `save`, `load_model`, `save_weights` and `load_weights` keep the state of rule and optimizer; training that
      goes on (`fit(initial_epoch=...)`) equals training that was never broken off.
    - It predicts, exports and scores like the network that it was made from. `inner` is that network alone,
      for parameter counts and for saving without the rule.
    - It trains on one device: `tf.distribute` strategies of several replicas are refused.

    Args:
        inputs, outputs, name: as of `keras.Model`; a list of named inputs, a dict of outputs.
        rule: a new rule.
        reported_weights: as in `balanced`.

    Raises:
        InvalidArgumentError: as `balanced`; in `compile`: a loss is missing or is none, or `loss_weights` are given.
    """

    def __init__(self, *args, rule, reported_weights=None, **kwargs):
        super().__init__(*args, **kwargs)
        if getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1) > 1:
            raise InvalidArgumentError(
                "A balanced model trains on one device, as its rule weighs whole batches. Received: a "
                f"`tf.distribute` strategy of {self.distribute_strategy.num_replicas_in_sync} replicas."
            )
        self.tasks = tuple(sorted(self.output))  # the order of the rule's arrays, also after loading
        rule.prepare(self.tasks)
        self.rule = rule
        self.reported_weights = (
            None if reported_weights is None else checked_weights("reported_weights", reported_weights)
        )
        self.reported_values = weights_in_order("reported_weights", self.reported_weights, self.tasks)
        self.loss_means = LossMeans(self.tasks)

    @property
    def inner(self):
        """The network without the rule: a functional model that shares all layers."""
        return keras.Model(list(self.inputs), dict(self.output), name=self.name.removesuffix("_balanced"))

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        if loss_weights is not None:
            raise InvalidArgumentError(
                "`loss_weights` must be None, as the rule gives the weights; `FixedWeights` takes fixed ones. "
                f"Received: loss_weights={loss_weights!r}."
            )
        self.rule.check_losses(loss_objects(loss, self.tasks))
        super().compile(optimizer, loss=loss, **kwargs)
        # `compute_loss` does its work. Left unbuilt, it would have Keras trace the model again before every evaluation.
        self._compile_loss = None
        if not self.optimizer.built:  # else `load_weights` would leave out its state
            self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        # As the method of Keras, which does not call a `compile` that is overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        if isinstance(callbacks, keras.callbacks.CallbackList):
            raise InvalidArgumentError("`callbacks` must be a list of callbacks. Received: a CallbackList.")
        given = callbacks if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
        # First, so that the others find the weights in their logs and checkpoints hold the epoch that has ended.
        callbacks = [_RuleEpochs(self.rule), *given]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = ops.stack(self.compute_task_losses(y, y_pred, sample_weight))
        penalty = self.penalty()
        reported = self.track(losses, penalty, y_pred)
        return self.rule.objective(losses) + penalty if training else reported

    def compute_task_losses(self, y, y_pred, sample_weight=None):
        """Losses of all tasks for one batch: a list of K scalars in the order of `tasks`, which is alphabetical."""
        return task_losses(loss_objects(self.loss, self.tasks), y, y_pred, sample_weight)

    def penalty(self):
        """Sum of regularisers and of what layers added by `add_loss`."""
        return sum((ops.sum(ops.cast(loss, "float32")) for loss in self.losses), ops.zeros((), "float32"))

    def track(self, losses, penalty, y_pred):
        """Notes the losses (K,) of a batch for the means that are logged; gives the batch's reported loss."""
        reported = ops.sum(self.reported_values * losses) + penalty
        self.loss_means.update_state(losses, reported, ops.shape(y_pred[self.tasks[0]])[0])
        return reported

    def get_config(self):
        return super().get_config() | {
            "rule": keras.saving.serialize_keras_object(self.rule),
            "reported_weights": self.reported_weights,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        rule = keras.saving.deserialize_keras_object(config["rule"], custom_objects)
        return super().from_config(config | {"rule": rule}, custom_objects)


@keras.saving.register_keras_serializable(package="eokeras")
class GradientBalancedModel(BalancedModel):
    """A `BalancedModel` whose rule needs the gradient of each task; TensorFlow backend only.

    Works with mixed precision (the losses are scaled as the optimizer wants, before gradients are taken), with
    gradient accumulation of the optimizer and with `jit_compile=True`.

    Args:
        inputs, outputs, name, rule, reported_weights: as of `BalancedModel`.

    Raises:
        InvalidArgumentError: as `BalancedModel`, or the backend is not TensorFlow.
    """

    def __init__(self, *args, rule, **kwargs):
        check_backend(type(rule).__name__)
        super().__init__(*args, rule=rule, **kwargs)

    def train_step(self, data):
        import tensorflow as tf

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        weights = self.trainable_weights
        scale = self.optimizer.scale_loss(ops.ones((), "float32"))
        with tf.GradientTape(persistent=True) as tape:
            y_pred = self(x, training=True)
            losses = self.compute_task_losses(y, y_pred, sample_weight)
            penalty = self.penalty()
            scaled, scaled_penalty = [loss * scale for loss in losses], penalty * scale
        gradients, factors = self.rule.combine(tape, scaled, scale, weights)
        if self.losses:
            gradients = _added(gradients, tape.gradient(scaled_penalty, weights))
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.rule.note(factors)
        self.track(ops.stack(losses), penalty, y_pred)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _added(first, second):
    """Sums of two lists of gradients, of which any may be None."""
    pairs = zip(first, second, strict=True)
    return [b if a is None else a if b is None else a + b for a, b in pairs]


@keras.saving.register_keras_serializable(package="eokeras")
class LossMeans(keras.metrics.Metric):
    """Means over the epoch of the reported loss and of every task's loss, over batches weighted by their patches.

    Args:
        tasks: names of the tasks.
        name: name of the metric.

    Returns:
        `result()`: a dict with `loss` and `<task>_loss`. Its `loss` stands in for the one that Keras tracks, which in
        training is what the rule minimises.

    Example:
        >>> metric = LossMeans(("season",))
        >>> metric.update_state(ops.array([0.5]), 0.5, 8)
        >>> sorted(metric.result())
        ['loss', 'season_loss']
    """

    def __init__(self, tasks, name="loss_means", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.tasks = tuple(tasks)
        self.total = self.add_variable((1 + len(self.tasks),), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, losses, reported, patches):
        patches = ops.cast(patches, self.dtype)
        values = ops.concatenate([ops.reshape(ops.cast(reported, self.dtype), (1,)), ops.cast(losses, self.dtype)])
        self.total.assign_add(values * patches)
        self.count.assign_add(patches)

    def result(self):
        names = ("loss", *(f"{task}_loss" for task in self.tasks))
        means = ops.divide_no_nan(self.total, self.count)
        return {name: means[index] for index, name in enumerate(names)}

    def get_config(self):
        return super().get_config() | {"tasks": list(self.tasks)}


class _RuleEpochs(keras.callbacks.Callback):
    """Tells the rule where epochs begin and end, and logs its weights."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def on_epoch_begin(self, epoch, logs=None):
        self.rule.begin_epoch()

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.rule.end_epoch())
