"""Losses on two replicas of one strategy: their sum must be the mean of what each half of the batch costs."""

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
import tensorflow as tf

(machine,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(machine, [tf.config.LogicalDeviceConfiguration()] * 2)
from eokeras import losses

random = np.random.default_rng(0)
ids, logits = random.integers(0, 3, (2, 4, 5, 5)), random.normal(size=(2, 4, 5, 5, 3)).astype("float32")
ids[0, :2] = 255  # halves with unlike numbers of labels
loss = getattr(losses, "{name}")()
alone = [float(loss(*half)) for half in zip(ids, logits)]
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
spread = strategy.experimental_distribute_values_from_function
halves = [spread(lambda each: tf.constant(part[each.replica_id_in_sync_group])) for part in (ids, logits)]
found = strategy.reduce("SUM", strategy.run(tf.function(loss), args=halves), axis=None)
print(float(found), np.mean(alone))
"""


@pytest.mark.parametrize("name", ["LabelledCrossentropy", "LabelledDice"])
def test_replicas_share_the_loss(name):
    done = subprocess.run([sys.executable, "-c", SCRIPT.replace("{name}", name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = map(float, done.stdout.split()[-2:])
    assert found == pytest.approx(expected, rel=1e-5)
    assert expected > 0.1
