# %% [markdown] tags=["core"]
# # 3 · Data fusion
#
# <!-- badge -->
#
# **Several sensors have seen the same place. Where in a network should they meet, and what is the second one worth?**
#
# About an hour with the exercises. You need lesson 1 (what the sensors measure) and lesson 2 (training, intervals, baselines).
# Cells under a heading that says *extra* can be left out; words in *italics* are in the course's glossary.

# %% tags=["setup"]
LESSON = "3_data_fusion"
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

import eokeras as eo
from eokeras import evaluate, models
from eokeras.evaluate import paired_over_replicates
from eokeras.plot.style import finish

# %% tags=["core"]
plt.ion()  # else a notebook draws no figure of the library before the first one of pyplot
FAST = os.environ.get("EOKERAS_FAST") == "1"
DATA = "simulated"  # or "ben-ge-800": real patches, 183 MB to download

# %% [markdown] tags=["core"]
# ## Why a second sensor?
#
# Each instrument is blind somewhere. *Sentinel-2* sees colour in twelve bands, and no ground under cloud. *Sentinel-1* hears
# roughness, leaves and walls through any cloud, and knows no colour. The *DEM* holds heights, tree tops included, and no date.
# Weather (ERA-5) holds the date, and no picture. **Write down:** for which of climate zone, land cover and season does each
# of the four help most?

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
look = {"calibrate": None, "batch_size": 4, "shuffle": True, "seed": 1, "metadata": ("date", "tile")}
stored = eo.make_dataset(records, "train", ("s2", "s1", "dem"), ("land_cover_map",), **look)
eo.plot.samples(next(iter(stored)), schema, patches=3)

# %% [markdown] tags=["core"]
# Compare along a row. Where do the sensors agree (a lake is dark in both), and where does one see what the other does not:
# field borders, villages, slopes? Fusion can help where they *differ and both are right*. Where two sensors tell the same, the
# second one adds weights to learn and little to know.

# %% [markdown] tags=["core"]
# ## What could be reached at all
#
# Our simulator knows its own rules, so it can say what an *oracle*, which also knows them, would score from each set of
# sensors. No network can be expected to pass that ceiling by much.
#
# **Predict:** by how much does the oracle's map improve when Sentinel-1 joins Sentinel-2, with hardly a cloud in the sky?

# %% tags=["core"]
if schema.world:
    ceiling = schema.world["information"]
    subsets = ("none", "era5", "s1", "s2", "s2+s1", "s2+s1+dem", "s2+s1+dem+era5")
    print(f"{'oracle':15s}", *(f"{name:>14s}" for name in subsets))
    for task, found in ceiling.items():
        print(f"{task:15s}", *(f"{found[name]:14.3f}" for name in subsets))

# %% [markdown] tags=["core"]
# Accuracies for the first two (more is better), a mean absolute error for season (less is better). So score perfect readers of *this*
# world, and it is not the same for every target. A *score* far above it has a leak. A *gain* may be larger than the oracle's: who
# reads Sentinel-2 badly has more to gain. Real data come without such a table: baselines below, no ceiling above.

# %% [markdown] tags=["core"]
# ## A function of several inputs
#
# In lesson 2 a network was $\hat y = g(f(x))$: encoder $f$, features $h$, head $g$. Now there are several inputs,
#
# $$\hat y = g\big(f(x_1, x_2, \dots, x_M)\big)$$
#
# and the only question is *where inside $f$* they meet: at once, half-way, or just before the head. We build each way with
# small U-Nets, first by hand, then from the library.

# %% tags=["core"]
shapes = {name: schema[name].shape for name in ("s2", "s1")}
print(shapes)  # heights and widths are free


def count(model):
    """Weights that training changes."""
    return sum(int(tf.size(weight)) for weight in model.trainable_weights)


# %% [markdown] tags=["core"]
# ## Early: stack the channels
#
# $$h = f([x_1, x_2])$$
#
# The brackets mean: channels side by side. One encoder sees 12 + 2 = 14 numbers per pixel from its first layer on, so it can learn
# what the one *means* given the other (bright in VH over green, or over snow). Price: one common grid, and no sensor can be taken
# out later.

# %% tags=["core"]
s2, s1 = (keras.Input(shape, name=name) for name, shape in shapes.items())
stack = keras.layers.Concatenate()([s2, s1])  # (B, H, W, 14)
levels = models.unet((None, None, 14), width=8, name="stack")([stack])
early = keras.Model([s2, s1], levels)
for name, h in early.output.items():
    print(f"h at {name:9s} {h.shape}")

# %% [markdown] tags=["core"]
# A model is made from a **list of named** inputs here, on purpose: data travel as a dict and are matched by name. Built from a
# dict, Keras would match by sorted order when the data hold one extra key, and silently feed one sensor where the other
# belongs. `models.early_fusion(shapes)` does the same with checks.
#
# ## Late: an encoder for each, joined before the head
#
# $$h = [f_1(x_1), f_2(x_2)]$$

# %% tags=["core"]
s2, s1 = (keras.Input(shape, name=name) for name, shape in shapes.items())
h_s2 = models.unet(shapes["s2"], width=8, name="s2")([s2])
h_s1 = models.unet(shapes["s1"], width=8, name="s1")([s1])
joined = {level: keras.layers.Concatenate()([h_s2[level], h_s1[level]]) for level in h_s2}
late = keras.Model([s2, s1], joined)
for name, h in late.output.items():
    print(f"h at {name:9s} {h.shape}")

