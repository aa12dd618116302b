"""Do tasks pull the shared weights in one direction? A callback that logs it by epoch."""

import itertools

import keras
import numpy as np
from keras import ops

from eokeras.balance.gradients import check_backend, cosines, gram_matrix, shared_weights, task_gradients
from eokeras.balance.task_losses import loss_objects, task_losses
from eokeras.errors import InvalidArgumentError


class GradientCosine(keras.callbacks.Callback):
    """Logs the cosine between the gradients of every two tasks on the shared weights, at the end of each epoch.

        cosine_<a>_<b> = g_a . g_b / (|g_a| |g_b|)

    with g_k the gradient of the unweighted loss of task k on all trainable weights that two tasks or more reach, and a
    before b in the alphabet. 1: the tasks want the same step; 0: they do not meet; below 0: what helps one hurts the
    other. NaN where a task has no labels in the batch.

    The batch is always the same, so that epochs can be compared, and the model runs as it predicts (no dropout, batch
    normalisation with its moving statistics), so that nothing of it changes. One batch is one draw: take a large
    one, and read the course over epochs rather than single values. Costs a forward pass and one backward pass per
    task in every epoch. Works with every compiled model that has a dict of outputs and of losses, balanced or not.
    TensorFlow backend only. List it before callbacks that read its logs.

    Args:
        batch: `(inputs, targets)` as `make_dataset` yields them, or a dataset, of which the first batch is kept.

    Raises:
        InvalidArgumentError: `batch` is none of these, or the backend is not TensorFlow; when training begins: the
            model has fewer than two tasks, no dict of losses, or no weights that tasks share.

    Example:
        >>> model.fit(train, epochs=20, callbacks=[GradientCosine(val)])  # doctest: +SKIP

    Reference:
        Du et al. 2018, https://arxiv.org/abs/1812.02224
    """

    def __init__(self, batch):
        super().__init__()
        check_backend("GradientCosine")
        if hasattr(batch, "element_spec"):
            batch = next(iter(batch.take(1)), None)
        if not isinstance(batch, (tuple, list)) or len(batch) < 2 or not all(isinstance(x, dict) for x in batch[:2]):
            raise InvalidArgumentError(
                "`batch` must be (inputs, targets), each a dict, or a dataset of such batches. "
                f"Received: {type(batch).__name__}."
            )
        self.batch = keras.tree.map_structure(ops.convert_to_tensor, tuple(batch[:2]))

    def on_train_begin(self, logs=None):
        import tensorflow as tf

        outputs = self.model.output if isinstance(getattr(self.model, "output", None), dict) else {}
        if len(outputs) < 2:
            raise InvalidArgumentError(
                f"`GradientCosine` needs a model with a dict of two outputs or more. Received: outputs {list(outputs)}."
            )
        self.tasks = sorted(outputs)
        loss_objects(self.model.loss, self.tasks)  # says early what is wrong with them
        # Concrete, as TensorFlow warns of retracing where a function of the same code is traced for model after model.
        self._measure = tf.function(self._cosines, autograph=False).get_concrete_function(*self.batch)

    def _cosines(self, inputs, targets):
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            outputs = self.model(inputs, training=False)
            losses = task_losses(loss_objects(self.model.loss, self.tasks), targets, outputs)
            # In half precision small gradients would be lost without it; a cosine does not see it.
            losses = [self.model.optimizer.scale_loss(loss) for loss in losses]
        gradients = task_gradients(tape, losses, self.model.trainable_weights)
        return cosines(gram_matrix(gradients, shared_weights(gradients)))

    def on_epoch_end(self, epoch, logs=None):
        values = np.array(self._measure(*self.batch))
        for (a, first), (b, second) in itertools.combinations(enumerate(self.tasks), 2):
            logs[f"cosine_{first}_{second}"] = float(values[a, b])
