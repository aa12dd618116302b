"""The whole pipeline feeds a fit on the JAX backend: records -> make_dataset -> fusion model -> scores."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import eokeras as eo

ROOT = Path(eo.__file__).parents[1]

CODE = textwrap.dedent("""
    import json, sys
    import keras
    import eokeras as eo
    assert keras.backend.backend() == "jax"
    tasks = ("climate_zone", "land_cover_map", "season")
    read = lambda split, **options: eo.make_dataset(sys.argv[1], split, ("s2", "s1"), tasks, batch_size=3, **options)
    schema = eo.load_schema(sys.argv[1])
    keras.utils.set_random_seed(0)
    encoders = {name: eo.models.unet((120, 120, schema[name].shape[-1]), width=2, name=name) for name in ("s2", "s1")}
    heads = {"climate_zone": eo.models.scene_head(12), "land_cover_map": eo.models.map_head(11),
             "season": eo.models.regression_head()}
    model = eo.models.multitask(eo.models.late_fusion(encoders), heads)
    model.compile("adam", loss=eo.losses.for_tasks(tasks, schema), metrics=eo.metrics.for_tasks(tasks, schema))
    train = read("train", shuffle=True, seed=0, augment=eo.augment.dihedral())
    history = model.fit(train, validation_data=read("val"), epochs=2, verbose=0).history
    scores = eo.evaluate.score(model, read("test"), schema)
    print(json.dumps([history["loss"], history["val_loss"], scores.tasks["season"].estimates["mae"].value]))
""")


def test_fit_and_score_on_jax(known_records):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, str(known_records.path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, validation_losses, error = json.loads(done.stdout.splitlines()[-1])
    assert losses[1] < losses[0]
    assert all(0 < loss < 20 for loss in losses + validation_losses)
    assert 0 < error < 3
