"""What pretraining without labels is worth on real Sentinel-2 pixels: EuroSAT, ten classes of 64 x 64 tiles.

    python -m tests.real.eurosat DATA RESULTS.json    # DATA holds eurosat-rgb and eurosat-ms, a folder per class;
                                                      # resumable seed by seed, from RESULTS.work

Run card
    question     accuracy of a probe and of fine-tuning on pretrained encoders minus that of the same network from
                 scratch, at 5 and 20 labels per class
    primary      SimCLR, fine-tuned, minus scratch, RGB, 5 labels per class, paired over seeds; the rest is exploratory
    data         eurosat-rgb: 20 tiles of each class serve to choose rates and nothing else; of the others a seed draws
                 50 of each class to test, the rest are the pool: pretraining sees its tiles without labels, training
                 those of them that have a label. Tiles have no place on the ground, so neighbours may be on both sides:
                 all contestants have that alike, and scores are too good for new places.
                 eurosat-ms: 13 tiles of each class, 13 bands; 5 to test, 5 or all 8 others to train
    contestants  ResNet-18 of width 16 (SimCLR) and a ViT (masked autoencoder), each beside its own twin from scratch
                 and, as a probe, beside random weights. For eurosat-ms the SimCLR encoder of the same seed is carried
                 over, its first layer by band name; pretraining left out all tiles of eurosat-ms
    training     equal steps for all; rate of each contestant and number of labels, one of three, by the tiles kept for
                 that, in the mean of three draws of labels, with the encoders of the first seed; eurosat-ms takes the
                 rates of 5 labels of RGB
    replicates   five seeds: of split, labels, weights and pretraining. The images are always the same two thousand, so
                 intervals tell of the method on these tiles, not of other ones

Sentinel-2 tiles: Helber et al. 2019, https://arxiv.org/abs/1709.00029
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import eokeras as eo
from eokeras import augment, evaluate, models, pretrain
from eokeras.evaluate.embeddings import pooled
from tests.real.tiles import per_class, read_tiles, split

RGB = ("B04", "B03", "B02")
MS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
SHOTS = {"rgb": (5, 20), "ms": (5, 8)}
RATES = (3e-4, 1e-3, 3e-3)
TUNING_DRAWS, STAGES = (100, 101, 102), 10
"""Draws of labels by which rates are chosen; stages of a training, after which the rate falls."""


@dataclass(frozen=True)
class Length:
    """How long things are trained."""

    pretraining: int = 600
    training: int = 200
    batch_size: int = 64


# ----------------------------------------------------------------------- Networks


def resnet(channels: int) -> keras.Model:
    return models.resnet((64, 64, channels), width=16, name="s2")


def vit(channels: int) -> keras.Model:
    return models.vit((64, 64, channels), patch_size=8, width=96, depth=4, mlp_width=192, name="s2")


ENCODERS = {"resnet": resnet, "vit": vit}
METHODS = {"SimCLR": "resnet", "MAE": "vit"}
"""Method -> the encoder that it pretrains."""


def pretrained(method: str, images: np.ndarray, seed: int, length: Length) -> tuple[keras.Model, dict]:
    """An encoder that has seen images without labels, and what that took."""
    keras.utils.set_random_seed(seed)
    encoder = ENCODERS[METHODS[method]](images.shape[-1])
    if method == "SimCLR":
        view = augment.chain(
            augment.random_resized_crop(area=(0.4, 1.0)), augment.dihedral(), augment.sometimes(0.5, jittered)
        )
        model, change = pretrain.ContrastivePretrainer(encoder, projection=(128, 64)), augment.views(view, view)
    else:
        model = pretrain.MaskedAutoencoder(encoder, decoder_width=64, decoder_depth=2, decoder_mlp_width=128, seed=seed)
        change = augment.chain(augment.random_resized_crop(area=(0.4, 1.0)), augment.dihedral())
    model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-3, length.pretraining)))
    batches = augmented({"s2": images}, change, seed, 2 * length.batch_size)
    guard = pretrain.CollapseGuard(batches)
    start = time.perf_counter()
    history = model.fit(
        batches, epochs=4, steps_per_epoch=max(1, length.pretraining // 4), verbose=0, callbacks=[guard]
    ).history
    seconds = round(time.perf_counter() - start, 1)
    return encoder, {"losses": history["loss"], "seconds": seconds, "collapsed": guard.collapsed}


def jittered(batch, seed):
    """Other light and other contrast of standardised numbers: a gain and an offset for every tile."""
    gain, offset = tf.unstack(tf.random.stateless_uniform((2, tf.shape(batch["s2"])[0], 1, 1, 1), seed, -0.3, 0.3))
    return {**batch, "s2": batch["s2"] * (1 + gain) + offset}


def augmented(inputs, change, seed, batch_size, labels=None) -> tf.data.Dataset:
    """Endless batches, shuffled and changed."""
    arrays = (inputs,) if labels is None else (inputs, labels)
    count = len(next(iter(inputs.values())))
    dataset = tf.data.Dataset.from_tensor_slices(arrays).shuffle(count, seed=seed).repeat().batch(batch_size)
    seeds = tf.data.Dataset.random(seed=seed).batch(2)

    def changed(parts, draw):
        return change(parts[0], draw), *parts[1:]

    return tf.data.Dataset.zip(dataset, seeds).map(changed).prefetch(2)


# ----------------------------------------------------------------------- Scores


@cache
def compiled(architecture: str, channels: int, classes: int, is_pretrained: bool) -> keras.Model:
    """A network to be trained again and again: tracing it takes as long as training it."""
    encoder = ENCODERS[architecture](channels)
    model = headed(encoder, classes)
    optimizer = models.LayerwiseAdamW(models.layer_rates(encoder)) if is_pretrained else keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def headed(encoder: keras.Model, classes: int) -> keras.Model:
    return models.multitask(encoder, {"class": models.scene_head(classes)})


@dataclass(frozen=True)
class Contestant:
    """What makes an encoder to begin with, of which kind it is, and whether it was pretrained."""

    make: Callable[[], keras.Model]
    architecture: str
    is_pretrained: bool = False

    def trained_score(self, train, test, classes: int, rate: float, seed: int, length: Length) -> float:
        """Accuracy after training all weights on labelled tiles; of pretrained ones early layers at lower rates."""
        model = compiled(self.architecture, train[0].shape[-1], classes, self.is_pretrained)
        keras.utils.set_random_seed(seed)
        model.set_weights(headed(self.make(), classes).get_weights())
        for variable in model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        images, labels = train
        batches = augmented({"s2": images}, augment.dihedral(), seed, length.batch_size, {"class": labels})
        stage = max(1, length.training // STAGES)
        cosine = keras.callbacks.LearningRateScheduler(lambda epoch: rate * (1 + np.cos(np.pi * epoch / STAGES)) / 2)
        model.fit(batches, epochs=STAGES, steps_per_epoch=stage, verbose=0, callbacks=[cosine])
        logits = model.predict({"s2": test[0]}, verbose=0)["class"]
        return float(np.mean(logits.argmax(axis=-1) == test[1]))


def probed_score(encoder, train, test) -> float:
    """Accuracy of logistic regression on frozen features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = pooled(encoder)
    known, asked = (features.predict({"s2": part[0]}, verbose=0) for part in (train, test))
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known, train[1])
    return float(np.mean(reader.predict(asked) == test[1]))