# %% [markdown] tags=["core"]
# Twice the channels at each level: eight from each sensor. Either encoder may have been trained elsewhere, and may keep its own
# resolution. But what both say about a pixel meets in the head only, here one linear layer, which *adds* evidence: bright VH shifts
# the scores of the classes by the same amount whatever Sentinel-2 shows. `models.late_fusion(encoders)` is the checked version.

# %% [markdown] tags=["core"]
# ## Exercise 1: are the two the same size?
#
# A U-Net of the course with $c$ input channels and width $w$ has $4212\,w^2 + (207 + 9c)\,w$ trainable weights; only the first layer
# knows $c$. **By hand:** (a) early fusion of 14
# channels at $w = 8$, (b) late fusion of 12 and 2 channels at $w = 8$, (c) the whole width at which *early* comes closest to (b).
# Set `answer_1 = (a, b, c)`.

# %% tags=["core", "exercise"]
answer_1 = None
# BEGIN SOLUTION


def unet_weights(channels, width):
    return 4212 * width**2 + (207 + 9 * channels) * width


late_weights = unet_weights(12, 8) + unet_weights(2, 8)
closest = min(range(1, 30), key=lambda width: abs(unet_weights(14, width) - late_weights))
answer_1 = unet_weights(14, 8), late_weights, closest
# END SOLUTION

# %% tags=["core"]
if answer_1 is None:
    print("Hint: late fusion is two whole U-Nets. Weights grow with the square of the width:")
    print("so twice the weights need a width that is larger by which factor?")
else:
    a, b, c = answer_1
    wrong = [name for name, ours, model in (("(a)", a, early), ("(b)", b, late)) if ours != count(model)]
    near = {width: abs(4212 * width**2 + 333 * width - count(late)) for width in (c - 1, c, c + 1)}
    if c != int(c) or min(near, key=near.get) != c:
        wrong.append("(c)")
    print("Right: as Keras counts them." if not wrong else f"Not yet: look again at {', '.join(wrong)}.")

# %% [markdown] tags=["core"]
# Late fusion has twice the weights of early fusion at the same width; the fair width is larger by $\sqrt 2$. Who compares the two
# at one width compares sizes, not ideas. The library finds the width for any pair, by building a few models:


# %% tags=["core"]
def build_early(width):
    return models.early_fusion(shapes, lambda shape, name: models.unet(shape, width, name))


fair = models.match_parameters(build_early, count(late), widths=range(10, 13))
print(f"late, width 8: {count(late):,} weights; early, width {fair}: {count(build_early(fair)):,}")

# %% [markdown] tags=["core"]
# ## The tutorial's numbers
#
# The tutorial that this course follows printed, for climate zone on ben-ge-800: Sentinel-2 alone **45 %**, early fusion **36 %**,
# late fusion **36 %**. A hundred test patches, one seed.
#
# **Predict:** do these numbers show that the radar *hurts*? At $n = 100$, how large a difference can be told from chance?

# %% tags=["core"]
n, alone, fused = 100, 0.45, 0.36
error = np.sqrt(alone * (1 - alone) / n + fused * (1 - fused) / n)  # standard error of the difference
print(f"difference {alone - fused:.2f}, standard error {error:.3f}, z = {(alone - fused) / error:.1f}")
print(f"excludes zero from {1.96 * error:.2f} on; a true {2.8 * error:.2f} is found in four of five repetitions")

# %% [markdown] tags=["core"]
# z = 1.3: if there is none, a difference of this size or larger comes about by chance in one of five repetitions. And that is kind: it
# takes 100 neighbouring patches for 100 independent ones, and a single seed for the method. (A paired test on the same patches could be sharper, but the
# answers patch by patch were not printed.) The numbers show neither that fusion helps nor that it hurts.

# %% [markdown] tags=["core"]
# Even with a thousand patches they would not compare *ideas*: 17.4 million weights for early and 34.7 million for late fusion,
# each with its classification head; one small learning rate for all and about five epochs of unshuffled batches, so all three
# were far from trained. A fair race needs **equal size, equal tuning, enough training, replicates**. It is run below. First, the
# other contestants.

# %% [markdown] tags=["core"]
# ## Middle: join at every level
#
# $$h^{(l)} = \mathrm{ReLU}\big(\mathrm{BN}(W^{(l)} [h^{(l)}_1, h^{(l)}_2])\big)$$
#
# A contracting path for each sensor; at *every* level $l$ (stride 1, 2, … 16) their features are mixed by a 1 × 1 convolution $W$; one
# decoder reads the mixture. Fine detail can come from one sensor and the wide view from another.


# %% tags=["core"]
def encoders(width, names=("s2", "s1")):
    """A contracting path for each sensor, fresh on every call."""
    return {name: models.unet_encoder(schema[name].shape, width, name) for name in names}


middle = models.middle_fusion(encoders(4), models.unet_decoder(8))
for level, h in models.unet_encoder(shapes["s2"], 4, "s2").output.items():
    mix = middle.get_layer(f"join_{level}_convolution").kernel
    print(f"{level:9s} {h.shape[-1]:2d} + {h.shape[-1]:2d} channels, W {tuple(mix.shape)}")

# %% [markdown] tags=["core"]
# ## Gated: weigh them at every pixel
#
# $$h = \sum_m a_m \tanh(W_m h_m), \qquad a = \mathrm{softmax}(U [h_1, h_2])$$
#
# The *gates* $a_m$ are positive and add up to 1 at each pixel ([Arevalo et al. 2017](https://arxiv.org/abs/1702.01992)): under a
# cloud the network can turn to radar, beside it to colour. They can be drawn as maps. They say how much of each sensor was
# *taken*, not what it was worth.

