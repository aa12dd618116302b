# %% [markdown] tags=["core"]
# # 1 · From patches to pipelines
#
# <!-- badge -->
#
# **How does a folder of satellite files become batches that a network can learn from, with nothing lost and nothing
# made up on the way?**
#
# About an hour with the exercises. You need Python and NumPy, no TensorFlow and no remote sensing; words of both fields are in
# the [glossary](../README.md) of the course. Cells under a heading that says *extra* can be left out.

# %% tags=["setup"]
LESSON = "1_patches_to_pipelines"
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
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import tensorflow as tf
import tensorflow_datasets as tfds

import eokeras as eo
from eokeras.plot.style import STYLE, finish

FAST = os.environ.get("EOKERAS_FAST") == "1"
DATA = "simulated"  # or "ben-ge-800": real patches, 183 MB to download

# %% [markdown] tags=["core"]
# ## The data: one place, many instruments
#
# [ben-ge](https://github.com/HSG-AIML/ben-ge) holds patches of 1.2 km by 1.2 km in Europe, each seen by several sensors.
# Its layout is a folder of GeoTIFF files and a few tables. Our default is a *simulated* tree in the same layout: a made-up
# continent seen by sensors with the physics of the literature, made in seconds. Everything below runs on either.

# %% tags=["core"]
work = Path("work")
work.mkdir(exist_ok=True)
tfds.disable_progress_bar()
plt.rcParams.update({**STYLE, "figure.dpi": 76})


def get_tree():
    """The directory of the patches; made or downloaded only where it is missing."""
    if DATA == "ben-ge-800":
        return eo.ben_ge.download("ben-ge-800", work)
    tree = work / ("ben-ge-sim-fast" if FAST else "ben-ge-sim")
    if not tree.exists():  # radar gaps in a fifth of the patches: more than usual, so that we meet some
        world = eo.ben_ge.World(s1_missing=0.2)
        eo.ben_ge.simulate(tree, patches=40 if FAST else 400, seed=0, world=world)
    return tree


# %% tags=["core"]
tree = get_tree()
source = eo.ben_ge.open_source(tree)
print(source)
if source.world:
    print(source.world["statement"])

# %% [markdown] tags=["core"]
# That sentence goes with every number from simulated data. The simulator knows the truth, so it is good for learning how
# tools behave; it is no evidence about Europe.
#
# **Predict:** how many files does *one* patch have? Think of twelve optical bands, two radar channels, height and a map.

# %% tags=["core"]
patch = source.read(source.patch_ids[0]).features
names = (patch["patch_id"], patch["patch_id_s1"])
files = sorted(file for file in tree.rglob("*.*") if file.name.startswith(names))
for file in files:
    print(f"{file.stat().st_size:8,d} bytes  {file.relative_to(tree)}")
print(len(files), "files")

# %% [markdown] tags=["core"]
# Sixteen rasters and a label file, besides the rows in four tables. Opening a georeferenced file takes about a
# millisecond, which is nothing once and a nuisance 590,326 times (the full ben-ge), every epoch. We will come back to this.
# First, what is in them? `source.read` has checked every file and gives NumPy arrays *as stored*.

# %% tags=["core"]
facts = eo.ben_ge.schema  # bands, classes, units: the tables of the data set
for name, raster in facts.RASTERS.items():
    if name in patch:  # BigEarthNet has one raster more
        shape, dtype = str(patch[name].shape), str(patch[name].dtype)
        print(f"{name:15s} {shape:14s} {dtype:8s} {raster.gsd_m:3d} m  {raster.unit}")

# %% [markdown] tags=["core"]
# Five different things: counts of reflected light, decibels, metres, class codes, and (in the tables) weather. Sentinel-2
# alone comes on three grids: 120, 60 and 20 pixels across the same 1.2 km. A network wants one array of small floats. The
# rest of this lesson is the way there, and the four places where it goes wrong silently.

# %% [markdown] tags=["core"]
# ## Reflectance: what Sentinel-2 measures
#
# Sunlight falls on the ground; *reflectance* is the share that comes back, per band, with the atmosphere removed (level
# L2A). It is stored as whole *digital numbers*: $\text{reflectance} = \text{DN} \cdot \text{scale} + \text{offset}$. Here
# scale is 0.0001 and offset 0; products processed since 25 January 2022 carry an offset of −0.1. Mixing the two unawares
# shifts every pixel.


# %% tags=["core"]
def band(patch, name):
    """One Sentinel-2 band of a patch by its name: stored digital numbers (H, W)."""
    group = next(group for group in facts.S2_GROUPS if name in facts.RASTERS[group].bands)
    return patch[group][..., facts.RASTERS[group].bands.index(name)]


print("band   wavelength   pixel   median reflectance")
for info in facts.S2_BANDS:
    reflectance = band(patch, info.name) * info.scale + info.offset
    print(f"{info.name:4s} {info.wavelength_nm:9.0f} nm {info.gsd_m:5d} m {np.median(reflectance):14.3f}")

# %% [markdown] tags=["core"]
# Twelve bands from violet (443 nm) to the short-wave infrared (2202 nm). Narrow bands, and those where the sun is weak, have
# larger pixels to gather enough light. Note the order: B8A stands between B08 and B09, and there is no B10.
#
# **Predict:** "true colour is channels 4, 3, 2 of the stack", says many a script. Which bands are these here?

