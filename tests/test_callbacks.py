"""Best epochs by task, found again from the training history; weights of an epoch give its losses again."""

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras.callbacks import BestEpochByTask
from eokeras.errors import InvalidArgumentError

ROOT = Path(eo.__file__).parents[1]
TASKS = ("season", "slope")


class Constant(keras.layers.Layer):
    """One weight per task, which is the prediction for every patch: a test sets it, so its loss is known."""

    def build(self, shape):
        self.value = self.add_weight(shape=(1,), initializer="zeros", name="value")

    def call(self, x):
        return x * 0.0 + self.value


def make_model(tasks=TASKS):
    """Predictions are weights; the loss of a task whose target is 0 is the absolute value of its weight."""
    x = keras.Input((1,), name="x")
    model = keras.Model([x], {task: Constant(name=task)(x) for task in tasks})
    model.compile(keras.optimizers.SGD(0.0), loss=dict.fromkeys(tasks, "mean_absolute_error"))
    return model


class Script(keras.callbacks.Callback):
    """Sets the weights of every epoch before its validation: one row an epoch, one column a task."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def on_epoch_begin(self, epoch, logs=None):
        self.model.set_weights([np.array([value], "float32") for value in self.rows[epoch]])


def data(tasks=TASKS):
    zeros = np.zeros((4, 1), "float32")
    return {"x": zeros}, dict.fromkeys(tasks, zeros)


def fit(model, callback, rows, **options):
    tasks = list(model.output)
    x, y = data(tasks)
    options = {"validation_data": (x, y), "epochs": len(rows), **options}
    return model.fit(x, y, batch_size=4, verbose=0, callbacks=[Script(rows), callback], **options)


ROWS = [(4.0, 1.0), (1.0, 2.0), (2.0, 0.5), (3.0, 0.75), (3.0, 2.0)]
"""Season is best in epoch 1, slope in epoch 2. Against the first epoch the mean of the changes is
0, (0.75 - 1) / 2, (0.5 + 0.5) / 2 = 0.5, (0.25 + 0.25) / 2, (0.25 - 1) / 2: epoch 2 is best jointly."""


def test_every_task_has_its_own_best_epoch_and_weights():
    model, best = make_model(), BestEpochByTask(TASKS)
    fit(model, best, ROWS)
    assert best.best_epoch == {"season": 1, "slope": 2}
    assert best.best_value == {"season": 1.0, "slope": 0.5}
    assert best.best_epoch_jointly == 2
    with best.at_best("season") as restored:
        assert [float(weight[0]) for weight in restored.get_weights()] == [1.0, 2.0]
    assert [float(weight[0]) for weight in model.get_weights()] == [3.0, 2.0]  # the last epoch again
    best.restore("slope")
    assert [float(weight[0]) for weight in model.get_weights()] == [2.0, 0.5]
    model.set_weights([np.zeros(1), np.zeros(1)])
    best.restore()
    assert [float(weight[0]) for weight in model.get_weights()] == [2.0, 0.5]
    assert json.loads(json.dumps(best.to_dict())) == {
        "tasks": {
            "season": {"monitor": "val_season_loss", "epoch": 1, "value": 1.0},
            "slope": {"monitor": "val_slope_loss", "epoch": 2, "value": 0.5},
        },
        "jointly": {"epoch": 2, "mean_relative_change": 0.5},
    }


def test_an_error_inside_the_block_leaves_the_model_as_it_was():
    model, best = make_model(), BestEpochByTask(TASKS)
    fit(model, best, ROWS)
    with pytest.raises(RuntimeError), best.at_best("season"):
        raise RuntimeError
    assert [float(weight[0]) for weight in model.get_weights()] == [3.0, 2.0]


def test_copies_of_the_weights_are_shared_by_the_tasks_of_one_epoch():
    best = BestEpochByTask(TASKS)
    fit(make_model(), best, ROWS)
    assert len({id(weights) for weights in best._weights.values()}) == 2  # season; slope and jointly


def test_single_task_references_make_the_joint_criterion_a_multitask_performance():
    """Against 1 and 2: (-3 + 0.5) / 2, (0 + 0) / 2, (-1 + 0.75) / 2, (-2 + 0.625) / 2, (-2 + 0) / 2: epoch 1."""
    best = BestEpochByTask(TASKS, references={"season": 1.0, "slope": 2.0})
    fit(make_model(), best, ROWS)
    assert best.best_epoch_jointly == 1
    assert best.to_dict()["jointly"]["mean_relative_change"] == 0.0


def test_more_is_better_where_the_mode_says_so():
    model = make_model()
    metrics = {task: [keras.metrics.MeanAbsoluteError(name="height")] for task in TASKS}
    model.compile(keras.optimizers.SGD(0.0), loss=dict.fromkeys(TASKS, "mean_absolute_error"), metrics=metrics)
    best = BestEpochByTask(TASKS, monitor={"season": ("val_season_height", "max")})
    fit(model, best, ROWS)
    assert best.best_epoch == {"season": 0, "slope": 2}
    # (0 + 0), (-0.75 - 1), (-0.5 + 0.5), (-0.25 + 0.25), (-0.25 - 1): the first of equal ones is kept
    assert best.best_epoch_jointly == 0


def test_values_that_are_not_finite_never_win():
    best = BestEpochByTask(TASKS)
    fit(make_model(), best, [(math.nan, 1.0), (4.0, 3.0), (2.0, math.inf)])
    assert best.best_epoch == {"season": 2, "slope": 0}
    assert best.best_epoch_jointly == 1  # the only epoch in which both have a value


def test_epochs_without_validation_are_passed_over():
    best = BestEpochByTask(TASKS)
    fit(make_model(), best, ROWS, validation_freq=2)  # after the second and the fourth
    assert best.best_epoch == {"season": 1, "slope": 3}


def test_fit_stops_when_no_task_improves():
    model, best = make_model(), BestEpochByTask(TASKS, patience=2)
    history = fit(model, best, [*ROWS, (0.1, 0.1)])
    assert history.epoch == [0, 1, 2, 3, 4]  # slope improved in epoch 2 last
    assert best.best_epoch["slope"] == 2


def test_a_model_with_one_output_is_judged_by_its_loss():
    best = BestEpochByTask(("season",))
    fit(make_model(("season",)), best, [(2.0,), (1.0,), (3.0,)])
    assert best.best_epoch == {"season": 1}
    assert best.best_epoch_jointly == 1


def test_a_second_fit_starts_anew():
    model, best = make_model(), BestEpochByTask(TASKS)
    fit(model, best, ROWS)
    fit(model, best, [(9.0, 9.0), (8.0, 9.5)])
    assert best.best_epoch == {"season": 1, "slope": 0}
    assert best.best_value == {"season": 8.0, "slope": 9.0}


class Interruption(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("interrupted")


def test_the_same_object_survives_backup_and_restore(tmp_path):
    model, best = make_model(), BestEpochByTask(TASKS)
    x, y = data()

    def run(*others):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        callbacks = [backup, Script(ROWS), best, *others]
        return model.fit(x, y, validation_data=(x, y), epochs=5, verbose=0, callbacks=callbacks)

    with pytest.raises(RuntimeError, match="interrupted"):
        run(Interruption(2))
    assert run().epoch == [2, 3, 4]
    assert best.best_epoch == {"season": 1, "slope": 2}
    best.restore("season")
    assert [float(weight[0]) for weight in model.get_weights()] == [1.0, 2.0]


def test_a_new_object_says_which_epochs_it_has_not_seen():
    best = BestEpochByTask(TASKS)
    with pytest.warns(UserWarning, match=r"has not seen the epochs 0\.\.1"):
        fit(make_model(), best, ROWS, initial_epoch=2)
    assert best.best_epoch == {"season": 2, "slope": 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tasks": "season"}, r"`tasks` must be a sequence of names of outputs\. Received: tasks='season'"),
        ({"tasks": ()}, "`tasks` must be a sequence"),
        ({"monitor": {"zone": ("val_loss", "min")}}, r"`monitor` may hold \['season', 'slope'\]\. Received: 'zone'"),
        ({"monitor": {"season": "val_season_loss"}}, r"`monitor\['season'\]` must be a pair.*'val_season_loss'"),
        ({"monitor": {"season": ("val_season_loss", "less")}}, r"must be a pair, \(name in the logs, \"min\""),
        ({"patience": 0}, "`patience` must be a positive integer or None. Received: patience=0"),
        ({"references": {"season": 1.0}}, r"`references` must hold a finite number for each of \['season', 'slope'\]"),
        ({"references": {"season": 1.0, "slope": math.nan}}, "finite number"),
    ],
)
def test_bad_arguments_name_the_rule(arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        BestEpochByTask(**{"tasks": TASKS, **arguments})


def test_a_name_that_is_not_logged_is_an_error_at_once():
    best = BestEpochByTask(("season", "zone"))
    with pytest.raises(InvalidArgumentError, match=r"`monitor\['zone'\]` must be one of .*Received: 'val_zone_loss'"):
        fit(make_model(), best, ROWS)


def test_an_epoch_without_labels_is_not_perfect():
    best = BestEpochByTask(TASKS)
    fit(make_model(), best, [(0.0, 1.0), (2.0, 2.0), (1.0, 3.0)])  # a loss of 0 is what no labels cost
    assert best.best_epoch == {"season": 2, "slope": 0}
    assert best.best_epoch_jointly == 1  # the first with both; then (1 - 1 / 2) - (3 / 2 - 1) = 0


def test_a_plateau_is_no_improvement():
    best = BestEpochByTask(TASKS, patience=2)
    history = fit(make_model(), best, [(1.0, 1.0)] * 5)
    assert best.best_epoch == {"season": 0, "slope": 0}
    assert len(history.epoch) == 3


def test_a_negative_reference_keeps_the_direction():
    monitor = {task: (f"val_{task}_loss", "max") for task in TASKS}
    best = BestEpochByTask(TASKS, monitor=monitor, references={"season": -2.0, "slope": -2.0})
    fit(make_model(), best, [(1.0, 1.0), (3.0, 3.0)])
    assert best.best_epoch_jointly == 1


def test_weights_that_were_never_kept_cannot_be_restored():
    best = BestEpochByTask(TASKS)
    fit(make_model(), best, ROWS[:1], validation_data=None)
    with pytest.raises(InvalidArgumentError, match=r"when 'season' has had a value; `fit` needs `validation_data`"):
        best.restore("season")
    with pytest.raises(InvalidArgumentError, match="`task` must be one of"):
        best.restore("zone")
    best = BestEpochByTask(TASKS, references={"season": 0.0, "slope": 1.0})
    fit(make_model(), best, [(3.0, 1.0), (1.0, 2.0)])
    assert best.best_epoch_jointly is None
    with pytest.raises(InvalidArgumentError, match=r"no reference is 0.*Received: task=None"):
        best.restore()


CODE = textwrap.dedent("""
    import json
    import keras
    from eokeras.callbacks import BestEpochByTask
    from tests.test_callbacks import ROWS, TASKS, fit, make_model
    assert keras.backend.backend() == "jax"
    model, best = make_model(), BestEpochByTask(TASKS)
    fit(model, best, ROWS)
    with best.at_best("season"):
        weights = [float(weight[0]) for weight in model.get_weights()]
    print(json.dumps([best.to_dict(), weights, [float(weight[0]) for weight in model.get_weights()]]))
""")


def test_best_epochs_on_jax():
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    told, weights, last = json.loads(done.stdout.splitlines()[-1])
    assert {task: item["epoch"] for task, item in told["tasks"].items()} == {"season": 1, "slope": 2}
    assert told["jointly"]["epoch"] == 2
    assert (weights, last) == ([1.0, 2.0], [3.0, 2.0])