# %% tags=["core"]
gated = models.gated_fusion(encoders(4), models.unet_decoder(8))
gates = keras.Model(gated.inputs, gated.get_layer("gate_stride_1").output)
inputs, targets = next(iter(eo.make_dataset(records, "test", ("s2", "s1"), ("land_cover_map",), batch_size=1)))
shown = gates(inputs).numpy()  # (1, 120, 120, 2): a share for Sentinel-2, a share for Sentinel-1
print(shown.shape, f"shares add up to {shown.sum(-1).min():.3f} .. {shown.sum(-1).max():.3f}")

# %% [markdown] tags=["core"]
# ## Cross-attention: look anywhere in the other image
#
# $$h_1' = h_1 + \mathrm{softmax}\big(Q_1 K_2^{\top} / \sqrt d\big)\, V_2$$
#
# The pixels of one level become *tokens*; each of sensor 1 asks ($Q_1 = A h_1$) all of sensor 2 ($K_2 = B h_2$) and takes what fits
# ($V_2 = C h_2$), $d$ numbers per token and head ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)). So the two need not match
# pixel by pixel.
#
# **Predict:** at which level can we afford that? Count the pairs of tokens of a 120 × 120 patch.

# %% tags=["core"]
for stride in (1, 2, 4, 8, 16):
    tokens = (120 // stride) ** 2
    print(f"stride {stride:2d}: {tokens:6,d} tokens, {tokens**2:11,d} pairs, for each head and each patch")
crossing = models.cross_attention_fusion(encoders(4), models.unet_decoder(8))
print(crossing.get_layer("attention_s2").key_dim, "numbers per token and head; at the coarsest level only")

# %% [markdown] tags=["core"]
# 207 million pairs at 10 m, 2,401 at stride 16. Attention is therefore used where the picture is small; finer levels are joined as in
# middle fusion.
#
# ## FiLM: scalars steer an encoder
#
# $$h' = (1 + \gamma(s))\, h + \beta(s)$$
#
# Weather $s$ is eight numbers, no picture. *Feature-wise linear modulation* ([Perez et al. 2018](https://arxiv.org/abs/1709.07871))
# lets them scale and shift every channel: brown fields in August and in March may mean different things.

# %% tags=["core"]
steered = models.film(models.unet_encoder(shapes["s2"], 4, "s2"), {"era5": (8,)})
scene, weather = tf.random.normal((1, 48, 48, 12)), tf.random.normal((1, 8))
before = steered.get_layer("s2_unet_encoder")(scene)  # h
after = steered({"s2": scene, "era5": weather})  # h'
change = tf.reduce_max(tf.abs(after["stride_1"] - before["stride_1"]))
print("largest change by the weather, before training:", float(change))

# %% [markdown] tags=["core"]
# Nothing: $\gamma$ and $\beta$ start at 0, so an untrained FiLM *is* its encoder, and learns to deviate only where that lowers the loss.
# Every way of fusing (a *rung* of our ladder) gives the same thing, a dict of levels, so every head of the course fits on every rung.
# That makes a race possible.

# %% [markdown] tags=["core"]
# ## Equal weights are not equal compute
#
# A weight of a convolution is used once per output pixel. At stride 1 a patch has 14,400 pixels, at stride 16 it has 49.
#
# **Predict:** the finest level of a U-Net holds about one weight in a hundred. What share of the multiplications does it do?

# %% tags=["core"]
width, channels = 7, 12
by_stride = {1: 4 + channels / width, 2: 16, 4: 64, 8: 256, 16: 128}  # kernels, in units of 9 w^2
operations = {stride: kernels * (120 // stride) ** 2 for stride, kernels in by_stride.items()}
print("stride   weights   multiplications")
for stride, kernels in by_stride.items():
    weights_share = kernels / sum(by_stride.values())
    print(f"{stride:6d} {weights_share:9.1%} {operations[stride] / sum(operations.values()):12.1%}")

# %% [markdown] tags=["core"]
# One weight in a hundred does a third of the work, and the coarsest level, with a quarter of the weights, does a fortieth. Two models
# of equal size can thus differ several-fold in time. So a fair table gives both. `evaluate.cost` counts the operations of the
# real graph:

# %% tags=["core"]
heads = {
    "climate_zone": models.scene_head(12),
    "land_cover_map": models.map_head(11),
    "season": models.regression_head(),
}
for name, backbone in {
    "early": build_early(7),
    "middle": models.middle_fusion(encoders(5), models.unet_decoder(13)),
}.items():
    print(evaluate.cost(models.multitask(backbone, heads, name=name)))

# %% [markdown] tags=["core"]
# Nearly equal in weights; compare the operations, the second column that a fair table needs.
#
# ## The race
#
# `experiment.py` trained ten contestants of about 214,000 weights in eight simulated worlds that no recipe was developed on; for
# each, three learning rates were tried in three others. **One comparison was named beforehand:** late fusion minus Sentinel-2 alone, pixel
# accuracy of the map. By an earlier experiment eight worlds find a true 0.045 in four of five runs.
#
# **Predict** the signs.

# %% tags=["core"]
results = json.loads(Path("results.json").read_text())
ladder = results["ladder"]


def race(world, task, metric):
    """Paired difference from Sentinel-2 alone over the worlds, for every contestant."""
    rows = {name: row["tasks"][task][metric]["values"] for name, row in ladder["contestants"][world].items()}
    return [
        paired_over_replicates(values, rows["S2"], first=name, second="S2", metric=metric)
        for name, values in rows.items()
        if name != "S2"
    ]


eo.plot.comparison_chart(race("default", "land_cover_map", "pixel_accuracy"), simulated=True)

# %% [markdown] tags=["core"]
# Read the interval, not the dot. The primary comparison, late minus Sentinel-2:
# {{ ladder.contestants.default.late.tasks.land_cover_map.pixel_accuracy.minus_s2.mean:+.3f}}
# [{{ ladder.contestants.default.late.tasks.land_cover_map.pixel_accuracy.minus_s2.low:+.3f}},
# {{ ladder.contestants.default.late.tasks.land_cover_map.pixel_accuracy.minus_s2.high:+.3f}}]. An interval that holds zero means
# "not shown by this design", which finds a true difference of
# {{ ladder.contestants.default.late.tasks.land_cover_map.pixel_accuracy.minus_s2.smallest_difference_power_80:.3f}} in four of five
# runs; it does not mean "no difference". Sentinel-1 alone is in the chart to show what the radar is worth by itself.

# %% [markdown] tags=["core"]
# In these worlds radar was worth something for the map: the primary interval excludes zero, and so do those of
# middle, gated and cross-attention fusion. Early fusion's does not; it may be worse than the others, or not. More is not better: with
# elevation and weather added the gain is gone ({{ ladder.contestants.default.all middle.tasks.land_cover_map.pixel_accuracy.minus_s2.mean:+.3f}}), and weather through FiLM
# cost {{ ladder.contestants.default.S2 film ERA-5.tasks.land_cover_map.pixel_accuracy.minus_s2.mean:+.3f}}: few dates, easily learned by heart, is our guess.

# %% [markdown] tags=["core"]
# The oracle goes from {{ ladder.oracle.default.land_cover_map.s2:.3f}} to {{ ladder.oracle.default.land_cover_map.s2+s1:.3f}} with
# Sentinel-1, which bounds scores, not gains. And mind the comparison: every difference here is *from Sentinel-2 alone*. Two rungs whose
# intervals overlap have not been compared with each other at all.

# %% tags=["extra"]
eo.plot.comparison_chart(
    race("default", "climate_zone", "accuracy") + race("default", "season", "mae"),
    simulated=True,
    title="Climate zone and season (exploratory)",
)

# %% [markdown] tags=["extra"]
# Eighteen differences, none of them named beforehand: of twenty intervals that should hold zero one misses it by chance. Treat a
# filled dot here as a question for the next experiment. For climate zone only whole tiles count as independent, and for season whole
# dates, so both scores move more from world to world than the map's.

# %% tags=["core"]
print("contestant         weights   MFLOPs per patch   s per training step of 16")
for name, found in ladder["costs"].items():
    print(f"{name:16s} {found['trainable_weights']:9,d} {found['flops'] / 1e6:14,.0f}", end=" ")
    print(f"{found['training_step_seconds']:20.2f}")

# %% [markdown] tags=["core"]
# Equal in the first column by construction, unequal in the others. Whoever gains a little accuracy at twice the operations has not
# shown a better idea yet; spend the same operations on a wider early fusion first.

# %% [markdown] tags=["core"]
# ## The silent world
#
# More inputs, more layers, more tuning: could the gain come from those and not from the radar? The control is a **null world**:
# everything as before, but Sentinel-1 shows *another continent*, made by the same rules. It looks like radar, and tells nothing.

# %% tags=["core"]
sides = {"default": eo.ben_ge.World(), "null": eo.ben_ge.World().without("s1")}
pair = {}
for name, world in sides.items():
    small = work / f"pair-{name}"
    if not small.exists():
        eo.ben_ge.simulate(small, patches=6, seed=3, world=world, tiles=6, processes=1)
    source = eo.ben_ge.open_source(small)
    pair[name] = [source.read(patch_id).features for patch_id in source.patch_ids]


# %% tags=["core"]
def variety(patch):
    """How many classes cover 3 % or more; 0 where clouds or snow are bright in the blue."""
    return (np.percentile(patch["s2_10m"][..., 0], 98) < 2000) * np.sum(patch["land_cover_fractions"] > 0.03)


index = max(range(6), key=lambda i: variety(pair["default"][i]))
place, decoy = pair["default"][index], pair["null"][index]

# %% tags=["core"]
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3.4), layout="constrained")
axes[0].imshow(eo.plot.true_colour(place["s2_10m"], eo.ben_ge.schema.RASTERS["s2_10m"].bands))
for axis, patch in zip(axes[1:], (place, decoy), strict=True):
    axis.imshow(patch["s1"][..., 0], cmap="gray", vmin=-25, vmax=0)
for axis, title in zip(axes, ("Sentinel-2, reflectance 0 to 0.3", "its Sentinel-1, VV", "null world: VV"), strict=True):
    axis.set(title=title, xticks=[], yticks=[])
finish(figure, "One place, and two radar images of which one belongs to it", None, simulated=True)

# %% [markdown] tags=["core"]
# Which borders of the left picture do you find again in the middle, and which on the right? A method that "gains" from the right-hand
# radar has gained from something else. **Predict** the chart: where will the dots lie?

# %% tags=["core"]
eo.plot.comparison_chart(
    race("null", "land_cover_map", "pixel_accuracy"), simulated=True, title="Null world: minus Sentinel-2 alone"
)

# %% [markdown] tags=["core"]
# Late minus Sentinel-2 in the null world:
# {{ ladder.contestants.null.late.tasks.land_cover_map.pixel_accuracy.minus_s2.mean:+.3f}}
# [{{ ladder.contestants.null.late.tasks.land_cover_map.pixel_accuracy.minus_s2.low:+.3f}},
# {{ ladder.contestants.null.late.tasks.land_cover_map.pixel_accuracy.minus_s2.high:+.3f}}]. An interval above zero would be an
# alarm; one *below* zero is honest: a useless sensor costs weights and invites learning by heart. But an interval that *holds* zero is
# not silence: these five worlds would find a gain of
# {{ ladder.contestants.null.late.tasks.land_cover_map.pixel_accuracy.minus_s2.smallest_difference_power_80:.3f}} in four of five runs,
# smaller ones mostly not.

# %% [markdown] tags=["core"]
# The sharper question: does true radar help more than a *decoy*? The same model, the same five worlds, subtracted:

# %% tags=["core"]
for name, found in ladder["radar_minus_decoy"].items():
    print(f"{name:16s} {found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]")

# %% [markdown] tags=["core"]
# With the decoy no rung's interval excludes zero, and middle and gated fusion even lie below it. The true radar beats
# the decoy in **all five** rungs, by {{ ladder.radar_minus_decoy.early.mean:+.3f}} (early) to
# {{ ladder.radar_minus_decoy.middle.mean:+.3f}} (middle), and every interval excludes zero, though late fusion's barely. So the gain is
# knowledge of the place, not a larger network: exploratory, but five times the same sign.

# %% [markdown] tags=["core"]
# ## Clouds: more dose, more effect?
#
# If radar helps *because* it sees through clouds, its worth must grow with the clouds. ben-ge cannot show it: its makers chose
# nearly cloud-free scenes (1.6 % of patches are flagged). So we make clouds ourselves: smooth noise, and white where it is
# highest. The label stays: the map is about the ground.

# %% tags=["core"]
CLOUD = 6_000  # digital numbers: reflectance 0.6 in every band, near enough


def cloud_masks(count, fraction, seed):
    """Where the clouds are, as a function of the grid's size: bool (count, size, size, 1)."""
    coarse = tf.random.stateless_normal((count, 4, 4, 1), seed)

    def heights(size):
        return tf.image.resize(coarse, (size, size), "bicubic")

    ranked = tf.sort(tf.reshape(heights(120), [-1]), direction="DESCENDING")
    edge = ranked[tf.cast(fraction * tf.cast(tf.size(ranked), tf.float32), tf.int32)]
    return lambda size: heights(size) > edge


# %% tags=["core"]
def clouds(fraction):
    """Augmentation: hides this share of a batch's Sentinel-2 pixels; some patches stay clear, some vanish."""

    def apply(batch, seed):
        hidden = dict(batch)
        masks = cloud_masks(tf.shape(batch["s2_10m"])[0], fraction, seed)
        for name in eo.ben_ge.schema.S2_GROUPS:  # uint16 (B, 120, 120, 4), (B, 60, 60, 6), (B, 20, 20, 2)
            white = masks(batch[name].shape[1])
            hidden[name] = tf.where(white, tf.cast(CLOUD, batch[name].dtype), batch[name])
        return hidden

    return apply


# %% tags=["core"]
doses = (0.0, 0.3, 0.6)
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3.4), layout="constrained")
for axis, dose in zip(axes, doses, strict=True):
    view = eo.make_dataset(records, "test", ("s2",), calibrate=None, batch_size=16, augment=clouds(dose), seed=3)
    inputs, _ = next(iter(view))
    white = np.mean(inputs["s2"][..., 1] == CLOUD)
    axis.imshow(eo.plot.true_colour(inputs["s2"][0].numpy()))
    axis.set(title=f"batch {white:.0%} hidden", xticks=[], yticks=[])