# %% tags=["core"]
print([facts.CHANNELS["s2"][index] for index in (4, 3, 2)])

# %% [markdown] tags=["core"]
# Red edge, red, green: not what an eye sees. Python counts from zero and the stack begins with B01, so the recipe is off by
# one, and the picture still looks like a picture. The tutorial that this course grew from fell for it, too. Ask for bands
# **by name**; then the order cannot bite you.

# %% tags=["core"]
patches = [source.read(patch_id).features for patch_id in source.patch_ids]
clear = [one for one in patches if np.percentile(band(one, "B02"), 98) < 2000]  # neither clouds nor snow
dark = min(clear, key=lambda one: np.percentile(band(one, "B04"), 99))
bright = max(clear, key=lambda one: np.median(band(one, "B04")))


def own_stretch(one):
    """True colour in which each band of each patch runs from its own minimum to its own maximum."""
    rgb = np.stack([band(one, name) for name in ("B04", "B03", "B02")], axis=-1).astype("float32")
    low, high = rgb.min(axis=(0, 1)), rgb.max(axis=(0, 1))
    return (rgb - low) / np.maximum(high - low, 1)


# %% tags=["core"]
figure, axes = plt.subplots(2, 2, figsize=(4.2, 4.6), layout="constrained")
for row, one in zip(axes, (dark, bright), strict=True):
    row[0].imshow(own_stretch(one))
    row[1].imshow(eo.plot.true_colour(one["s2_10m"], facts.RASTERS["s2_10m"].bands))
    row[0].set_ylabel(f"median red {np.median(band(one, 'B04')) * 1e-4:.2f}")
axes[0, 0].set_title("each patch its own stretch")
axes[0, 1].set_title("reflectance 0 to 0.3, gamma 0.7")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
finish(figure, "Only one fixed stretch shows which patch is brighter", source)

# %% [markdown] tags=["core"]
# Left, every patch uses all colours, and the dark one's faintest differences, even the sensor's noise, glow like a bright
# field: pretty, and useless for comparing. Right, one stretch for all, written beside the picture. Every true-colour picture
# in this course uses it. Say your stretch; a satellite picture without one is a mood, not a measurement.

# %% [markdown] tags=["core"]
# ## Exercise 1: a vegetation index, by name
#
# Leaves absorb red light and throw back the near infrared. $\text{NDVI} = (\text{NIR} - \text{red}) / (\text{NIR} +
# \text{red})$, with NIR = B08 and red = B04, is therefore near 1 over dense green, near 0 over bare soil and below 0
# over water.
#
# **Predict first:** which WorldCover class will be highest: tree cover, cropland, grassland, built-up? Then write
# `answer_1(patch)`, which returns NDVI (H, W) for a patch.

# %% tags=["core", "exercise"]
answer_1 = None
# BEGIN SOLUTION


def answer_1(patch):
    near_infrared = band(patch, "B08").astype("float32")
    red = band(patch, "B04").astype("float32")
    return (near_infrared - red) / (near_infrared + red)


# END SOLUTION

# %% tags=["core"]
if answer_1 is None:
    print("Hint: `band(patch, ...)` gives unsigned integers. What would 300 - 500 be among them? Make floats first.")
else:
    two_pixels = {"s2_10m": np.array([[[0, 0, 400, 1200], [0, 0, 500, 300]]], "uint16")}  # B02, B03, B04, B08
    values = np.asarray(answer_1(two_pixels), "float64")
    if values.shape != (1, 2):
        print(f"Not yet: two pixels (1, 2) must give two numbers (1, 2). Received: shape {values.shape}.")
    elif np.allclose(values, [[0.5, -0.25]], atol=1e-3):
        print("Right, over leaves and over water.")
    else:
        print(f"Not yet: a leafy and a wet pixel gave {values.round(2).tolist()}; by hand they are not both that.")

# %% tags=["core"]
of_class = {}
if answer_1 is not None:
    for entry in facts.LAND_COVER:
        parts = [answer_1(one)[one["land_cover_map"] == entry.code] for one in patches]
        if sum(map(len, parts)):
            of_class[entry.name] = np.percentile(np.concatenate(parts), (5, 50, 95))
for name, (low, middle, high) in sorted(of_class.items(), key=lambda item: item[1][1]):
    print(f"{name:24s} middle {middle:5.2f}, nine in ten pixels from {low:5.2f} to {high:5.2f}")

# %% tags=["core"]
if of_class:
    ordered = sorted(of_class, key=lambda name: of_class[name][1])
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for row, name in enumerate(ordered):
        low, middle, high = of_class[name]
        axis.plot([low, high], [row, row], color="#0072B2")
        axis.plot(middle, row, "o", color="#0072B2")
    axis.set_yticks(range(len(ordered)), ordered)
    axis.set_xlabel("NDVI (dot: median of the pixels; line: 5 % to 95 %)")
    finish(figure, f"Highest in the middle: {ordered[-1]}. But the classes overlap", source)

# %% [markdown] tags=["core"]
# The order is what leaves make of light, over all dates. The *overlap* is the lesson: a field is green in May and bare in
# September, so no threshold on one index separates classes. That is why we give a network all bands, and later all sensors.