def copy_of(encoder: keras.Model) -> keras.Model:
    """The same weights in a model of its own, to be trained."""
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    return copy


def carried_over(encoder: keras.Model) -> keras.Model:
    """An encoder for all bands that begins with the weights of one for RGB."""
    model = resnet(len(MS))
    models.load_by_band(model, encoder, MS, RGB)
    return model


# ----------------------------------------------------------------------- The run


def contestants(kind: str, encoders: dict[str, keras.Model]) -> dict[str, Contestant]:
    """Each one is trained and probed."""
    if kind == "ms":
        begin = partial(carried_over, encoders["SimCLR"])
        return {
            "scratch, ResNet": Contestant(partial(resnet, len(MS)), "resnet"),
            "SimCLR, by band": Contestant(begin, "resnet", is_pretrained=True),
        }
    return {
        "scratch, ResNet": Contestant(partial(resnet, len(RGB)), "resnet"),
        "scratch, ViT": Contestant(partial(vit, len(RGB)), "vit"),
        **{
            method: Contestant(partial(copy_of, encoder), METHODS[method], is_pretrained=True)
            for method, encoder in encoders.items()
        },
    }


def chosen_rates(kind, tiles, found, length, progress) -> dict[str, float]:
    """`<contestant>, <labels per class>` -> the best rate of three, by tiles that serve nothing else."""
    kept, pool, _ = split(tiles, kind, TUNING_DRAWS[0])
    asked, classes, rates = tiles.at(kept), len(tiles.classes), {}
    for shots, (name, contestant) in product(SHOTS[kind], found.items()):
        scores = dict.fromkeys(RATES, 0.0)
        for rate, draw in product(RATES, TUNING_DRAWS):
            train = tiles.at(per_class(tiles.labels, pool, shots, np.random.default_rng(draw)))
            score = contestant.trained_score(train, asked, classes, rate, draw, length)
            scores[rate] += score / len(TUNING_DRAWS)
        rates[f"{name}, {shots}"] = max(scores, key=scores.get)
        progress(f"{kind}, {shots} labels, {name}: rates {scores}")
    return rates


