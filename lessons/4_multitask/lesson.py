# %% [markdown] tags=["core"]
# # 4 · Multitask learning
#
# <!-- badge -->
#
# **One image, three questions: should one network answer all, and how do we know that sharing helps?**
#
# About an hour with the exercises. You need lesson 2 (training, intervals, baselines); exercise 1 uses the fusion of lesson 3.
# Cells under a heading that says *extra* can be left out; words in *italics* are in the course's glossary.

# %% tags=["setup"]
LESSON = "4_multitask"
import importlib.util
import os
import subprocess
import sys

if not importlib.util.find_spec("eokeras"):  # in Colab: fetch and install the course; Colab's TensorFlow stays
    if not os.path.exists("eokeras-course"):
        source = os.environ.get("EOKERAS_SOURCE", "{{ repository }}")
        subprocess.run(["git", "clone", "-q", source, "eokeras-course"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./eokeras-course"], check=True)
if os.path.isdir(f"eokeras-course/lessons/{LESSON}"):
    os.chdir(f"eokeras-course/lessons/{LESSON}")
# Faster on most CPUs, and quieter; what you have set yourself stays.
os.environ.update({"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **os.environ})

# %% tags=["core"]
import json
import os
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from IPython.display import SVG, display

import eokeras as eo
from eokeras import balance, evaluate, models
from eokeras.callbacks import BestEpochByTask
from eokeras.plot.style import finish

# %% tags=["core"]
plt.ion()  # else a notebook draws no figure of the library before the first one of pyplot
FAST = os.environ.get("EOKERAS_FAST") == "1"
DATA = "simulated"  # or "ben-ge-800": real patches, 183 MB to download

# %% [markdown] tags=["core"]
# ## One picture, three questions
#
# In which climate does this place lie? What covers each pixel? What time of the year is it? Three people ask about the same
# twelve bands of Sentinel-2. The answers are of three kinds: a *class* for the patch, a *map*, a *number* (season: 0 at the
# winter solstice, 1 at the summer solstice). **Write down:** which two of the three questions need the most similar look at the
# picture?

# %% tags=["core"]
work = Path("work")
work.mkdir(exist_ok=True)
tfds.disable_progress_bar()


def get_tree():
    """The directory of the patches; made or downloaded only where it is missing."""
    if DATA == "ben-ge-800":
        return eo.ben_ge.download("ben-ge-800", work)
    tree = work / ("ben-ge-sim-fast" if FAST else "ben-ge-sim")
    if not tree.exists():
        size = {"patches": 32, "tiles": 32, "processes": 1} if FAST else {"patches": 400, "tiles": 56}
        eo.ben_ge.simulate(tree, seed=0, **size)
    return tree


# %% tags=["core"]
tree = get_tree()
records = work / f"records-{tree.name}"
if not records.exists():  # tiles and dates held out together, because season is constant over a date
    eo.ben_ge.convert(tree, records, fractions=(0.5, 0.1, 0.4))
schema = eo.load_schema(records)
print(*schema.split["notes"], sep="\n")
if schema.world:
    print(schema.world["statement"])

# %% tags=["core"]
TASKS = ("climate_zone", "land_cover_map", "season")
look = {"calibrate": None, "batch_size": 4, "shuffle": True, "seed": 1, "metadata": ("date", "tile")}
stored = eo.make_dataset(records, "train", ("s2",), TASKS, **look)
eo.plot.samples(next(iter(stored)), schema, patches=3)

# %% [markdown] tags=["core"]
# Zone and season stand below each column. A patch has 14,400 answers for the map, one for the zone and one for the season; and patches
# of one tile share their zone, those of one date share their season exactly. So the three tasks differ most in how many
# *independent* labels they have.

# %% [markdown] tags=["core"]
# ## The idea: one backbone, three heads
#
# $$\hat y_t = g_t\big(f(x)\big), \qquad t = 1, \dots, T$$
#
# One *backbone* $f$ computes features $h = f(x)$ once. Each task $t$ has a small *head* $g_t$ that reads them. All tasks train
# $f$; each task trains its own $g_t$.

# %% tags=["core"]
display(SVG("figures/idea.svg"))

# %% tags=["core"]
WIDTH = 2 if FAST else 4
heads = {
    "climate_zone": models.scene_head(12),
    "land_cover_map": models.map_head(11),
    "season": models.regression_head(),
}


def build(heads, width=WIDTH):
    """A U-Net for Sentinel-2 under any heads, with fresh weights: always the same ones."""
    keras.utils.set_random_seed(0)
    return models.multitask(models.unet(schema["s2"].shape, width, "s2"), heads)


# %% tags=["core"]
def count(*networks):
    """Weights that training changes, of all `networks` together."""
    return sum(int(tf.size(weight)) for network in networks for weight in network.trainable_weights)


model = build(heads)
for task, output in model.output.items():
    print(f"{task:15s} {output.shape}")  # None: number of patches, and height and width are free
backbone = model.get_layer("s2_unet")
print(f"{count(backbone):,} of {count(model):,} weights are in the backbone: {count(backbone) / count(model):.1%}")

# %% [markdown] tags=["core"]
# The heads hold hardly anything. So the three tasks meet in nearly every weight, and a gradient step for one moves the
# ground under the others. That is the hope of multitask learning, and its risk.
#
# ## The tutorial's set-up
#
# The tutorial that this course follows builds the U-Net at width 64 with these three heads, each of which flattens or maps the
# 64 channels. **Predict:** one network with three heads, or three networks with one head each: how many times more weights have
# the three?


# %% tags=["core"]
def unet_weights(channels, width):  # lesson 3, exercise 1
    return 4212 * width**2 + (207 + 9 * channels) * width


pixels = 120 * 120  # of a patch; climate zone and season flatten one channel of it
head_weights = {
    "climate_zone": (64 + 1) + (pixels * 12 + 12),
    "land_cover_map": 64 * 11 + 11,
    "season": (64 + 1) + (pixels + 1),
}
one = unet_weights(12, 64) + sum(head_weights.values())
three = 3 * unet_weights(12, 64) + sum(head_weights.values())
print(f"one network {one / 1e6:.2f} M, three networks {three / 1e6:.2f} M: {three / one:.2f} times as many")

# %% [markdown] tags=["core"]
# 17.46 million against 52.01 million. Do not believe a formula that you can count. `single_task_twins` builds, for each task,
# the same network with one head; in fast mode at a small width only.

# %% tags=["core"]
tutorial_heads = {
    "climate_zone": models.scene_head(12, "flatten"),
    "land_cover_map": models.map_head(11),
    "season": models.regression_head("flatten"),
}


def build_tutorial(heads, width):
    return models.multitask(models.unet((120, 120, 12), width, "s2"), heads)


width = 1 if FAST else 64
twins = models.single_task_twins(build_tutorial, tutorial_heads, width)
print(f"width {width}: {count(build_tutorial(tutorial_heads, width)):,} and {count(*twins.values()):,}")
del twins  # some hundred megabytes

# %% [markdown] tags=["core"]
# A third of the memory, and, as we shall see, of the time to predict. The tutorial concludes that sharing saves weights, which is
# arithmetic, and that "performance is (typically) better", which is a claim. It printed no comparison. The rest of this lesson
# is about what such a comparison takes.

# %% [markdown] tags=["core"]
# ## Exercise 1: two sensors under three heads
#
# Build the multitask model for Sentinel-2 **and** Sentinel-1: one fused backbone of lesson 3 (any rung you like), the same
# three `heads`. `shapes` holds the shapes of both inputs. Set `answer_1` to the model. **Predict:** when the heads read late
# fusion's features, do they have more weights than before, fewer, or as many?

# %% tags=["core"]
shapes = {name: schema[name].shape for name in ("s2", "s1")}
both, _ = next(iter(eo.make_dataset(records, "test", ("s2", "s1"), TASKS, batch_size=4, presence=True)))


def looks_at(network, inputs, task):
    """The inputs that change the answer to a task when they are taken from another patch."""
    before, found = network(inputs)[task], set()
    for name in inputs:
        after = network({**inputs, name: tf.reverse(inputs[name], [0])})[task]
        found |= set() if np.allclose(before, after, atol=1e-7) else {name}
    return found


# %% tags=["core"]
def shared_by_all(network, inputs):
    """How many weights the answers to all tasks depend on."""
    with tf.GradientTape(persistent=True) as tape:
        answers = list(network(inputs).values())
    weights = network.trainable_weights
    reached = [[gradient is not None for gradient in tape.gradient(answer, weights)] for answer in answers]
    return sum(int(tf.size(weight)) for weight, by_all in zip(weights, np.all(reached, axis=0), strict=True) if by_all)


print(looks_at(model, both, "season"), f"{shared_by_all(model, both):,} weights shared by all tasks")

# %% tags=["core", "exercise"]
answer_1 = None
# BEGIN SOLUTION
encoders = {name: models.unet(shape, WIDTH, name) for name, shape in shapes.items()}
answer_1 = models.multitask(models.late_fusion(encoders), heads)
# END SOLUTION

# %% tags=["core"]
WANTED = {"climate_zone": (4, 12), "land_cover_map": (4, 120, 120, 11), "season": (4, 1)}
if answer_1 is None:
    print(
        "Hint: `models.late_fusion` takes a dict of name -> U-Net and gives a backbone; `multitask` takes any backbone."
    )
elif not isinstance(answer_1, keras.Model) or not {"s2", "s1"} <= {tensor.name for tensor in answer_1.inputs}:
    print("Not yet: `answer_1` must be a model with the inputs `s2` and `s1`.")
elif {task: tuple(y.shape) for task, y in answer_1(both).items()} != WANTED:
    print("Not yet: it must answer all three tasks, a class, a map and a number, as `model` does.")
elif blind := [task for task in TASKS if not {"s2", "s1"} <= looks_at(answer_1, both, task)]:
    print(f"Not yet: one of the sensors changes nothing in {', '.join(blind)}.")
elif not shared_by_all(answer_1, both):
    print("Not yet: the tasks share no weight. These are several networks in one wrapping.")
else:
    print(f"Right: {shared_by_all(answer_1, both):,} of {count(answer_1):,} weights serve all three tasks.")

# %% [markdown] tags=["core"]
# Fusion joins *inputs* before the backbone ends, multitask learning parts *outputs* after it; the two do not know of each
# other, since every backbone of the course gives the same levels. Late fusion hands the heads twice the channels, so their
# weights about double; and they still hardly count. From here on we stay with Sentinel-2 alone: one change at a time.

# %% [markdown] tags=["core"]
# ## Three answers need three metrics
#
# **Accuracy**: share of patches with the right class. **Mean absolute error** (MAE): mean of $|y - \hat y|$; *less* is better.
# For maps, the **intersection over union** of a class $c$, then the mean over classes:
#
# $$\mathrm{IoU}_c = \frac{TP_c}{TP_c + FP_c + FN_c}$$
#
# pixels rightly called $c$, over pixels that are $c$ or are called $c$. **By hand:** a map of six pixels, five trees and one
# water; a lazy network says "trees" everywhere. Its pixel accuracy? Its mean IoU?

# %% tags=["core"]
truth, said = np.array([[0, 0, 0], [0, 0, 1]]), np.zeros((2, 3), int)  # 0 trees, 1 water
for name, metric in (("pixel accuracy", eo.metrics.Accuracy(2)), ("mean IoU", eo.metrics.MeanIoU(2))):
    metric.update_state(truth[None], tf.one_hot(said, 2)[None])  # reference (1, 2, 3), logits (1, 2, 3, 2)
    print(f"{name:15s} {float(metric.result()):.3f}")
zone, zone_said = np.array([3, 3, 7, 8]), np.array([3, 7, 7, 8])
print(f"accuracy        {np.mean(zone == zone_said):.3f}")
season, season_said = np.array([0.9, 0.5, 0.1]), np.array([0.7, 0.5, 0.4])
print(f"MAE of season   {np.mean(np.abs(season - season_said)):.3f}")

# %% [markdown] tags=["core"]
# Pixel accuracy 5/6 = 0.83: lazy and nearly perfect. IoU of trees 5/6, of water 0/1; their mean is 0.42. Mean IoU asks about
# the rare class as loudly as about the frequent one. Accuracy 3/4; MAE (0.2 + 0 + 0.3)/3 = 0.167. These three numbers have no
# common unit: *one* score for a multitask model must be invented, and we will do that with care.

# %% [markdown] tags=["core"]
# ## One loss from three
#
# $$L = \sum_t w_t L_t$$
#
# Training needs a single number. The simplest one is a *weighted sum*; with $w_t = 1$ it is the **plain sum**. Two of our
# losses are *cross-entropies*, in nats; the third is an error of the season. **Predict** their sizes before training: twelve
# zones, eleven covers, a number from 0 to 1.

# %% tags=["core"]
LOSSES = eo.losses.for_tasks(TASKS)
batch = next(iter(eo.make_dataset(records, "train", ("s2",), TASKS, batch_size=16, shuffle=True, seed=0)))
inputs, targets = batch
for task, y in model(inputs).items():
    print(f"{task:15s} {float(LOSSES[task](targets[task], y)):.2f}")
print(f"ln 12 = {np.log(12):.2f}, ln 11 = {np.log(11):.2f}")

# %% [markdown] tags=["core"]
# Nobody knows anything yet, so the first two lie near the logarithm of the number of classes, and the season is off by more
# than half of its range. But the size of a loss is not what moves the backbone; its *gradient* is. We put the gradients of all shared
# weights into one long arrow per task.


# %% tags=["core"]
def pulls(network, batch, training=False):
    """Task -> gradient of its loss on the weights of the backbone, one long vector."""
    inputs, targets = batch
    weights = network.get_layer("s2_unet").trainable_weights
    with tf.GradientTape(persistent=True) as tape:
        answers = network(inputs, training=training)
        losses = {task: LOSSES[task](targets[task], answers[task]) for task in answers}
    gradients = {task: tape.gradient(loss, weights) for task, loss in losses.items()}
    return {task: np.concatenate([part.numpy().ravel() for part in parts]) for task, parts in gradients.items()}


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# %% tags=["core"]
arrows = pulls(model, batch, training=True)  # as in a step: batch normalisation takes the statistics of the batch
norms = {task: float(np.linalg.norm(arrow)) for task, arrow in arrows.items()}
for task, arrow in arrows.items():
    print(f"{task:15s} {arrow.size:,} numbers, length {norms[task]:.3f}")

# %% [markdown] tags=["core"]
# ## What the weights do: units
#
# Suppose a colleague measures the error of season in per cent, 0 to 100 instead of 0 to 1. Nothing about the world or the
# answers has changed; the loss of season, and its gradient, are a hundred times as large. **Predict:** in which direction does
# the plain sum now step? The table has the cosine between the step and what each task wants: 1 is "exactly that way".

# %% tags=["core"]
print("weight of season " + "".join(f"{task:>16s}" for task in TASKS))
for weight in (0.01, 1, 100):
    step = arrows["climate_zone"] + arrows["land_cover_map"] + weight * arrows["season"]
    print(f"{weight:16} " + "".join(f"{cosine(step, arrows[task]):16.2f}" for task in TASKS))

# %% [markdown] tags=["core"]
# With 100, the step *is* the season's step; with 0.01, season is only along for the ride. So "no weights" is a choice, too:
# that of the units in which somebody measures the errors. Adam divides a common factor out again ($w$ and $10\,w$ train alike),
# but not the ratios *between* tasks. Weights are a hyperparameter: state them, tune them like the rest.

# %% [markdown] tags=["core"]
# ## Exercise 2: tune the weights
#
# `norms` holds the lengths of the three arrows. Choose weights such that, before training, all tasks pull **equally hard** on
# the backbone, and which **add up to 3**, like those of the plain sum. `answer_2 = {"climate_zone": ..., ...}`. **Predict:**
# which task gets the largest? And will the scores improve?


# %% tags=["core"]
def are_weights(answer):
    """Whether it is a dict that has a number above 0 for every task."""
    weights = answer.values() if isinstance(answer, dict) and set(answer) == set(TASKS) else [None]
    return all(isinstance(weight, (int, float, np.number)) and weight > 0 for weight in weights)


# %% tags=["core", "exercise"]
answer_2 = None
# BEGIN SOLUTION
inverse = {task: 1 / norm for task, norm in norms.items()}
answer_2 = {task: 3 * value / sum(inverse.values()) for task, value in inverse.items()}
# END SOLUTION

# %% tags=["core"]
if answer_2 is None:
    print("Hint: a task that pulls twice as hard needs half the weight. Fix their sum last.")
elif not are_weights(answer_2):
    print(f"Not yet: a dict with a number above 0 for each of {TASKS}; with 0 or less a task is not learned at all.")
else:
    pulled = [answer_2[task] * norms[task] for task in TASKS]
    if max(pulled) > 1.05 * min(pulled):
        print(f"Not yet: the hardest pull is {max(pulled) / min(pulled):.1f} times the softest.")
    elif not np.isclose(sum(answer_2.values()), 3, rtol=0.01):
        print("Not yet: they pull equally hard, but their sum is not 3.")
    else:
        print("Right. Further down a model is trained with them.")

# %% [markdown] tags=["core"]
# Equal pulls at the start say nothing about later, when one task has finished and another has not. That is what the *rules*
# below are about. First, let us train.

# %% [markdown] tags=["core"]
# ## Training: nothing new
#
# A dict of targets, a dict of losses, `compile`, `fit`. Small crops are turned and mirrored; the rate falls to zero along a
# cosine; the last epoch is kept. Two callbacks watch: one measures the cosines between tasks, the other remembers each task's
# best epoch.

# %% tags=["core"]
EPOCHS, MIDDLE = (1, 24) if FAST else (40, 72)
turn = eo.augment.chain(eo.augment.random_crop(36), eo.augment.dihedral())
options = {"batch_size": 16, "shuffle": True, "seed": 0, "cache": "memory", "augment": turn}
training = eo.make_dataset(records, "train", ("s2",), TASKS, **options)


def centre(*parts):
    """The middle MIDDLE x MIDDLE pixels of every raster."""
    inner = slice((120 - MIDDLE) // 2, (120 + MIDDLE) // 2)
    return tuple({k: v[:, inner, inner] if v.shape.rank > 2 else v for k, v in part.items()} for part in parts)


# %% tags=["core"]
val = eo.make_dataset(records, "val", ("s2",), TASKS).map(centre).cache()
test = eo.make_dataset(records, "test", ("s2",), TASKS, metadata=("patch_id", "tile", "date")).map(centre).cache()


def only(data, tasks):
    """The same batches with the targets of these tasks alone."""
    return data.map(lambda inputs, targets, *rest: (inputs, {task: targets[task] for task in tasks}, *rest))


# %% tags=["core"]
def fit(network, callbacks=(), weights=None, data=training, held_out=val):
    """Trains a network for the tasks that it answers; rate and epochs are fixed beforehand."""
    tasks = tuple(network.output)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, EPOCHS * int(data.cardinality()))
    # Eagerly in fast mode: a step takes longer, but no graph has to be traced.
    settings = {"optimizer": keras.optimizers.AdamW(rate), "loss": {task: LOSSES[task] for task in tasks}}
    network.compile(**settings, loss_weights=weights, run_eagerly=FAST)
    more = {"validation_data": only(held_out, tasks), "callbacks": list(callbacks), "verbose": 0, "shuffle": False}
    return network.fit(only(data, tasks), epochs=EPOCHS, **more).history


# %% tags=["core"]
fixed = next(iter(training.unbatch().batch(64).take(1)))  # always the same patches, so that epochs compare
best = BestEpochByTask(TASKS)
plain = build(heads)
history = fit(plain, [balance.GradientCosine(fixed), best])
print(f"loss {history['loss'][0]:.2f} to {history['loss'][-1]:.2f}")
scores = evaluate.score(plain, test, schema, name="three heads")
print(scores)

# %% [markdown] tags=["core"]
# Look at the baselines first: the most frequent class, the median of the training seasons. What does not beat them has learned
# nothing from the picture, however well it may compare with another network. Intervals resample whole tiles (season: dates),
# for patches of one tile are alike.

# %% [markdown] tags=["core"]
# ## Do the tasks pull in one direction?
#
# $$\cos(\nabla L_a, \nabla L_b) = \frac{\nabla L_a \cdot \nabla L_b}{|\nabla L_a|\,|\nabla L_b|}$$
#
# $\nabla L_t$ is the gradient of the loss of task $t$ on the shared weights. 1: both want the same step. Below 0: a
# **conflict**, what helps one hurts the other. **By hand**, for two arrows $a = (1, 0)$ and $b = (-1, 1)$: their cosine? Does
# the sum of both still help $a$?

# %% tags=["core"]
a, b = np.array([1.0, 0.0]), np.array([-1.0, 1.0])
print(f"cosine {cosine(a, b):.2f}; a gains {a @ (a + b):.0f} from the step a + b, and {a @ a:.0f} from a alone")

# %% [markdown] tags=["core"]
# The sum is $(0, 1)$: for $a$ it does nothing at all, to first order. Now the three tasks. **Predict:** which pair is highest,
# and does any pair fall below zero?

# %% tags=["core"]
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
names = [name for name in history if name.startswith("cosine_")]
for name, look in zip(names, ("o-", "s--", "^:"), strict=True):
    axis.plot(range(1, EPOCHS + 1), history[name], look, markersize=3, label=name.removeprefix("cosine_"))
axis.axhline(0, color="black", linewidth=0.8)
axis.set(xlabel="epoch", ylabel="cosine of two tasks' gradients", ylim=(-1, 1))
figure.legend(loc="outside lower center", ncols=3, frameon=False)
finish(figure, "Cosines between tasks (one world, one seed)", schema)

# %% [markdown] tags=["core"]
# Large or small, against what? Two arrows in tens of thousands of dimensions are nearly at right angles by chance; and a
# gradient from a few patches is mostly noise. A yardstick: the cosine of a task **with itself**, on two halves of the patches.


# %% tags=["core"]
def half(first):
    """Every second patch of `fixed`, from `first` on."""
    return tuple({name: value[first::2] for name, value in part.items()} for part in fixed)


one_half, other_half = pulls(plain, half(0)), pulls(plain, half(1))
print(f"{'':15s}" + "".join(f"{task:>16s}" for task in TASKS))
for task in TASKS:
    print(f"{task:15s}" + "".join(f"{cosine(one_half[task], other_half[other]):16.2f}" for other in TASKS))

# %% [markdown] tags=["core"]
# On the diagonal a task meets itself on other patches. Where even that is far below 1, no pair of different tasks can be near
# 1, and a cosine of $-0.1$ may be noise. So a single negative value is no proof of conflict; a pair that lies well below its
# two diagonals, epoch after epoch, is a hint. (A network that has been trained may even disagree with itself, as a negative
# diagonal says: 16 patches decide.) And whether a conflict *costs* anything, only the scores tell.

# %% [markdown] tags=["core"]
# ## Rules that choose the weights
#
# **Uncertainty weighting** ([Kendall et al. 2018](https://arxiv.org/abs/1705.07115)) learns a number $s_t$, the log-noise of
# each task:
#
# $$L = \sum_t e^{-s_t} L_t + \tfrac{1}{2} s_t$$
#
# for cross-entropies; for an absolute error the last term is $s_t$. A task that stays uncertain gets a small weight $e^{-s_t}$;
# the second term keeps it from switching itself off. **By hand:** for a cross-entropy that stays at $L_t$, at which weight does
# this settle? And for an absolute error?

# %% [markdown] tags=["core"]
# Set the derivative to zero: $-e^{-s} L + \tfrac12 = 0$, so the weight is $1/(2L)$, and $1/L$ where the last term is $s$. Every
# cross-entropy settles at $w_t L_t = \tfrac12$, an absolute error at $1$: the unit of a loss drops out, which is the rule's
# real merit. `balanced` wraps any model; `compile` and `fit` stay as they are.

# %% tags=["core"]
learner = balance.balanced(build(heads), balance.UncertaintyWeighting())
logged = fit(learner)
for task in TASKS:
    weights = logged[f"weight_{task}"]
    print(f"{task:15s} weight {weights[0]:.2f} to {weights[-1]:.2f}, training loss {logged[f'{task}_loss'][-1]:.2f}")

# %% [markdown] tags=["core"]
# Compare the last weights with $1/(2L_t)$ of the last training losses, for season $1/L_t$: they are on their way. As a loss falls,
# its weight rises; a task learned by heart ($L_t \to 0$) gets ever more of the step. Not always what one wants.
#
# **PCGrad** works on the arrows: where two conflict, each loses its part against the other. **By hand**, for the pair above:
# $a' = a - \frac{a \cdot b}{|b|^2} b$.


# %% tags=["core"]
def project(a, b):
    """`a` without its part against `b`."""
    return a - min(a @ b, 0) / (b @ b) * b


step = project(a, b) + project(b, a)
print("a' =", project(a, b), "  b' =", project(b, a), "  step", step, f"  a gains {a @ step:.1f}, b {b @ step:.1f}")

# %% [markdown] tags=["core"]
# Now both gain. The price is a backward pass for *each* task, in every step. Five rules and what they cost per training step,
# measured beside the plain sum:

# %% tags=["core"]
results = json.loads(Path("results.json").read_text()) if Path("results.json").exists() else {}
IDEAS = {
    "plain sum": "the opponent: all weights 1",
    "uncertainty": "weight = 1 / learned noise",
    "DWA": "more weight where the loss falls slowly",
    "random": "new random weights in every step: the control",
    "GradNorm": "equal gradient lengths, more for slow tasks",
    "PCGrad": "remove the conflicting part of each gradient",
}
for name, idea in IDEAS.items():
    ratio = results["costs"]["contestants"][name]["step_ratio"] if "costs" in results else float("nan")
    print(f"{name:12s} {ratio:5.2f} x   {idea}")

# %% [markdown] tags=["core"]
# Each paper shows its rule ahead of the plain sum. [Kurin et al. 2022](https://arxiv.org/abs/2201.04122) and [Xin et al.
# 2022](https://arxiv.org/abs/2209.11379) gave the plain sum the same tuning and the same regularisation: it did as well as
# most. So at **equal wall time** and equal tuning, in eight worlds, all five relative to the plain sum (positive is better); the
# two derived above with a tenth of the labels, too:

# %% tags=["core"]
for labels in ("100", "10") if "rules" in results else ():
    print(f"{labels} % of the labels")
    for name, found in results["rules"][labels].items():
        mean = found["mean_relative_change"]
        print(f"    {name:12s} {mean['mean']:+7.1%} [{mean['low']:+.1%}, {mean['high']:+.1%}]", end="  ")
        print("excludes zero after Holm" if found["holm"] else "does not exclude zero after Holm")

# %% [markdown] tags=["core"]
# **No rule beats the plain sum here**: no interval lies above zero, and after Holm's correction for seven comparisons none
# lies below it either. Uncorrected, PCGrad with a tenth of the labels lies just below, and uncertainty weighting at both
# budgets; of the tasks only the map's interval excludes zero ({{
# rules.100.uncertainty.tasks.land_cover_map.relative_change.mean:+.0%}} [{{
# rules.100.uncertainty.tasks.land_cover_map.relative_change.low:+.0%}}, {{
# rules.100.uncertainty.tasks.land_cover_map.relative_change.high:+.0%}}] with all labels). Its last weights, means over the
# worlds: season {{ weights.100.season:.1f}}, zone {{ weights.100.climate_zone:.2f}}, map {{ weights.100.land_cover_map:.2f}}. So
# the weighted losses are about 1, ½ and ½; perhaps season, in which nobody is shown to beat the median, draws too much of the
# step. That is a guess: gradients under the rule were not measured.
#
# The control, weights drawn at random: {{ rules.100.random.mean_relative_change.mean:+.3f}} [{{
# rules.100.random.mean_relative_change.low:+.3f}}, {{ rules.100.random.mean_relative_change.high:+.3f}}] against the plain sum.
# Against the control, uncorrected: DWA {{ rules.control.DWA.mean_relative_change.mean:+.3f}} [{{
# rules.control.DWA.mean_relative_change.low:+.3f}}, {{ rules.control.DWA.mean_relative_change.high:+.3f}}], GradNorm {{
# rules.control.GradNorm.mean_relative_change.mean:+.3f}} [{{ rules.control.GradNorm.mean_relative_change.low:+.3f}}, {{
# rules.control.GradNorm.mean_relative_change.high:+.3f}}], PCGrad {{ rules.control.PCGrad.mean_relative_change.mean:+.3f}} [{{
# rules.control.PCGrad.mean_relative_change.low:+.3f}}, {{ rules.control.PCGrad.mean_relative_change.high:+.3f}}]: none is shown
# to choose better than chance. PCGrad has half of the steps for its gradients; what it would do with all of them was not
# asked. Every rule had three rates; their own options (GradNorm's $\alpha$, DWA's temperature) stayed at the papers' values.

# %% [markdown] tags=["core"]
# ## A fair opponent: single-task twins
#
# "Multitask is better" needs a "than what". There are three fair opponents, and they answer different questions:
#
# | three single-task networks with | cost together | the question |
# |---|---|---|
# | equal width, equal steps each | 3 x weights, 3 x time | may one network stand in for the three best? |
# | equal total weights | 1 x weights | same memory: share or divide? |
# | equal width, equal *total* time | 3 x weights, 1 x time | same training budget: share or take turns? |

# %% tags=["core"]
wide = models.single_task_twins(build, heads, WIDTH)
slim = models.single_task_twins(build, heads, 4 * WIDTH, same="weights")  # at width 4 there is little to divide
print(f"one model of width {WIDTH}: {count(build(heads)):,}; three of width {WIDTH}: {count(*wide.values()):,}")
print(f"one model of width {4 * WIDTH}: {count(build(heads, 4 * WIDTH)):,}; three slim ones: {count(*slim.values()):,}")

# %% [markdown] tags=["core"]
# A slim twin has $1/\sqrt 3$ of the width. Never compare a multitask model with *one* of the twins at a third of the budget and
# call it "three tasks for the price of one"; and never with twins that were tuned less. We train the wide ones, with equal
# steps: the hardest opponent.
#
# **Predict:** for which task is sharing best, and for which worst?

# %% tags=["core"]
single = {}
for task, twin in wide.items():
    fit(twin)
    single[task] = evaluate.score(twin, only(test, [task]), schema, name=f"{task} alone")
costs = evaluate.cost(plain, 16), {task: evaluate.cost(twin, 16) for task, twin in wide.items()}
found = evaluate.compare_sharing(scores, single, costs=costs)
print(found)

# %% [markdown] tags=["core"]
# The *relative change* of a task turns its sign so that more is better, and divides by the twin's score, so that a class, a map
# and a number can be averaged: $\Delta_{MTL} = \frac1T \sum_t (-1)^{l_t} (M_t - B_t)/B_t$, with $l_t = 1$ where less is better
# ([Maninis et al. 2019](https://arxiv.org/abs/1904.08918)). It weighs a task by how *small* its reference is: read the
# differences, too. And it is lopsided: from 0.1 to 0.2 is +100 %, the way back −50 %.

# %% tags=["core"]
eo.plot.sharing_chart(found)

# %% [markdown] tags=["core"]
# One world, one seed: an illustration. For evidence, the same in eight worlds. **One comparison was named beforehand:**
# $\Delta_{MTL}$ of the plain sum against twins of equal *total* time, with a **tenth of the labels**, where sharing should help
# if anywhere. It counts only if it excludes zero with the roles *swapped*, too. All the rest is exploratory.
#
# **Predict** its sign, and whether it will exclude zero.

# %% tags=["core"]
TWINS = {"sharing": "twins of equal time", "steps": "twins of equal steps"}
for against, words in TWINS.items() if "steps" in results else ():
    for labels in ("10", "100"):
        tasks = results[against][labels]["plain sum"]
        print(f"{labels} % of the labels, {words} ({results[against]['learned'][labels]['reading']})")
        changes = {task: found["relative_change"] for task, found in tasks["tasks"].items()}
        for task, change in {**changes, "mean over tasks": tasks["mean_relative_change"]}.items():
            print(f"    {task:16s} {change['mean']:+7.1%} [{change['low']:+.1%}, {change['high']:+.1%}]")


# %% [markdown] tags=["core"]
# In brackets: how many tasks are *learned*, that is, in how many the plain sum or its twin beats an answer that does not look
# (most frequent class, median, from the same labels), paired over worlds. With fewer than two, a change compares failures.


# %% tags=["core"]
def from_results(found):
    """A comparison of the experiment, from the scores of its worlds."""
    worlds = range(found["replicates"])
    runs = [{task: row["values"][world] for task, row in found["tasks"].items()} for world in worlds]
    return evaluate.sharing_over_replicates(runs, multitask="plain sum", reference="twins", simulated=True)


if "sharing" in results:
    display(eo.plot.sharing_chart(from_results(results["sharing"]["10"]["plain sum"])))

# %% [markdown] tags=["core"]
# The primary comparison: {{ sharing.primary.mean:+.3f}} [{{ sharing.primary.low:+.3f}}, {{ sharing.primary.high:+.3f}}] (as a
# fraction); the twins relative to the plain sum: {{ sharing.primary_swapped.mean:+.3f}} [{{ sharing.primary_swapped.low:+.3f}},
# {{ sharing.primary_swapped.high:+.3f}}]. By the rule: **{{ sharing.verdict }}**. With the spread that these worlds showed, the
# design finds a true {{ sharing.primary.smallest_difference_power_80:.3f}} in four of five repetitions.
#
# Now read it as a sceptic would. **Which tasks?** The map: {{ sharing.10.plain
# sum.tasks.land_cover_map.relative_change.mean:+.0%}} [{{ sharing.10.plain sum.tasks.land_cover_map.relative_change.low:+.0%}}, {{
# sharing.10.plain sum.tasks.land_cover_map.relative_change.high:+.0%}}] (mean IoU {{ sharing.scores.10.plain
# sum.land_cover_map.mean:.3f}} against {{ sharing.scores.10.twins.land_cover_map.mean:.3f}}); for climate zone and season nothing
# is shown. **Were they learned?** Season by no side, as far as eight worlds tell (what an oracle could reach: an error of {{
# sharing.oracle.season:.2f}}); climate zone just, by {{ sharing.learned.10.climate_zone.plain sum.mean:+.3f}} [{{
# sharing.learned.10.climate_zone.plain sum.low:+.3f}}, {{ sharing.learned.10.climate_zone.plain sum.high:+.3f}}] over the most
# frequent class (the oracle: {{ sharing.oracle.climate_zone:.2f}}). **Without season**, which compares two failures: {{
# sharing.primary_learned.mean:+.3f}} [{{ sharing.primary_learned.low:+.3f}}, {{ sharing.primary_learned.high:+.3f}}], which does
# *not* exclude zero. So the rule was kept and says yes; the evidence is thinner than it sounds.
#
# With all labels the mean is {{ sharing.100.plain sum.mean_relative_change.mean:+.3f}} [{{ sharing.100.plain
# sum.mean_relative_change.low:+.3f}}, {{ sharing.100.plain sum.mean_relative_change.high:+.3f}}]: smaller, as expected, but whether
# a tenth is *kinder* than all was not tested. And the map's twin had a third of the steps: is it *sharing* that helps, or only
# *training longer*?

# %% [markdown] tags=["core"]
# ## Claim 1: "performance is (typically) better"
#
# Against twins that had three times the training, at 100 % of the labels: {{ steps.100.plain
# sum.mean_relative_change.mean:+.3f}} [{{ steps.100.plain sum.mean_relative_change.low:+.3f}}, {{
# steps.100.plain sum.mean_relative_change.high:+.3f}}]. "Typically" would mean: in most data sets, for most
# tasks. Three tasks of one simulator cannot bear that word, in either direction. [Standley et al.
# 2020](https://arxiv.org/abs/1905.07553) trained many pairs of tasks: who helps whom differs from pair to pair.
#
# Against those twins sharing is *worse* (exploratory), and by the map: {{ steps.100.plain
# sum.tasks.land_cover_map.relative_change.mean:+.0%}} [{{ steps.100.plain sum.tasks.land_cover_map.relative_change.low:+.0%}}, {{
# steps.100.plain sum.tasks.land_cover_map.relative_change.high:+.0%}}]. With a tenth of the labels the map is at {{ steps.10.plain
# sum.tasks.land_cover_map.relative_change.mean:+.0%}} [{{ steps.10.plain sum.tasks.land_cover_map.relative_change.low:+.0%}}, {{
# steps.10.plain sum.tasks.land_cover_map.relative_change.high:+.0%}}] and the mean at {{ steps.10.plain
# sum.mean_relative_change.mean:+.3f}} [{{ steps.10.plain sum.mean_relative_change.low:+.3f}}, {{ steps.10.plain
# sum.mean_relative_change.high:+.3f}}]: nothing is shown. And what three times the steps alone give the map's twin, with a tenth: {{
# steps.longer.10.land_cover_map.mean:+.0%}} [{{ steps.longer.10.land_cover_map.low:+.0%}}, {{
# steps.longer.10.land_cover_map.high:+.0%}}]. That points to *time* as what sharing gave. "Better for the same time" our numbers
# bear, thinly; "better" they do not.

# %% [markdown] tags=["core"]
# ## Exercise 3: dual-task against three tasks
#
# Does the *map* help climate zone and season? Train a model for these two, and compare. First write the ruler yourself:
# `answer_3(model, reference)` gets two dicts of task -> score and returns the mean relative change, as a fraction, over the
# tasks that **both** have; positive is better. `LESS_IS_BETTER` holds the tasks scored by an error. **Predict** the sign of
# "three minus dual".

# %% tags=["core"]
LESS_IS_BETTER = {"season"}


def attempt(answer, *arguments):
    """The number that an answer gives; NaN, and what went wrong, where it gives none."""
    try:
        return float(answer(*arguments))
    except (ArithmeticError, LookupError, NameError, TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")
        return np.nan


# %% tags=["core", "exercise"]
answer_3 = None
# BEGIN SOLUTION


def answer_3(model, reference):
    changes = []
    for task in set(model) & set(reference):
        change = (model[task] - reference[task]) / reference[task]
        changes.append(-change if task in LESS_IS_BETTER else change)
    return sum(changes) / len(changes)


# END SOLUTION

# %% tags=["core"]
first = ({"climate_zone": 0.6, "season": 0.08, "land_cover_map": 0.5}, {"climate_zone": 0.5, "season": 0.10})
second = ({"climate_zone": 0.4, "season": 0.15}, {"climate_zone": 0.5, "season": 0.10, "land_cover_map": 0.4})
if answer_3 is None:
    print("Hint: (score - reference) / reference for each common task, its sign turned where less is better.")
elif not callable(answer_3):
    print("Not yet: a function of two dicts.")
else:
    given, right = [attempt(answer_3, *first), attempt(answer_3, *second)], np.array([0.2, -0.35])
    if np.allclose(given, right, atol=1e-6):
        print("Right: as `evaluate.compare_sharing` computes it.")
    elif np.allclose(given, 100 * right, atol=1e-4):
        print("Nearly: as a fraction, not in per cent.")
    else:
        print("Not yet. Which tasks count? Divided by which of the two? And is a smaller error a gain?")

# %% tags=["core"]
PAIR = ("climate_zone", "season")
dual = build({task: heads[task] for task in PAIR})
fit(dual)
dual_scores = evaluate.score(dual, only(test, PAIR), schema, name="two heads")
print(evaluate.compare_sharing(scores, dual_scores))

# %% [markdown] tags=["core"]
# The same in eight worlds: three tasks against two, on the two that they share, {{ dual.mean_relative_change.mean:+.3f}}
# [{{ dual.mean_relative_change.low:+.3f}}, {{ dual.mean_relative_change.high:+.3f}}]; exploratory.
#
# Neither help nor harm is shown: the interval holds zero. Mind the equal *time*: a step of two heads is cheaper, so the dual
# model took {{ costs.contestants.dual.steps.100:d}} steps to the {{ costs.contestants.plain sum.steps.100:d}} of the other.

# %% tags=["core"]
if are_weights(answer_2):  # exercise 2: equal pulls at the start
    tuned = build(heads)
    fit(tuned, weights=answer_2)
    print(evaluate.compare_sharing(evaluate.score(tuned, test, schema, name="equal pulls"), scores))

# %% [markdown] tags=["core"]
# A single run with other weights is *one trial of tuning*. Whoever tries ten and reports the best has tuned on the test set:
# choose by validation, and give the opponent ten trials, too.

# %% [markdown] tags=["core"]
# ## A task that cannot help
#
# The control, as in lesson 3: a task in which nothing can be shared. We added a fourth head whose "class" is a **lottery**:
# computed from the patch's *name*. Nothing in the picture tells it; it can only be learned by heart. **Predict:** what does it
# cost the other three?
#
# Three heads and a lottery, relative to three heads, all labels: {{ lottery.mean_relative_change.mean:+.3f}}
# [{{ lottery.mean_relative_change.low:+.3f}}, {{ lottery.mean_relative_change.high:+.3f}}].
#
# No price is shown; in the mean a loss of more than a few per cent would have been. But it was a mild control: at the end the
# lottery's training loss is {{ lottery.training_loss:.2f}}, and guessing is $\ln 11 = 2.40$: hardly learned.

# %% [markdown] tags=["core"]
# ## Claim 2: "it will focus on only the most relevant information"
#
# Can that be wrong? Only if we say what we would see. **Write down** a test that can fail, before you read ours: what irrelevant
# thing could be looked for, and where?

# %% [markdown] tags=["core"]
# **A test that can fail:** give every patch a *stamp*, one random number,
# the same at all its pixels, in a thirteenth band. It is drawn anew in every epoch and tells nothing about any task. After
# training, ask: can a linear *probe* read the stamp from the averaged features $h$? If sharing focuses, $R^2$, the squared
# correlation of stamp and reading, must be lower for the shared backbone than for its twins.

# %% tags=["core"]
if "stamp" in results:
    for name in ("untrained", "twins", "plain sum"):
        print(f"{name:10s} R2 of stamp and reading: {results['stamp'][name]['mean']:.2f}")

# %% [markdown] tags=["core"]
# Plain sum minus the mean of its twins, all trained for equal steps: {{ stamp.difference.mean:+.3f}}
# [{{ stamp.difference.low:+.3f}}, {{ stamp.difference.high:+.3f}}]; exploratory.
#
# Training throws the stamp out: of {{ stamp.untrained.mean:.2f}} before it {{ stamp.twins.mean:.3f}} is left in the twins, {{
# stamp.plain sum.mean:.3f}} in the shared backbone. **By the test as we wrote it, the claim passes.** Look closer: what is left
# stands in season's twin ({{ stamp.by_twin.season:.3f}}), the task that is not learned; zone's ({{
# stamp.by_twin.climate_zone:.3f}}) and map's ({{ stamp.by_twin.land_cover_map:.3f}}) lie where a reading of pure noise does on some
# 160 patches, about 0.006. We should have written "less than *every* twin, and by how much" before looking; now we may not.
#
# What it would **not** show: that a stamp which can be read is *used* (only shuffling it and scoring tells that), or that other
# irrelevant things, less simple than a constant, are kept or dropped alike.

# %% [markdown] tags=["extra"]
# ## Extra: stamp and probe, by hand
#
# One world, one seed, two networks: a shared one and the twin for season. A probe is a linear regression from the averaged
# features to the stamp, fitted on one half of the test patches and compared with the stamp on the other: $R^2 = 1$ reads it
# perfectly, 0 not at all.


# %% tags=["extra"]
def stamp(inputs, targets, *rest):
    """A thirteenth band that holds one random number per patch."""
    shape = tf.shape(inputs["s2"])
    number = tf.random.normal([shape[0], 1, 1, 1])
    return {"s2": tf.concat([inputs["s2"], tf.tile(number, [1, shape[1], shape[2], 1])], -1)}, targets, *rest


def build_stamped(heads):
    keras.utils.set_random_seed(0)
    return models.multitask(models.unet((None, None, 13), WIDTH, "s2"), heads)


# %% tags=["extra"]
def readable(network, data):
    """Squared correlation of the stamp with its linear reading; half of the patches to fit, half to score."""
    backbone, features, stamps = network.get_layer("s2_unet"), [], []
    for inputs, *_ in data:
        features.append(backbone(inputs)["stride_1"].numpy().mean((1, 2)))  # h (B, C)
        stamps.append(inputs["s2"][:, 0, 0, 12].numpy())
    h, number = np.concatenate(features), np.concatenate(stamps)
    h = np.concatenate([h, np.ones((len(h), 1))], axis=1)
    weights, *_ = np.linalg.lstsq(h[::2], number[::2], rcond=None)
    return np.corrcoef(h[1::2] @ weights, number[1::2])[0, 1] ** 2


# %% tags=["extra"]
shared, alone = build_stamped(heads), build_stamped({"season": heads["season"]})
stamped_val, stamped_test = val.map(stamp).cache(), test.map(stamp).cache()
print(f"untrained   {readable(shared, stamped_test):.2f}")
for name, network in (("three heads", shared), ("season alone", alone)):
    fit(network, data=training.map(stamp), held_out=stamped_val)
    print(f"{name:12s}{readable(network, stamped_test):.2f}")

# %% [markdown] tags=["extra"]
# Three numbers, one seed each: an illustration. Note what the backbone gains by throwing the stamp out: a little less noise in
# the heads. And what it loses by keeping it: one direction of many. Nobody told the network to forget.

# %% [markdown] tags=["core"]
# ## What sharing surely saves
#
# All three answers from **one** pass through the backbone. No test is needed for that; only a count:

# %% tags=["core"]
print(evaluate.sharing_costs(costs[0], costs[1]))

# %% [markdown] tags=["core"]
# A third of the operations for each patch, on every day that the model is in use. Where scores do not differ, this decides. And
# when only one answer is wanted, the advantage is gone: then a twin is as cheap.

# %% [markdown] tags=["core"]
# ## Labels for some questions only
#
# Every image has a date, so its season costs nothing, and its climate zone is read off an atlas. What covers the ground
# somebody must have seen: field notes cover a tenth of the patches. `label_fraction` by task: the map is kept on every tenth
# patch, and is *missing* elsewhere, `VOID` at all its pixels (a missing number is NaN).

# %% tags=["core"]
budget = {"climate_zone": 1.0, "land_cover_map": 0.1, "season": 1.0}
VOID = eo.ben_ge.schema.VOID
partly = eo.make_dataset(records, "train", ("s2",), TASKS, label_fraction=budget, label_draw="spread", **options)
for _, targets in partly.take(3):
    labelled = targets["land_cover_map"].numpy() != VOID  # (B, H, W)
    print(f"{labelled.any(axis=(1, 2)).sum()} of {len(labelled)} patches have a map")
print(f"batches of 16 without any: {0.9**16:.0%} expected")

# %% [markdown] tags=["core"]
# A loss must average over what is *labelled*. Two patches, five classes, logits all zero: each labelled patch costs ln 5 =
# 1.61. The second has no label. **Predict** what Keras' own way, a sample weight of 0, makes of it.

# %% tags=["core"]
logits, known, classes = np.zeros((2, 5), "float32"), np.array([1.0, 0.0]), np.array([3, 0])
default = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
mended = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
print(f"zero sample weight, default loss      {float(default(classes, logits, sample_weight=known)):.2f}")
print(f"the same, divided by the weights      {float(mended(classes, logits, sample_weight=known)):.2f}")
print(f"eokeras: class {VOID} means no label    {float(LOSSES['climate_zone'](np.array([3, VOID]), logits)):.2f}")

# %% [markdown] tags=["core"]
# 0.80 instead of 1.61: the default divides by *all* patches, so a task with a tenth of the labels silently gets a tenth of its
# weight. Averaged over the labelled, it keeps its weight, but with 1.6 labels per batch its gradient is three times as noisy
# ($\sqrt{16/1.6} = 3.2$, and some batches have none). Metrics count labels alike.

# %% [markdown] tags=["core"]
# ## When to stop, if three clocks tick
#
# One task overfits while another still learns. `BestEpochByTask` has watched the validation loss of each:

# %% tags=["core"]
print("task             best epoch   validation loss")
for task in TASKS:
    print(f"{task:15s} {1 + best.best_epoch[task]:11d} {best.best_value[task]:17.2f}")
print(f"jointly (mean relative change): epoch {1 + best.best_epoch_jointly} of {EPOCHS}")
with best.at_best("season"):
    stopped = evaluate.score(plain, only(test, ["season"]), schema, name="stopped for season")
print(evaluate.compare_sharing(stopped, scores))

# %% [markdown] tags=["core"]
# The last table stops for season where validation liked it best, and compares with the last epoch. Better, or worse? Validation
# patches come from few tiles and dates, so it may be chance. Besides, each task at its own best
# epoch is *three sets of weights*: fair against twins that were stopped early, but no longer one model. What is deployed is one
# epoch, and choosing it spends validation labels of every task. Our experiment chooses none.

# %% [markdown] tags=["core"]
# ## What to take along
#
# 1. One backbone, many heads: weights and predictions cost a third. That part is arithmetic.
# 2. Weights include units. "None" is a choice.
# 3. Whether scores improve is measured, against twins that had equal tuning; say which budget was equal.
# 4. The plain sum is the opponent of every rule, at equal wall time.
# 5. A negative cosine is a hint, not a loss.
# 6. Missing labels: average over what is labelled.
# 7. A claim is worth as much as the test that it could have failed.

# %% [markdown] tags=["core"]
# **Where to read more.** The idea: [Caruana 1997](https://doi.org/10.1023/A:1007379606734). A survey: [Vandenhende et al.
# 2021](https://arxiv.org/abs/2004.13379). Dynamic weight average: [Liu et al. 2019](https://arxiv.org/abs/1803.10704). Random
# weights: [Lin et al. 2022](https://arxiv.org/abs/2111.10603). GradNorm: [Chen et al. 2018](https://arxiv.org/abs/1711.02257).
# PCGrad: [Yu et al. 2020](https://arxiv.org/abs/2001.06782). Cosines: [Du et al. 2018](https://arxiv.org/abs/1812.02224).
# Probes: [Alain and Bengio 2016](https://arxiv.org/abs/1610.01644).