finish(figure, "One patch as the share of cloud in its batch grows", schema)

# %% [markdown] tags=["core"]
# Crude clouds: no shadows, no thin edges, the same white in every band. Good enough to ask what a network does when it sees nothing,
# and they work on real patches, too. The simulator's own clouds (with shadows) serve the experiment below.
#
# Now we train, under nearly clear skies, three small models of our own: one for Sentinel-2, two that fuse three sensors.

# %% tags=["core"]
TASKS = tuple(heads)
WIDTH, EPOCHS, MIDDLE = (2, 1, 24) if FAST else (4, 40, 72)
turn = eo.augment.chain(eo.augment.random_crop(36), eo.augment.dihedral())
SENSORS = ("s2", "s1", "dem")
options = {"batch_size": 16, "shuffle": True, "seed": 0, "cache": "memory", "augment": turn, "presence": True}
training = eo.make_dataset(records, "train", SENSORS, TASKS, **options)  # each model takes what it knows by name


# %% tags=["core"]
def centre(*parts):
    """The middle MIDDLE x MIDDLE pixels of every raster."""
    inner = slice((120 - MIDDLE) // 2, (120 + MIDDLE) // 2)
    return tuple({k: v[:, inner, inner] if v.shape.rank > 2 else v for k, v in part.items()} for part in parts)


# %% tags=["core"]
def fit(build, name):
    """Trains with a rate that falls to zero; rate and epochs are fixed beforehand, nothing is chosen."""
    keras.utils.set_random_seed(0)
    model = models.multitask(build(), heads, name=name)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, EPOCHS * int(training.cardinality()))
    # Eagerly in fast mode: a step takes longer, but no graph has to be traced.
    model.compile(optimizer=keras.optimizers.AdamW(rate), loss=eo.losses.for_tasks(TASKS), run_eagerly=FAST)
    losses = model.fit(training, epochs=EPOCHS, verbose=0, shuffle=False).history["loss"]
    print(f"{name}: {count(model):,} weights, training loss {losses[0]:.2f} to {losses[-1]:.2f}")
    return model


