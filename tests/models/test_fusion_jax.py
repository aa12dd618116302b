"""One step of `fit` of every kind of fusion on the JAX backend, in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

CODE = textwrap.dedent("""
    import json
    import keras, numpy as np
    from eokeras.losses import for_tasks
    from eokeras.models import map_head, multitask, scene_head
    from tests.models.fusion_cases import KINDS, data
    assert keras.backend.backend() == "jax"
    keras.utils.set_random_seed(0)  # unseeded, a modality is now and then dropped in all four patches
    rng = np.random.default_rng(0)
    targets = {"climate_zone": np.array([0, 11, 255, 3], "int32"),
               "land_cover_map": rng.integers(0, 11, (4, 16, 16)).astype("int32")}
    changes = {}
    for kind, build in KINDS.items():
        model = multitask(build(), {
            "climate_zone": scene_head(12, level="stride_2"), "land_cover_map": map_head(11, level="stride_1")})
        model.compile(keras.optimizers.SGD(0.1), for_tasks(targets))
        before = [np.array(weight) for weight in model.trainable_variables]
        loss = model.fit(data(), targets, batch_size=4, verbose=0).history["loss"][0]
        moved = [float(np.abs(np.array(w) - b).max()) for w, b in zip(model.trainable_variables, before)]
        changes[kind] = [loss, len(moved), sum(change > 0 for change in moved)]
    print(json.dumps(changes))
""")


def test_every_kind_takes_a_step_on_jax():
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # halves the time to compile
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    changes = json.loads(done.stdout.splitlines()[-1])
    assert list(changes) == ["early", "late", "middle", "gated", "attention", "film", "drop"]
    for kind, (loss, weights, moved) in changes.items():
        assert 0 < loss < 50, kind
        # FiLM's gammas and betas start at zero: in the first step its hidden layer learns nothing.
        assert moved == weights - (2 if kind == "film" else 0), kind