# %% [markdown] tags=["core"]
# ## Backscatter: what Sentinel-1 measures
#
# A radar brings its own light: it sends microwaves (5.4 GHz) sideways and records the echo, day and night, in all weathers.
# Smooth water mirrors the pulse away and is dark; walls throw it back and are bright; leaves scatter it, which shows
# most in *VH* (sent vertical, received horizontal). Stored are *decibels*, $10 \log_{10}$ of power.
#
# **Predict:** one pixel has −10 dB, its neighbour −20 dB. What is the mean echo of the two?

# %% tags=["core"]
pair_db = np.array([-10.0, -20.0])
pair_power = 10 ** (pair_db / 10)  # 0.1 and 0.01
print(f"mean of the decibels: {pair_db.mean():.1f} dB")
print(f"decibels of the mean: {10 * np.log10(pair_power.mean()):.1f} dB")

# %% [markdown] tags=["core"]
# −15 or −12.6: decibels are logarithms, so their mean is a geometric one. Energy is averaged in power. Whenever you resample
# or average radar, say which you did. For a network's input decibels are still the better choice: in power nearly all
# pixels crowd at zero and a few roofs outshine everything.

# %% tags=["core"]
trees_houses_water = (10, 50, 80)  # WorldCover codes
mixed = max(patches, key=lambda one: min(np.sum(one["land_cover_map"] == code) for code in trees_houses_water))
figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.8), layout="constrained")
axes[0].imshow(eo.plot.true_colour(mixed["s2_10m"], facts.RASTERS["s2_10m"].bands))
axes[0].set_title("Sentinel-2, reflectance 0 to 0.3")
for axis, channel, name in zip(axes[1:], (0, 1), facts.S1_POLARISATIONS, strict=True):
    shown = axis.imshow(mixed["s1"][..., channel], cmap="gray", vmin=-25, vmax=0)
    axis.set_title(f"Sentinel-1 {name}")
figure.colorbar(shown, ax=axes, label="backscatter [dB]", shrink=0.8)
for axis in axes:
    axis.set(xticks=[], yticks=[])
finish(figure, "The radar sees the same ground by other rules, and grainier", source)

# %% [markdown] tags=["core"]
# The grain is *speckle*: echoes of many small scatterers in a pixel add up or cancel. It is physics, not a broken sensor,
# and it does not go away with a better camera, only by averaging (fewer pixels) or by learning to look past it. VH is darker
# than VV throughout: less of the wave comes back turned.

# %% [markdown] tags=["core"]
# ## Elevation, land cover, weather: the other four
#
# *Elevation* (Copernicus DEM) is that of the **surface**: tree tops and roofs count. *Land cover* (ESA WorldCover) has eleven
# classes and was itself made **from Sentinel-1 and Sentinel-2**: a network that reproduces it agrees with another
# classifier, which is not the same as being right. It is of 2021, the images are of 2017 and 2018.

# %% tags=["core"]
ids = eo.ops.make_target("land_cover_map")({"land_cover_map": mixed["land_cover_map"]})["land_cover_map"].numpy()
figure, axes = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
height = axes[0].imshow(mixed["dem"][..., 0], cmap="cividis")
axes[0].imshow(eo.plot.hillshade(mixed["dem"][..., 0]), cmap="gray", alpha=0.45)
figure.colorbar(height, ax=axes[0], label="elevation [m]", location="left", shrink=0.7)
axes[1].imshow(eo.plot.land_cover_rgb(ids))
for index in np.unique(ids[ids != facts.VOID]):
    colour = np.array(facts.LAND_COVER[index].colour) / 255
    axes[1].plot([], [], "s", color=colour, markeredgecolor="grey", label=facts.LAND_COVER[index].name)
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
for axis in axes:
    axis.set(xticks=[], yticks=[])
finish(figure, "Height with hillshade, and the map in its official colours", source)

# %% tags=["core"]
for variable, value in zip(facts.ERA5, mixed["era5"], strict=True):
    print(f"{variable.column:16s} {value:8.1f} {variable.unit}")
zone = facts.KOPPEN_GEIGER[int(mixed["climate_zone"])]
print(f"climate zone {zone.symbol}: {zone.name}")
print(f"season on {mixed['date']}: {mixed['season']:.3f}")
print(f"season on 21 March: {facts.season(3, 21):.3f}; on 22 September: {facts.season(9, 22):.3f}")

# %% [markdown] tags=["core"]
# Weather (ERA-5) is eight numbers at the times of the two satellites. *Climate zone* (Köppen-Geiger) and *season* are targets of
# later lessons. Season runs from 0 at the winter solstice to 1 at the summer solstice and back: spring and autumn share
# values, and no network can tell them apart from this number.

# %% [markdown] tags=["core"]
# ## Silent error one: the clip that drowns the water
#
# Networks like inputs near 0..1. A common recipe for Sentinel-1 clips to [−25, 0] dB and divides by 25; the tutorial's
# published models expect exactly that.
#
# **Predict:** what share of the *water* pixels lies below −25 dB in VV? And in VH?


# %% tags=["core"]
def backscatter_of(water, channel):
    """All finite numbers of one radar channel over water, or over everything else."""
    parts = [one["s1"][..., channel][(one["land_cover_map"] == 80) == water] for one in patches]
    values = np.concatenate(parts)
    return values[np.isfinite(values)]