# %% tags=["core"]
def three():
    return models.middle_fusion(encoders(WIDTH, SENSORS), models.unet_decoder(2 * WIDTH))


def robust():
    return models.drop_modality(three(), rate=0.3)


fair = round(np.sqrt(count(three()) / 4212))  # the width that exercise 1 teaches
only_s2 = fit(lambda: models.unet(shapes["s2"], fair, "s2"), "s2_alone")
plain = fit(three, "plain")
dropped = fit(robust, "dropped")

# %% [markdown] tags=["core"]
# `dropped` will be explained below. First the clouds: all were trained under nearly clear skies and are now tested under our white
# ones.
#
# **Predict:** which of `s2_alone` and `plain` falls faster? Remember that both have met hardly a cloud, and white mostly as snow.


# %% tags=["core"]
def under(fraction):
    """Test patches, with all that our models may ask for; the same clouds for every model."""
    options = {"presence": True, "augment": clouds(fraction), "seed": 0, "metadata": ("patch_id", "tile", "date")}
    return eo.make_dataset(records, "test", SENSORS, TASKS, **options).map(centre).cache()


tests = {dose: under(dose) for dose in doses}
accuracy = {"s2_alone": [], "plain": []}
for dose, test in tests.items():
    for model in (only_s2, plain):
        found = evaluate.score(model, test, schema).tasks["land_cover_map"].estimates["pixel_accuracy"]
        accuracy[model.name].append(found.value)
        print(f"{dose:.0%} cloud, {model.name:9s} pixel accuracy {found} {found.interval}")

