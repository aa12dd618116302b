"""Training as a folder: it can be interrupted, goes on, and knows what it was made of."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras import ben_ge, run_folder
from eokeras.__main__ import main, make_parser
from eokeras.errors import InvalidArgumentError, RecordsError, TargetExistsError, TrainingDivergedError
from eokeras.run_folder import Configuration
from tests.trees import write_tree

ROOT = Path(eo.__file__).parents[1]


SMALL = {"width": 2, "epochs": 2, "batch_size": 3, "inputs": ("s1",), "targets": ("season",)}  # quick to trace


def small(records, **options):
    return Configuration(str(records), **(SMALL | options))


@pytest.fixture(scope="module")
def finished(known_records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return run_folder.train(small(known_records.path), folder), folder


def test_a_finished_run_holds_what_it_promises(known_records, finished):
    model, folder = finished
    assert sorted(path.name for path in folder.iterdir()) == ["configuration.json", "history.csv", "model.keras"]
    content = json.loads((folder / "configuration.json").read_text())
    assert content["fingerprint"] == eo.load_schema(known_records.path).fingerprint
    assert run_folder.read_configuration(folder) == small(known_records.path)
    history = run_folder.read_history(folder)
    assert [row["epoch"] for row in history] == [0, 1]
    assert {"loss", "val_loss", "mean_absolute_error"} <= set(history[0])
    loaded = run_folder.load_model(folder)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_head_of_elevation_counts_in_the_relief_of_the_training_patches(known_records):
    schema = eo.load_schema(known_records.path)
    model = run_folder.build_model(small(known_records.path, targets=("elevation",)), schema)
    layer = model.get_layer("elevation")
    assert layer.scale == schema.statistics["elevation"]["std"] > 800  # heights of -10 to 3000 m at random
    assert model.output["elevation"].shape == (None, None, None, 1)


def test_a_finished_run_is_not_trained_again(known_records, finished):
    before = (finished[1] / "model.keras").stat().st_mtime_ns
    run_folder.train(small(known_records.path), finished[1])
    assert (finished[1] / "model.keras").stat().st_mtime_ns == before


def test_evaluate_and_export(finished, tmp_path):
    scores = run_folder.evaluate_run(finished[1], "test")
    content = json.loads((finished[1] / "scores-test.json").read_text())
    assert content["tasks"]["season"]["metrics"]["mae"]["value"] == pytest.approx(
        scores.tasks["season"].estimates["mae"].value
    )
    assert {other["name"] for other in content["baselines"]} >= {"median", "random forest on ERA-5"}
    path = run_folder.export_run(finished[1], tmp_path / "exported")
    assert (path / "saved_model.pb").is_file()


@pytest.mark.usefixtures("eagerly")
def test_a_label_budget_is_kept_and_counts_everywhere(known_records, tmp_path):
    """From the command line: three of six labels to train on and for the baselines, two of three to validate on."""
    budget = {"label_fraction": 0.5, "label_draw": "clustered", "label_seed": 3}
    words = ["--inputs", "s1", "--targets", "season", "--width", "2", "--epochs", "1", "--batch-size", "3"]
    words += ["--label-fraction", "0.5", "--label-draw", "clustered", "--label-seed", "3"]
    main(make_parser().parse_args(["train", str(known_records.path), str(tmp_path / "run"), *words]))
    content = json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert {name: content[name] for name in budget} == budget
    configuration = run_folder.read_configuration(tmp_path / "run")
    assert configuration == small(known_records.path, epochs=1, **budget)
    drawn = ben_ge.draw_labels(known_records.path, **budget).patches
    assert (ids(configuration.dataset("train")), ids(configuration.dataset("val"))) == (drawn["train"], drawn["val"])

    scores = run_folder.evaluate_run(tmp_path / "run")
    assert len(scores.patch_ids) == 3  # all of test
    seasons = {i: features["season"] for i, features in known_records.features.items()}
    median = np.median([seasons[i] for i in drawn["train"]])
    assert median != np.median([seasons[i] for i in ids(small(known_records.path).dataset("train"))])
    expected = np.mean([abs(seasons[i] - median) for i in scores.patch_ids])
    (baseline,) = (other for other in scores.baselines if other.name == "median")
    assert baseline.tasks["season"].estimates["mae"].value == pytest.approx(expected, rel=1e-5)
    with pytest.raises(TargetExistsError, match=r"label_fraction: 0\.5 there, None now"):
        run_folder.train(small(known_records.path, epochs=1), tmp_path / "run")


def ids(data):
    batches = data.recipe(metadata=("patch_id",)).as_numpy_iterator()
    return tuple(sorted(i.decode() for *_, metadata in batches for i in metadata["patch_id"]))


@pytest.mark.parametrize("budget", [{"label_fraction": 2.0}, {"label_draw": "random"}, {"label_seed": -1}])
def test_a_refused_budget_takes_no_folder(known_records, tmp_path, budget):
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(budget))}` must be"):
        run_folder.train(small(known_records.path, **budget), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_configuration_of_an_earlier_version(known_records, finished, tmp_path):
    content = json.loads((finished[1] / "configuration.json").read_text())
    older = {name: value for name, value in content.items() if not name.startswith("label_")}
    (tmp_path / "configuration.json").write_text(json.dumps(older))
    assert run_folder.read_configuration(tmp_path) == small(known_records.path)


def test_killed_training_goes_on_as_if_it_had_never_been(known_records, tmp_path, monkeypatch):
    code = textwrap.dedent("""
        import json, sys, time, keras
        from eokeras import run_folder
        class Stall(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if len(run_folder.read_history(sys.argv[2])) == 2:
                    print("two epochs", flush=True)
                    time.sleep(60)
        run_folder.EpochLines = Stall
        configuration = run_folder.Configuration(sys.argv[1], **json.loads(sys.argv[3]), epochs=4)
        run_folder.train(configuration, sys.argv[2], progress=True)
    """)
    folder = tmp_path / "run"
    options = json.dumps({name: value for name, value in SMALL.items() if name != "epochs"})
    command = [sys.executable, "-c", code, str(known_records.path), str(folder), options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert any("two epochs" in line for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.keras").exists()
    with pytest.raises(RecordsError, match="training has not finished"):
        run_folder.load_model(folder)
    before = (folder / "history.csv").read_text().splitlines()
    assert len(before) == 3
    # As if killed later, between the line of the third epoch and the backup of its weights: the epoch is run again.
    with (folder / "history.csv").open("a") as file:
        file.write(",".join(["2", *before[2].split(",")[1:]]) + "\n")
    steps_at_epoch_begin = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            steps_at_epoch_begin.append((epoch, int(self.model.optimizer.iterations)))

    monkeypatch.setattr(run_folder, "EpochLines", Watch)
    resumed = run_folder.train(small(known_records.path, epochs=4), folder, progress=True)
    after = (folder / "history.csv").read_text().splitlines()
    assert after[:3] == before  # nothing done twice
    assert [row["epoch"] for row in run_folder.read_history(folder)] == [0, 1, 2, 3]
    assert steps_at_epoch_begin == [(2, 4), (3, 6)]  # two batches an epoch: the optimizer counted on
    unbroken = run_folder.train(small(known_records.path, epochs=4), tmp_path / "unbroken")
    for ours, theirs in zip(resumed.weights, unbroken.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=ours.path)


def test_same_seed_gives_the_same_model(known_records, tmp_path):
    first, second, other = (
        run_folder.train(small(known_records.path, epochs=1, seed=seed), tmp_path / name)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    pairs = list(zip(first.weights, second.weights, other.weights, strict=True))
    assert all(np.allclose(a, b, atol=1e-5) for a, b, _ in pairs)
    assert not all(np.allclose(a, c, atol=1e-5) for a, _, c in pairs)


def test_divergence_is_an_error_and_leaves_no_model(known_records, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"Training diverged: loss (nan|inf)"):
        run_folder.train(small(known_records.path, epochs=4, learning_rate=1e30), tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists()
    assert all(np.isfinite(row["loss"]) for row in run_folder.read_history(tmp_path / "run"))


def test_a_refused_start_takes_no_folder(tmp_path):
    write_tree(tmp_path / "tree", 3, without=("sentinel_1",))
    records = ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    with pytest.raises(RecordsError, match="lacks what 's1' is made from"):
        run_folder.train(small(records), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_torn_last_line_of_the_history_is_dropped(known_records, finished, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("configuration.json", "history.csv"):
        (folder / name).write_text((finished[1] / name).read_text())
    whole = (folder / "history.csv").read_text()
    (folder / "history.csv").write_text(whole + "1,0.2")
    assert len(run_folder.read_history(folder)) == 2
    run_folder.train(small(known_records.path), folder)
    assert (folder / "history.csv").read_text().startswith(whole)
    assert [row["epoch"] for row in run_folder.read_history(folder)] == [0, 1]


def test_another_configuration_is_refused(known_records, finished):
    with pytest.raises(TargetExistsError, match=r"holds another run \(epochs: 2 there, 5 now\)"):
        run_folder.train(small(known_records.path, epochs=5), finished[1])


def test_a_folder_with_other_things_is_refused(known_records, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(TargetExistsError, match="new, empty or a run folder"):
        run_folder.train(small(known_records.path), tmp_path)
    assert os.listdir(tmp_path) == ["mine"]


def test_no_run_here(tmp_path):
    with pytest.raises(RecordsError, match=r"must be a run folder.*python -m eokeras train"):
        run_folder.evaluate_run(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fusion": "middle"}, r"`fusion` must be one of \['late', 'early'\]"),
        ({"inputs": ("s3",)}, "`inputs` may hold"),
        ({"inputs": ()}, "`inputs`"),
        ({"targets": ("crop",)}, "`targets` may hold"),
        ({"targets": ()}, "`targets`"),
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"width": 1.5}, "`width` must be a positive integer"),
        ({"learning_rate": -1.0}, "`learning_rate` must be positive"),
        ({"loss_weights": {"crop": 1.0}}, "`loss_weights` may hold"),
    ],
)
def test_odd_configurations_are_refused(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        small("records", **options)