def scores_of(kind, tiles, found, rates, seed, length, progress) -> dict[str, float]:
    """`<contestant>, <how>, <labels>` -> accuracy, for one seed."""
    _, pool, test = split(tiles, kind, seed)
    asked, classes, table = tiles.at(test), len(tiles.classes), {}
    for shots, (name, contestant) in product(SHOTS[kind], found.items()):
        train = tiles.at(per_class(tiles.labels, pool, shots, np.random.default_rng(seed)))
        keras.utils.set_random_seed(seed)
        table[f"{name}, probe, {shots}"] = probed_score(contestant.make(), train, asked)
        score = contestant.trained_score(train, asked, classes, rates[f"{name}, {shots}"], seed, length)
        table[f"{name}, trained, {shots}"] = score
    progress(f"{kind}, seed {seed}: {json.dumps(table)}")
    return table


def run(data: Path, seeds, length: Length, work: Path, progress=print) -> dict:
    """Scores of all contestants and seeds, and their differences from scratch; goes on from what lies in `work`."""
    tiles = {kind: read_tiles(data / f"eurosat-{kind}") for kind in SHOTS}
    rates, found = None, {}
    for seed in seeds:
        one_seed = partial(_seed_run, tiles, seed, rates, length, progress)
        card = card_of(tiles, length, rates)
        found[seed] = remember(work / f"seed {seed}.json", card, one_seed)
        rates = rates or found[seed]["rates"]
    rows = {kind: [each["accuracy"][kind] for each in found.values()] for kind in SHOTS}
    return {
        "seeds": list(seeds),
        "steps": {"pretraining": length.pretraining, "training": length.training},
        "rates": rates,
        "pretraining": [each["pretraining"] for each in found.values()],
        "accuracy": {kind: {name: [row[name] for row in table] for name in table[0]} for kind, table in rows.items()},
        "differences": {kind: differences(kind, table) for kind, table in rows.items()},
        "minutes": round(sum(each["minutes"] for each in found.values()), 1),
    }