# %% tags=["core"]
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, values), colour, line in zip(accuracy.items(), ("#332288", "#CC6677"), ("o-", "s--"), strict=True):
    axis.plot(doses, values, line, color=colour, label=name)
axis.set(xlabel="share of Sentinel-2 pixels under cloud, at test only", ylabel="pixel accuracy", ylim=(0, 1))
axis.legend(frameon=False)
finish(figure, "Trained under a clear sky, tested under clouds (one world, one seed)", schema)

# %% [markdown] tags=["core"]
# A second sensor in the model is no insurance by itself: a network that met white mostly as snow has not learned that it can mean
# "nothing seen", and may trust it. It can only learn to look away from what it has *seen fail in training*. (Three values of one run:
# an illustration.) So the experiment trains **and** tests under the same clouds, at three doses in five worlds:

# %% tags=["core"]
cloudy = results["clouds"]
table = {name: np.transpose(values) for name, values in cloudy["pixel_accuracy"].items()}  # (worlds, doses)
words = {"dose_name": "expected share of Sentinel-2 pixels under cloud", "score_name": "pixel accuracy, land cover"}
eo.plot.dose_response(cloudy["doses"], table, **words)

# %% [markdown] tags=["core"]
# The quantity named beforehand is the *slope* of (late − Sentinel-2) over the dose, world by world:
# {{ clouds.slope.mean:+.3f}} [{{ clouds.slope.low:+.3f}}, {{ clouds.slope.high:+.3f}}] for 100 % of cloud, from doses of 1.5 to 80 %.
# In nearly clear skies the gain is {{ clouds.gain.0.mean:+.3f}}, at 40 % {{ clouds.gain.1.mean:+.3f}}, at 80 %
# {{ clouds.gain.2.mean:+.3f}}. Sentinel-1 alone was trained once per world, since no cloud touches it: its line is flat by construction.
#
# The slope excludes zero: radar is worth more where clouds hide more, as planted. How *much* more, five worlds do not tell; the
# interval reaches from next to nothing to twice the mean. Alone, both sensors are about as good in clear skies; at 40 % cloud
# radar is far ahead.

# %% [markdown] tags=["core"]
# ## Which sensor does a model use?
#
# **Modality importance**: give every patch the radar of *another* patch, leave all else, and see what the score loses. Sensors
# that the model ignores can be shuffled for free. Statistics are averaged over several shuffles; the interval is over tiles
# (for season: dates).

# %% [markdown] tags=["core"]
# ## Exercise 2: predict, then shuffle
#
# For **season**, order the three sensors of `plain` from most to least important, *before* you run on. Think of what each
# can know about a date. `answer_2 = ("...", "...", "...")`

# %% tags=["core", "exercise"]
answer_2 = None
# BEGIN SOLUTION
answer_2 = ("s2", "s1", "dem")  # snow, leaves and sun in colour; frost and crops in radar; hills have no date
# END SOLUTION

# %% tags=["core"]
if answer_2 is None:
    print("Hint: which of the three looks the same in January and in July?")
elif sorted(answer_2) != sorted(SENSORS):
    print(f"Not yet: name each of {SENSORS} once.")
elif answer_2[-1] != "dem":
    print("Not yet: one of the three has no date in it at all. Which one belongs last?")
else:
    print("Right about what can be known: a DEM carries no date. Now see what this model uses.")

# %% tags=["core"]
importance = evaluate.modality_importance(plain, tests[0.0], schema, repeats=1 if FAST else 3)
eo.plot.importance_chart(importance, metrics=("accuracy", "pixel_accuracy", "mae"))

