"""The rules that need losses only train and resume on the JAX backend; the others say that they cannot."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.balance.cases import Average, Fixed, Uncertainty, simulated

ROOT = Path(__file__).parents[2]

CODE = textwrap.dedent("""
    import json, sys
    import keras
    from eokeras import balance
    from tests.balance.cases import learner, quadratic, quadratic_batches, theta_of
    assert keras.backend.backend() == "jax"
    batches = quadratic_batches({"a": [1.0], "b": [-2.0]})
    rules = {"fixed": balance.FixedWeights({"a": 1.0, "b": 0.25}), "uncertainty": balance.UncertaintyWeighting(),
             "average": balance.DynamicWeightAverage(), "random": balance.RandomLossWeighting(1)}
    results = {}
    for kind, rule in rules.items():
        model = learner(rule, [0.5], run_eagerly=False)
        fit = lambda model, start, end: model.fit(
            batches, validation_data=batches, initial_epoch=start, epochs=end, verbose=0).history
        first = fit(model, 0, 3)
        model.save(sys.argv[1])
        last = fit(model, 3, 5)
        resumed = keras.models.load_model(sys.argv[1])
        again = fit(resumed, 3, 5)
        history = {key: first[key] + last[key] for key in first}
        results[kind] = [history, again == last, theta_of(model).tolist(), theta_of(resumed).tolist()]
    for name in ("PCGrad", "GradNorm"):
        try:
            balance.balanced(quadratic([0.5]), getattr(balance, name)())
        except ValueError as error:
            results[name] = str(error)
    try:
        balance.GradientCosine(batches)
    except ValueError as error:
        results["GradientCosine"] = str(error)
    print(json.dumps(results))
""")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, str(tmp_path_factory.mktemp("jax") / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("kind", "transcript"),
    [("fixed", lambda: Fixed(1.0, 0.25)), ("uncertainty", lambda: Uncertainty(2)), ("average", lambda: Average(2))],
)
def test_rules_follow_their_transcript_on_jax(results, kind, transcript):
    history, _, theta, _ = results[kind]
    expected, weights = simulated(transcript(), [0.5], {"a": [1.0], "b": [-2.0]}, epochs=5)
    np.testing.assert_allclose(theta, expected, rtol=1e-4)
    np.testing.assert_allclose(np.transpose([history["weight_a"], history["weight_b"]]), weights, rtol=1e-4)


@pytest.mark.parametrize("kind", ["fixed", "uncertainty", "average", "random"])
def test_training_resumes_on_jax(results, kind):
    history, same_history, theta, resumed = results[kind]
    assert same_history
    assert resumed == theta
    assert history["val_loss"] == pytest.approx(np.add(history["val_a_loss"], history["val_b_loss"]), rel=1e-5)


def test_random_weights_on_jax(results):
    weights = np.array([results["random"][0][f"weight_{task}"] for task in "ab"])
    np.testing.assert_allclose(weights.sum(axis=0), 2, rtol=1e-5)
    assert len(np.unique(weights[0])) == 5


@pytest.mark.parametrize("name", ["PCGrad", "GradNorm", "GradientCosine"])
def test_what_needs_gradients_of_tasks_says_so_on_jax(results, name):
    assert results[name].startswith(f"`{name}` needs the gradient of each task")
    assert "KERAS_BACKEND=tensorflow" in results[name]