def _seed_run(tiles, seed, rates, length, progress) -> dict:
    """Pretrains, chooses rates where none are given, and scores."""
    start = time.perf_counter()
    _, pool, _ = split(tiles["rgb"], "rgb", seed)
    shared = np.isin(tiles["rgb"].names, tiles["ms"].names)
    images = tiles["rgb"].images[pool[~shared[pool]]]
    found = {method: pretrained(method, images, seed, length) for method in METHODS}
    card = {method: card for method, (_, card) in found.items()} | {"pool": len(images)}
    progress(f"seed {seed}: {card}")
    raced = {kind: contestants(kind, {method: encoder for method, (encoder, _) in found.items()}) for kind in SHOTS}
    if rates is None:
        rates = {"rgb": chosen_rates("rgb", tiles["rgb"], raced["rgb"], length, progress)}
        rates["ms"] = borrowed(rates["rgb"])
    tables = {kind: scores_of(kind, tiles[kind], raced[kind], rates[kind], seed, length, progress) for kind in SHOTS}
    minutes = round((time.perf_counter() - start) / 60, 1)
    return {"accuracy": tables, "pretraining": card, "rates": rates, "minutes": minutes}


def card_of(tiles, length: Length, rates: dict | None) -> dict:
    """All that the scores of a seed hang on beside the seed; `rates` of None: it chooses them itself."""
    names = {kind: hashlib.sha256("".join(each.names).encode()).hexdigest()[:16] for kind, each in tiles.items()}
    card = {"tiles": names, "length": asdict(length), "tried": RATES, "shots": SHOTS, "rates": rates}
    return json.loads(json.dumps(card | {"eokeras": eo.__version__}))


def remember(file: Path, card: dict, compute: Callable[[], dict]) -> dict:
    """What `compute` gave, now or in a run before of the same card."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".incomplete")
        unfinished.write_text(json.dumps({"card": card, **compute()}), encoding="utf-8")
        unfinished.replace(file)
    found = json.loads(file.read_text(encoding="utf-8"))
    if found["card"] != card:
        raise SystemExit(f"{file} must be of this run. Received: {found['card']}, not {card}. Remove it to begin anew.")
    return found


def borrowed(rates: dict[str, float]) -> dict[str, float]:
    """Rates of eurosat-ms, of which no tiles are kept: those of RGB, at 5 labels and, for 8, at 5 as well."""
    alike = {"scratch, ResNet": "scratch, ResNet", "SimCLR, by band": "SimCLR"}
    return {f"{name}, {shots}": rates[f"{other}, 5"] for name, other in alike.items() for shots in SHOTS["ms"]}


def differences(kind: str, rows) -> dict:
    """Every pretrained contestant minus its twin from scratch, trained and probed alike, over seeds."""
    twins = {"SimCLR": "scratch, ResNet", "MAE": "scratch, ViT", "SimCLR, by band": "scratch, ResNet"}
    table = {}
    for name, twin in twins.items():
        for shots in SHOTS[kind]:
            for how in ("trained", "probe"):
                first = [row.get(f"{name}, {how}, {shots}") for row in rows]
                if None in first:
                    continue
                for against in ("trained", "probe") if how == "probe" else ("trained",):
                    second = [row[f"{twin}, {against}, {shots}"] for row in rows]
                    words = {"trained": "scratch", "probe": "random features"}[against]
                    compared = evaluate.paired_over_replicates(first, second, metric="accuracy")
                    table[f"{name}, {how}, {shots}, minus {words}"] = compared.to_dict()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="directory of eurosat-rgb and eurosat-ms")
    parser.add_argument("results", type=Path, help="JSON file to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--short", action="store_true", help="a few steps, to see that it runs: scores mean nothing")
    arguments = parser.parse_args()
    length = Length(8, 4, 16) if arguments.short else Length()
    work = arguments.results.with_suffix(".work")
    content = run(arguments.data, arguments.seeds, length, work, partial(print, flush=True))
    content |= {"short": arguments.short, "eokeras": eo.__version__}
    arguments.results.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