# %% [markdown] tags=["core"]
# The check asked what sensors *can* tell; the chart says what **this model** uses. Importance does **not** show that a sensor is needed
# (another may stand in) or what it would add to another model. It may be too large, since a shuffled patch is a chimera (snow here,
# July there), or too small, since the other patch may be of the same date. To learn what a sensor is worth, train without it: that
# was the race.

# %% [markdown] tags=["core"]
# ## When a sensor is missing
#
# The satellite fails, the scene is late, the archive has a hole. A fused model then gets zeros, which after standardising is the
# average of training. `plain` was never told. `dropped` was: in training each sensor of each patch is hidden with
# probability 0.3, never all of them ([ModDrop, Neverova et al. 2015](https://arxiv.org/abs/1501.00102)):
#
# $$x_m \to x_m \text{ where } p_m = 1, \text{ else } 0$$

# %% tags=["core"]
print([tensor.name for tensor in dropped.inputs])
layer = eo.layers.DropModality(rate=0.3, seed=0)
ones = tf.ones((10_000, 1))
hidden = layer([ones, ones, ones, ones, ones, ones], training=True)  # three sensors, three presences
kept = np.concatenate([x.numpy() for x in hidden], axis=1)  # (10000, 3)
print("each is hidden in", (1 - kept.mean(0)).round(3), "of the patches; all at once in", np.mean(kept.sum(1) == 0))

# %% [markdown] tags=["core"]
# A little less than 0.3 each, because the last one standing is always kept. At test time the inputs `s1_present` and so on say what
# is there; what a missing sensor holds (even NaN) changes nothing.
#
# **Predict:** (a) with all three sensors, which model is better? (b) With Sentinel-1 alone?

# %% tags=["core"]
tables = [evaluate.subset_scores(model, tests[0.0], schema, name=model.name) for model in (dropped, plain)]
eo.plot.subset_chart(*tables, metrics=("accuracy", "pixel_accuracy", "mae"))

# %% tags=["extra"]
print(evaluate.compare_subsets(*tables)["s1"])

# %% [markdown] tags=["core"]
# Rows are sets of sensors, filled dots on the left say which are there; the dashed line is an answer that needs no sensor at all. A
# model that falls *below* the dashed line does worse than not looking. One world and one seed are an illustration. The experiment
# did it in five worlds, both models tuned alike:

# %% tags=["core"]
subsets = results["sensors"]["subsets"]
print("pixel accuracy     with DropModality   without   difference")
for name, found in subsets.items():
    row = found["land_cover_map"]["pixel_accuracy"]
    gain = row["difference"]
    print(f"{name:18s} {row['dropped']:17.3f} {row['plain']:9.3f}", end="   ")
    print(f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")

# %% [markdown] tags=["core"]
# The comparison named beforehand is Sentinel-1 alone:
# {{ sensors.subsets.s1.land_cover_map.pixel_accuracy.difference.mean:+.3f}}
# [{{ sensors.subsets.s1.land_cover_map.pixel_accuracy.difference.low:+.3f}},
# {{ sensors.subsets.s1.land_cover_map.pixel_accuracy.difference.high:+.3f}}]. The last row is the price of the insurance, paid when
# nothing is missing: {{ sensors.subsets.s2+s1+dem.land_cover_map.pixel_accuracy.difference.mean:+.3f}}
# [{{ sensors.subsets.s2+s1+dem.land_cover_map.pixel_accuracy.difference.low:+.3f}},
# {{ sensors.subsets.s2+s1+dem.land_cover_map.pixel_accuracy.difference.high:+.3f}}].
#
# The price is shown, the benefit is not: its interval holds zero, and five worlds find a true difference of
# {{ sensors.subsets.s1.land_cover_map.pixel_accuracy.difference.smallest_difference_power_80:.2f}} in four of five repetitions only. Of
# the six rows with a sensor missing five are positive, and one of them excludes zero, which is exploratory. Both models had the
# same number of steps, and the one that hides sensors spends most of them on fewer. So insure where sensors do go missing, and
# measure the premium first.

# %% [markdown] tags=["core"]
# ## Exercise 3: read a subset table
#
# Write `answer_3(scores)`: it gets a dict from set of sensors (`"s2+s1"`) to a score where more is better, and returns the *one*
# sensor whose loss costs the most, starting from the full set (the longest name).
#
# **Predict first:** which sensor is it, for each of the two models? Is it the same one?

# %% tags=["core", "exercise"]
answer_3 = None
# BEGIN SOLUTION


def answer_3(scores):
    full = max(scores, key=len)
    names = full.split("+")
    without = {name: "+".join(other for other in names if other != name) for name in names}
    return min(names, key=lambda name: scores[without[name]])


# END SOLUTION

# %% tags=["core"]
toy = {"s2": 0.6, "s1": 0.1, "dem": 0.5, "s2+s1": 0.9, "s2+dem": 0.8, "s1+dem": 0.85, "s2+s1+dem": 0.95}
other = {"s2": 0.7, "s1": 0.2, "dem": 0.3, "s2+s1": 0.9, "s2+dem": 0.8, "s1+dem": 0.5, "s2+s1+dem": 0.95}
if answer_3 is None:
    print("Hint: losing `s1` leaves `s2+dem`. Compare the pairs, not the single sensors.")
elif [answer_3(toy), answer_3(other)] != ["s1", "s2"]:
    print("Not yet: in `toy` and `other`, which pair is the worst to be left with, and who is missing there?")
else:
    print("Right. In the experiment, for the map:")
    for side in ("dropped", "plain"):
        scores = {name: found["land_cover_map"]["pixel_accuracy"][side] for name, found in subsets.items()}
        print(f"{side}: the loss of {answer_3(scores)} costs most")

# %% [markdown] tags=["core"]
# In the toy, radar alone is worthless and yet the one whose loss hurts most: what a sensor is worth depends on who else is there.
# That is why a single number "importance of S1" does not exist.

# %% [markdown] tags=["extra"]
# ## Extra: the DEM, shipped and never read
#
# The tutorial ships elevation and weather with every patch and reads neither. The DEM needs no new idea: one more channel. But
# know what it is: a model of the *surface*. How high does a pixel stand above its surroundings, by class?

# %% tags=["extra"]
dem, cover = [], []
for inputs, targets in eo.make_dataset(records, "train", ("dem",), ("land_cover_map",), calibrate=None):
    around = tf.nn.avg_pool2d(inputs["dem"], 31, 1, "SAME")  # mean of 310 m x 310 m
    dem.append((inputs["dem"] - around).numpy().ravel())
    cover.append(targets["land_cover_map"].numpy().ravel())
dem, cover = np.concatenate(dem), np.concatenate(cover)
for index, entry in enumerate(eo.ben_ge.schema.LAND_COVER):
    if np.sum(cover == index) > 5_000:
        print(f"{entry.name:26s} {np.median(dem[cover == index]):+5.1f} m above its surroundings (median)")

# %% [markdown] tags=["extra"]
# Trees stand above their surroundings: their tops, and woods on higher ground; this number cannot tell the two apart. The race had the
# tutorial's own proposal, Sentinel-2 with the DEM as a thirteenth channel: map accuracy minus Sentinel-2 alone
# {{ ladder.contestants.default.S2 + DEM early.tasks.land_cover_map.pixel_accuracy.minus_s2.mean:+.3f}}
# [{{ ladder.contestants.default.S2 + DEM early.tasks.land_cover_map.pixel_accuracy.minus_s2.low:+.3f}},
# {{ ladder.contestants.default.S2 + DEM early.tasks.land_cover_map.pixel_accuracy.minus_s2.high:+.3f}}], exploratory.

# %% [markdown] tags=["extra"]
# ## Extra: weather is a shortcut
#
# Eight numbers of weather at the time of the two satellites. Give them to a tiny network, **without any picture**, and ask
# for climate zone and season.
#
# **Predict:** will it beat the baseline that always says the same?

# %% tags=["extra"]
pair_of_tasks = ("climate_zone", "season")
blind = models.multitask(models.dense_encoder((8,), 32, name="era5"), {name: heads[name] for name in pair_of_tasks})
blind.compile(optimizer=keras.optimizers.AdamW(1e-2), loss=eo.losses.for_tasks(pair_of_tasks), run_eagerly=FAST)
numbers = {
    split: eo.make_dataset(records, split, ("era5",), pair_of_tasks, shuffle=split == "train", seed=0, metadata=names)
    for split, names in {"train": (), "test": ("patch_id", "tile", "date")}.items()
}
blind.fit(numbers["train"], epochs=1 if FAST else 60, verbose=0, shuffle=False)
print(evaluate.score(blind, numbers["test"], schema, name="weather alone"))

# %% [markdown] tags=["extra"]
# `make_dataset` warned: weather reveals place and date. In part: the table of oracles says how far weather alone (`era5`) gets.
# Compare each row with the baseline below it. *Better* than the baseline was scored without looking, so a fused model that improves
# with ERA-5 need not have read the image better. *Worse* was learned by heart: a few dozen dates, and new ones in the test. Both
# are reasons to distrust the input. For the **map** weather can only help to *read* colours; there it is a fair FiLM input.

# %% [markdown] tags=["core"]
# ## Why the real numbers flatter S1 + S2
#
# On ben-ge, land cover is ESA WorldCover: the output of a classifier that read **Sentinel-1 and Sentinel-2**, right in about three of
# four pixels, made for 2021, while the images are of 2017-18. A model that sees the same sensors can learn that classifier's mistakes
# and is rewarded. A gain of S1 + S2 over S2 is a gain in *agreement*; only independent ground data tell how much is true.

# %% [markdown] tags=["core"]
# ## What to take along
#
# 1. Fusion is a choice of *where* inputs meet; every rung gives the same levels to the same heads.
# 2. Equal weights, equal tuning, compute beside them; one comparison named beforehand.
# 3. A gain must grow with its cause and exceed that of a decoy.
# 4. A sensor that was always there in training is a liability: drop it now and then.
# 5. Importance is of a model, not of a sensor.
# 6. Ask which input knows the answer without looking.

# %% [markdown] tags=["core"]
# **Where to read more.** Early and late fusion with elevation: [Audebert et al. 2018](https://arxiv.org/abs/1711.08681). Early, middle,
# late for remote sensing: [Hong et al. 2021](https://arxiv.org/abs/2008.05457). Attention between modalities:
# [Tsai et al. 2019](https://arxiv.org/abs/1906.00295). Permutation importance: [Breiman
# 2001](https://doi.org/10.1023/A:1010933404324), [Fisher et al. 2019](https://arxiv.org/abs/1801.01489). Shortcuts:
# [Geirhos et al. 2020](https://arxiv.org/abs/2004.07780). WorldCover: [product pages](https://esa-worldcover.org).