for channel, name in enumerate(facts.S1_POLARISATIONS):
    for ground in ("water", "all else"):
        below = np.mean(backscatter_of(ground == "water", channel) < -25)
        print(f"{name} of {ground:8s}: {below:6.1%} below -25 dB")

# %% tags=["core"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for channel, (axis, name) in enumerate(zip(axes, facts.S1_POLARISATIONS, strict=True)):
    for water, colour, look in ((False, "#999999", "stepfilled"), (True, "#0072B2", "step")):
        style = {"color": colour, "histtype": look, "lw": 2, "label": "water" if water else "all else"}
        axis.hist(backscatter_of(water, channel), np.arange(-40, 5.1, 0.5), density=True, **style)
    axis.axvline(-25, color="black", ls="--", label="clipped left of here")
    axis.set(xlabel=f"{name} [dB]", xlim=(-40, 5))
axes[0].set_ylabel("share of pixels per dB")
axes[1].legend(loc="upper right", frameon=False)
finish(figure, "The clip at −25 dB cuts into the water, most of all in VH", source)

# %% [markdown] tags=["core"]
# In {{ clip.worlds }} simulated worlds {{ clip.percent_over_worlds.water_vh_below_25.median:.0f }} % of the water pixels in VH
# lie below −25 dB (worlds range from {{ clip.percent_over_worlds.water_vh_below_25.low:.0f }} % to
# {{ clip.percent_over_worlds.water_vh_below_25.high:.0f }} %), against
# {{ clip.percent_over_worlds.land_vh_below_25.median:.1f }} % of everything else. All of them become exactly 0. Near −25 dB the
# instrument's own noise begins, so part of what is lost is noise; but a spike of equal numbers where other pixels vary is
# an artefact that no sensor wrote.

# %% [markdown] tags=["core"]
# Is that bad? For telling water from land, no: it is still the darkest. For wind, ice or wet snow, perhaps. The point is to
# *look before you clip*. Our default, `calibrate="standardise"`, subtracts the training mean and divides by the training
# standard deviation, per channel, and cuts nothing. `"tutorial"` is the recipe above, kept for models that were trained on it.

# %% [markdown] tags=["core"]
# ## Silent error two: numbers that are not there
#
# Radar has two kinds of gaps. **NaN**: nothing was measured. **−inf**: the echo had zero power, and $\log_{10} 0 =
# -\infty$; that *is* a measurement, of something very dark. How many patches have either?

# %% tags=["core"]
for name, test in (("NaN", np.isnan), ("-inf", np.isneginf)):
    found = [int(test(one["s1"]).sum()) for one in patches]
    print(f"{name:4s}: in {np.count_nonzero(found)} of {len(patches)} patches, {sum(found)} pixels in all")
hole = np.array([-12.0, np.nan, -18.0], "float32")
print("mean with a gap:", hole.mean(), "| gaps to zero:", np.nan_to_num(hole).mean())

# %% [markdown] tags=["core"]
# A handful of pixels, and enough: one NaN in a batch makes the loss NaN, and after one step every weight is NaN. The quick
# mend, `nan_to_num`, is worse because it is silent: it writes 0, and 0 dB is among the *brightest* echoes there are; −inf it
# turns into −3.4 · 10³⁸.

# %% [markdown] tags=["core"]
# ## Exercise 2: mend the gaps
#
# Write `answer_2(decibels, lowest, mean)`, which returns an array: −inf becomes `lowest` (as dark as it gets), NaN becomes
# `mean` (it says nothing), all else stays. The array that is handed in must stay as it is.
#
# **Predict** what the other way round would do: NaN as dark as it gets, −inf as the mean.

# %% tags=["core", "exercise"]
answer_2 = None
# BEGIN SOLUTION


def answer_2(decibels, lowest, mean):
    filled = np.where(np.isneginf(decibels), lowest, decibels)
    return np.where(np.isnan(filled), mean, filled)


# END SOLUTION

# %% tags=["core"]
if answer_2 is None:
    print("Hint: `np.where(condition, this, that)` makes a new array; `np.isneginf` and `np.isnan` find the two kinds.")
else:
    given = np.array([-12.0, -np.inf, np.nan, -31.0])
    mended = np.asarray(answer_2(given, lowest=-27.5, mean=-18.6))
    if not np.isneginf(given[1]):
        print("Not yet: the array that came in was changed. Its owner may still want to know where the gaps were.")
    elif not np.isfinite(mended).all():
        print("Not yet: something that is no number is left.")
    elif mended[0] != -12.0 or mended[3] != -31.0:
        print("Not yet: a pixel that was measured has changed. Even -31 dB is a measurement.")
    else:
        print("Right." if mended[1:3].tolist() == [-27.5, -18.6] else "Not yet: are the two kinds the right way round?")

# %% [markdown] tags=["core"]
# `make_dataset` does this, with the 1st percentile and the mean of the **training** split: after "standardise" a gap is 0,
# the most ordinary number there is. With `masks=True` the network also gets `s1_mask`, 1 where there was a measurement.
#
# Labels have gaps, too. A map pixel of code 0 has no class; it becomes `VOID` = 255, and our losses and metrics leave it
# out of the average.

# %% tags=["core"]
codes = np.array([10, 0, 80], "uint8")  # tree cover, no data, permanent water
print(eo.ops.make_target("land_cover_map")({"land_cover_map": codes})["land_cover_map"].numpy())
right = np.array([1.0, 0.0, 1.0])  # was the prediction right?
print(f"accuracy with the void pixel counted as wrong: {right.mean():.2f}; left out: {right[codes != 0].mean():.2f}")

# %% [markdown] tags=["core"]
# Many a script looks a code up in a list and says −1 where it finds none, which in Python quietly means *the last one*. A
# pixel without a label then counts as moss and lichen.

# %% [markdown] tags=["core"]
# ## From files to records
#
# Seventeen small files per patch are fine for people and slow for training. A
# [TFRecord](https://www.tensorflow.org/tutorials/load_data/tfrecord) file holds many examples one after the other, to be read
# in one stream. `convert` writes them through [TensorFlow Datasets](https://www.tensorflow.org/datasets), with a split that
# keeps whole tiles together (lesson 2 shows why), and statistics of the training split.

# %% tags=["core"]
records = work / f"records-{tree.name}"
if not records.exists():
    eo.ben_ge.convert(source, records, group="tile")
schema = eo.load_schema(records)
builder = tfds.builder_from_directory(records)
print(schema.splits)
print({name: builder.info.features[name] for name in ("s2_10m", "s2_20m", "s2_60m", "s1", "land_cover_map")})

# %% [markdown] tags=["core"]
# This is the *feature specification*: names, shapes and types, written beside the records, so nobody has to guess. The
# records keep the **stored** numbers at the **stored** resolution.
#
# **Predict:** how many times larger would Sentinel-2 be if we stored all bands on the 10 m grid? And as float32?

# %% tags=["core"]
stored = sum(patch[name].nbytes for name in facts.S2_GROUPS)
on_grid = 120 * 120 * 12 * 2  # rows, columns, bands, bytes of uint16
print(f"as stored {stored:,} bytes; all at 10 m {on_grid:,} ({on_grid / stored:.1f} times)")
print(f"all at 10 m as float32 {2 * on_grid:,} ({2 * on_grid / stored:.1f} times), and not one bit more information")

# %% [markdown] tags=["core"]
# More than four times the bytes to hold the same measurement. So we resample and convert *after* reading, on the fly. An
# example in the file is a dictionary of byte strings; to get arrays back we need its specification, the dtype and the shape:

# %% tags=["core"]
FIELDS = (*facts.S2_GROUPS, "s1", "land_cover_map")


def parse(serialised):
    """Serialised examples (B,) -> dict of tensors (B, H, W, C) as stored."""
    specification = {name: tf.io.FixedLenFeature([], tf.string) for name in FIELDS}
    strings = tf.io.parse_example(serialised, specification)
    parsed = {}
    for name in FIELDS:
        raster = facts.RASTERS[name]
        numbers = tf.io.decode_raw(strings[name], raster.dtype)  # (B, H * W * C)
        parsed[name] = tf.reshape(numbers, (-1, *raster.shape))
    return parsed


# %% tags=["core"]
shards = sorted(map(str, builder.info.splits["train"].filepaths))
print(len(shards), "shards, such as", Path(shards[0]).name)
first = next(iter(tf.data.TFRecordDataset(shards).batch(32).map(parse)))
for name, values in first.items():
    print(f"{name:15s} {values.shape!s:20s} {values.dtype.name}")

# %% [markdown] tags=["core"]
# ## A pipeline, step by step, with a stopwatch
#
# [tf.data](https://www.tensorflow.org/guide/data) is a chain of small steps; nothing runs until somebody asks for a batch. We
# build the chain link by link and measure patches per second after each.
#
# **Predict:** which costs most: reading the file, parsing it, or the arithmetic (resample, scale)?

# %% tags=["core"]
PASSES, ROUNDS = (1, 1) if FAST else (3, 3)
TRAIN = schema.splits["train"]
rates = {}


def measure(step, make):
    """Patches per second of a pipeline over the training split: the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in make():
            end = time.perf_counter()  # of the last batch; closing a pipeline is not our subject
        found.append(PASSES * TRAIN / (end - begin))
    rates[step] = float(np.median(found))
    print(f"{step:30s} {rates[step]:8,.0f} patches/s")


# %% tags=["core"]
begin = time.perf_counter()
some = source.patch_ids[:40]
for patch_id in some:
    for path in (tree / "sentinel-2" / patch_id).glob("*.tif"):
        with rasterio.open(path) as file:
            file.read(1)
rates["GeoTIFFs of S2"] = len(some) / (time.perf_counter() - begin)
print(f"{'GeoTIFFs of S2':30s} {rates['GeoTIFFs of S2']:8,.0f} patches/s")

serialised = tf.data.TFRecordDataset(shards).repeat(PASSES).batch(32)
measure("read records", lambda: serialised)
parsed = serialised.map(parse)
measure("+ parse", lambda: parsed)

# %% [markdown] tags=["core"]
# Batch first, then map: one call of `parse` now serves 32 patches. Reading and parsing are cheap; thousands of patches a
# second leave the file. What comes next touches every pixel.

# %% [markdown] tags=["core"]
# ## Silent error three: half a pixel
#
# A pixel is an area, and its number belongs to the area's *centre*. The centres of the 10 m and the 20 m grid do not coincide:
# the first ones lie 5 m and 10 m from the edge. `tf.image.resize` (bilinear) respects that; resizing with "aligned corners", as
# PyTorch's `UpsamplingBilinear2d` does, pins first centre to first centre and last to last.

# %% tags=["core"]
ramp = tf.reshape(tf.range(10.0, 1200.0, 20.0), (1, 60, 1, 1))  # each 20 m pixel holds its centre's position in metres
truth = np.arange(5.0, 1200.0, 10.0)  # centres of the 10 m pixels
half_pixel = tf.image.resize(ramp, (120, 1))[0, :, 0, 0].numpy()
aligned = np.interp(np.linspace(0, 59, 120), np.arange(60), ramp[0, :, 0, 0])
print("first pixels, truth: ", truth[:4])
print("half-pixel centres:  ", half_pixel[:4])
print("aligned corners:     ", aligned[:4].round(1))
print(f"largest shift inside the patch: half-pixel {np.abs(half_pixel - truth)[1:-1].max():.1f} m,", end=" ")
print(f"aligned corners {np.abs(aligned - truth)[1:-1].max():.1f} m")

# %% [markdown] tags=["core"]
# Aligned corners move the 20 m bands by up to 5 m against the 10 m bands, outwards on every side, and the 60 m bands by up
# to 25 m. Nothing crashes; edges in B11 just no longer lie on edges in B04. The file format has an opinion as well: GDAL, the
# library behind GeoTIFF, reads bilinearly with half-pixel centres. Do we agree with it?

# %% tags=["core"]
with rasterio.open(tree / "sentinel-2" / patch["patch_id"] / f"{patch['patch_id']}_B11.tif") as file:
    by_gdal = file.read(1, out_shape=(120, 120), resampling=rasterio.enums.Resampling.bilinear)
by_us = tf.image.resize(band(patch, "B11")[np.newaxis, ..., np.newaxis], (120, 120))[0, ..., 0].numpy()
print(f"largest difference: {np.abs(by_us - by_gdal).max():.2f} digital numbers")

# %% [markdown] tags=["core"]
# Half a digital number, because GDAL rounds to whole ones and we do not: a reflectance of 0.00005. So bands are
# resampled, joined, and brought from the order of the groups into the order B01, B02, … B12:

# %% tags=["core"]
IN_GROUPS = [name for group in facts.S2_GROUPS for name in facts.RASTERS[group].bands]
ORDER = [IN_GROUPS.index(name) for name in facts.CHANNELS["s2"]]


def to_grid(batch):
    """Stored groups -> "s2" (B, 120, 120, 12) float32 digital numbers; the rest as it is."""
    groups = [tf.image.resize(batch[name], (120, 120)) for name in facts.S2_GROUPS]
    s2 = tf.gather(tf.concat(groups, axis=-1), ORDER, axis=-1)
    return {"s2": s2, "s1": batch["s1"], "land_cover_map": batch["land_cover_map"]}


gridded = parsed.map(to_grid)
measure("+ resample to 10 m", lambda: gridded)

# %% [markdown] tags=["core"]
# Then the numbers: reflectance to 0..1, backscatter by the tutorial's recipe, gaps filled, codes to class ids. This is the
# last step that touches pixels.

# %% tags=["core"]
TABLE = np.full(256, facts.VOID, "int32")  # WorldCover code -> class id
TABLE[[entry.code for entry in facts.LAND_COVER]] = range(len(facts.LAND_COVER))


def normalise(batch):
    """Stored numbers -> (inputs, targets), as a network wants them."""
    s2 = tf.clip_by_value(batch["s2"] / 10_000, 0, 1)
    s1 = tf.where(tf.math.is_nan(batch["s1"]), -12.5, batch["s1"])  # no data: the middle
    s1 = (tf.clip_by_value(s1, -25, 0) + 25) / 25  # zero power: the lower end
    ids = tf.gather(TABLE, tf.cast(batch["land_cover_map"], tf.int32))
    return {"s2": s2, "s1": s1}, {"land_cover_map": ids}


normalised = gridded.map(normalise)
measure("+ normalise", lambda: normalised)


# %% tags=["core"]
def by_hand(passes=1):
    """The same, with files read side by side and batches worked on in parallel."""
    names = tf.data.Dataset.from_tensor_slices(shards).repeat(passes)
    open_shards = min(8, len(shards))
    dataset = names.interleave(tf.data.TFRecordDataset, cycle_length=open_shards, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(32)
    for operation in (parse, to_grid, normalise):
        dataset = dataset.map(operation, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


measure("+ in parallel, prefetch", lambda: by_hand(PASSES))

# %% tags=["core"]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.barh(list(rates), list(rates.values()), color="#0072B2")
axis.bar_label(axis.containers[0], [f"{rate:,.0f}" for rate in rates.values()], padding=3)
axis.invert_yaxis()
axis.set(xlabel="patches per second on this machine", xlim=(0, 1.15 * max(rates.values())))
finish(figure, "Reading is cheap; arithmetic on pixels is what costs", None)

# %% [markdown] tags=["core"]
# On our machine ({{ run_card.processor }}, {{ run_card.cores }} cores, medians of {{ speed.rounds }} rounds): Sentinel-2
# alone from its twelve GeoTIFFs {{ speed.steps.geotiff.median:,.0f}}; with Sentinel-1 and map, records {{ speed.steps.read.median:,.0f}}, parsed
# {{ speed.steps.parse.median:,.0f}}, resampled {{ speed.steps.resample.median:,.0f}}, normalised
# {{ speed.steps.normalise.median:,.0f}}, in parallel {{ speed.steps.parallel.median:,.0f}} patches/s. Yours will differ; the
# order should not. Every pass over 12 × 120 × 120 floats costs memory traffic, and that, not the disk, is the price of a
# batch (the files were in the page cache; a first read from a slow disk is another story).

# %% [markdown] tags=["core"]
# ## Prefetch: cook while they eat
#
# While an accelerator trains on one batch, the processor can prepare the next. We let a training step be a pause of 25 ms, in
# which the processor is free, and count milliseconds per batch.
#
# **Predict:** a batch takes some time to make and 25 ms to train on. What do you expect in turn, and what with prefetch?

# %% tags=["core"]
PAUSE = 0.025  # seconds


def milliseconds(dataset):
    """Per batch: make it, then 'train' on it."""
    begin = time.perf_counter()
    batches = 0
    for _ in dataset:
        time.sleep(PAUSE)
        batches += 1
        end = time.perf_counter()
    return 1000 * (end - begin) / batches


# %% tags=["core"]
literal = tf.data.Options()  # do what is written, and nothing of your own
literal.experimental_optimization.apply_default_optimizations = False
literal.autotune.enabled = False

in_turn = tf.data.TFRecordDataset(shards).repeat(PASSES).batch(32).map(parse).map(to_grid).map(normalise)
print(f"in turn:       {milliseconds(in_turn.with_options(literal)):4.0f} ms per batch")
print(f"with prefetch: {milliseconds(in_turn.prefetch(2).with_options(literal)):4.0f} ms per batch")
print(f"as it comes:   {milliseconds(in_turn):4.0f} ms per batch")

# %% [markdown] tags=["core"]
# In turn the times add up; with prefetch the longer of the two remains. We measured
# {{ prefetch.ms_per_batch.in_turn.median:.0f}} and {{ prefetch.ms_per_batch.prefetch.median:.0f}} ms, and with maps in parallel
# {{ prefetch.ms_per_batch.parallel.median:.0f}}. The third line is quick because TensorFlow rewrites the pipeline by itself, unless
# told not to. The gain is only there while the processor idles: training *on* its two cores has nothing to hide behind.

# %% [markdown] tags=["core"]
# ## Silent error four: the order of shuffle, repeat and batch
#
# Training wants every patch once per epoch, in a new order, with new batch mates. Three little words do it, and their order
# decides. Here is somebody's pipeline, and a function that looks at what comes out.

# %% tags=["core"]
EPOCHS, SIZE = 3, 8
ids = tf.data.Dataset.from_tensor_slices(list(source.patch_ids[:40]))
somebodys = ids.repeat(EPOCHS).batch(SIZE).shuffle(10, seed=0)


def examine(batches):
    """Distinct patches of each epoch of 40; batches of the last epoch that were batches of the first; any old order."""
    order = np.concatenate([np.atleast_1d(batch) for batch in batches.take(100)])
    if len(order) != EPOCHS * 40:
        return [len(order)], 0, False
    order = order.reshape(EPOCHS, -1)
    mates = [{frozenset(batch) for batch in epoch.reshape(-1, SIZE)} for epoch in order]
    old_order = any((order[0] == later).all() for later in order[1:])
    return [len(set(epoch)) for epoch in order], len(mates[0] & mates[-1]), old_order


# %% tags=["core"]
distinct, known_batches, _ = examine(somebodys)
print(f"distinct patches per epoch: {distinct} of 40")
print(f"batches of the last epoch that were batches of the first: {known_batches} of 5")

# %% [markdown] tags=["core"]
# Some patches come twice in an "epoch" and others not at all, because `repeat` stands before `shuffle` and epochs run into one
# another. And the same eight patches always travel together, because `batch` stands before `shuffle`. The loss falls all the
# same; nothing tells you.
#
# ## Exercise 3: mend it
#
# Write `answer_3(ids)`, which returns a data set of three epochs in batches of eight: each patch once per epoch, in a new order
# and with new batch mates every time.

# %% tags=["core", "exercise"]
answer_3 = None
# BEGIN SOLUTION


def answer_3(ids):
    return ids.shuffle(40, seed=0).repeat(EPOCHS).batch(SIZE)


# END SOLUTION

# %% tags=["core"]
if answer_3 is None:
    print("Hint: shuffle single patches, not batches, and finish one epoch's shuffle before the next begins.")
    print("How many patches must the shuffle's buffer hold so that the first may come last?")
else:
    distinct, known_batches, same_order = examine(answer_3(ids))
    print(f"distinct per epoch {distinct}, batches met again {known_batches}, an epoch in the old order: {same_order}")
    new_order = not same_order and known_batches == 0
    print("Right." if distinct == [40] * EPOCHS and new_order else "Not yet: every epoch needs all 40, newly mixed.")

# %% [markdown] tags=["core"]
# `shuffle` draws from a buffer: one that holds 10 of 40 patches cannot bring the last one first. Our records are written in
# random order, so a buffer smaller than the data set still mixes well. With a `seed` the order is the same in every *run*, and
# still new in every *epoch*.

# %% [markdown] tags=["core"]
# ## All of it in one call
#
# You have now built `eo.make_dataset`. Same records, same steps; it adds names that are checked, statistics from the training
# split, masks, caching, augmentation. Does it give the same numbers as your chain? We compare every batch of the training
# split.

# %% tags=["core"]
options = {"inputs": ("s2", "s1"), "targets": ("land_cover_map",), "batch_size": 32}
one_call = eo.make_dataset(records, "train", calibrate="tutorial", **options)
worst = {"s2": 0.0, "s1": 0.0, "land_cover_map": 0.0}
for ours, theirs in zip(by_hand(), one_call, strict=True):
    for mine, library in zip(ours, theirs, strict=True):
        for name in mine:
            difference = tf.abs(tf.cast(mine[name], tf.float32) - tf.cast(library[name], tf.float32))
            worst[name] = max(worst[name], float(tf.reduce_max(difference)))
print("largest difference over the training split:", worst)
measure("eo.make_dataset", lambda: one_call.repeat(PASSES))

# %% [markdown] tags=["core"]
# Equal, up to the rounding of float32. The arithmetic is the same; what it does to pixels it lets XLA compile, so that many
# steps become one pass over memory. On our machine it makes {{ speed.steps.make_dataset.median:,.0f }} patches/s, a chain by hand
# {{ speed.steps.prefetch.median:,.0f }}. A network on two cores trains on fewer than a hundred, so either will do; from here on the
# course uses this one call.

# %% tags=["core"]
everything = eo.make_dataset(
    records,
    "train",
    inputs=("s2", "s1", "dem", "era5", "lonlat"),
    targets=("land_cover_map", "climate_zone", "season"),
    bands={"s1": ("VV",)},
    calibrate=None,  # stored numbers, for looking
    shuffle=True,
    seed=1,
    metadata=("date", "tile"),
)
figure = eo.plot.samples(next(iter(everything)), schema, patches=2, bands={"s1": ("VV",)})
figure.set_dpi(76)  # small, so that this notebook stays small
figure

# %% [markdown] tags=["core"]
# This is the data of the whole course in one picture. Take a minute with it: find a road, a village and a wood, each in as many
# rows as you can, and something that the map does not know. (The library warns above because `era5` and `lonlat` would give the climate zone
# away; as inputs for that target they are shortcuts, and lesson 3 meets them again.)

# %% [markdown] tags=["extra"]
# ## Extra: what a network gets to see
#
# The same patches after three calibrations. "standardise" makes every channel comparable with the others: mean 0, standard
# deviation 1 over the training split.

# %% tags=["extra"]
print("VH over one batch           lowest    mean     std")
for kind in (None, "tutorial", "standardise"):
    inputs, _ = next(iter(eo.make_dataset(records, "train", calibrate=kind, **options)))
    vh = inputs["s1"][..., 1].numpy()
    vh = vh[np.isfinite(vh)]
    print(f"calibrate={kind!r:16s} {vh.min():9.2f} {vh.mean():7.2f} {vh.std():7.2f}")

# %% [markdown] tags=["extra"]
# After "tutorial" a channel uses a small part of 0..1; most reflectances lie below 0.3. Batch normalisation inside the
# network can undo that, a network pretrained with other statistics cannot. Resampling and normalisation alone have moved
# *pretrained* encoders by 11 points on EuroSAT and 32 on So2Sat ([Corley et al. 2023](https://arxiv.org/abs/2305.13456)):
# before you blame a model, compare its inputs.

# %% [markdown] tags=["extra"]
# ## Extra: augment, at any resolution
#
# Seen from above there is no up: a patch may be flipped and turned by quarter turns. `augment` does it to images and map
# alike, and at the *stored* resolution, where there are fewer pixels to move. With `resolution="stored"` a network may also
# take the three groups as they are, without any resampling.

# %% tags=["extra"]
turned = eo.make_dataset(records, "train", augment=eo.augment.dihedral(), seed=0, resolution="stored", **options)
inputs, targets = next(iter(turned))
for name, values in {**inputs, **targets}.items():
    print(f"{name:15s} {values.shape}")

# %% [markdown] tags=["core"]
# ## What to take along
#
# 1. Know the unit, the scale **and the offset** of each number; ask for bands by name.
# 2. Look before you clip: histograms per class, per channel.
# 3. A gap is not a zero. Say what NaN, −inf and `VOID` become.
# 4. Resample by pixel centres; keep the stored numbers on disk.
# 5. Shuffle, then repeat, then batch; count the ids once.
# 6. Measure before you optimise: here the arithmetic costs, not the reading.

# %% [markdown] tags=["core"]
# **Where to read more.** ben-ge: [Mommert et al. 2023](https://arxiv.org/abs/2307.01741). BigEarthNet-MM, where its images come
# from: [Sumbul et al. 2021](https://arxiv.org/abs/2105.07921). ESA WorldCover: [product pages](https://esa-worldcover.org).
# Climate zones: [Beck et al. 2018](https://doi.org/10.1038/sdata.2018.214). Inputs of pretrained models:
# [Corley et al. 2023](https://arxiv.org/abs/2305.13456). tf.data: [performance
# guide](https://www.tensorflow.org/guide/data_performance), [Murray et al. 2021](https://arxiv.org/abs/2101.12127).
#
# Next: [lesson 2](../2_supervised_recap/README.md), a network on these batches, and how far to believe its score.
