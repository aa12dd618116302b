"""Lesson 1's Matplotlib figures: functions that return (figure, title, description)."""

import json
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from drawing import INK, colour_of
from matplotlib.figure import Figure
from patches import CODES, band, patches

from eokeras.ben_ge import schema

STYLE = {
    "font.size": 21,
    "lines.linewidth": 3,
    "lines.markersize": 10,
    "axes.linewidth": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
SIZE_INCHES = (12.08, 4.75)  # 1160 pixels, as wide as a slide; 21 points are 28 of its pixels
MARKERS = {
    "permanent water bodies": "o",
    "tree cover": "^",
    "cropland": "s",
    "built-up": "D",
    "bare/sparse vegetation": "v",
}
COLOURS = {
    "permanent water bodies": "#0072B2",
    "tree cover": "#006400",
    "cropland": "#A8467C",
    "built-up": "#D55E00",
    "bare/sparse vegetation": "#5B6770",
}


def _plot() -> tuple[Figure, mpl.axes.Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    return figure, figure.subplots()


def spectra():
    """Medians over the snow-free pixels of summer dates."""
    figure, axis = _plot()
    wavelengths = [entry.wavelength_nm for entry in schema.S2_BANDS]
    summer = [patch for patch in patches() if patch["season"] > 0.8]
    for name, marker in MARKERS.items():
        medians = []
        for entry in schema.S2_BANDS:
            step = entry.gsd_m // 10
            pixels = [band(patch, entry.name)[_pure(patch, name, step)] for patch in summer]
            medians.append(np.median(np.concatenate(pixels)))
        axis.plot(wavelengths, medians, marker=marker, color=COLOURS[name], label=name)
    axis.set(xscale="log", xlabel="wavelength [nm]", ylabel="reflectance", ylim=(0, 0.48))
    axis.set_xticks([443, 560, 705, 865, 1614, 2202], ["443", "560", "705", "865", "1614", "2202"])
    axis.minorticks_off()
    axis.legend(loc="upper left", fontsize=20, ncols=2)
    return figure, "Spectra of five land covers", "only leaves rise steeply at 705 nm; water is dark in the infrared"


def _pure(patch, name, step) -> np.ndarray:
    """Pixels of a grid whose 10 m pixels all have one class."""
    is_class = patch["land_cover_map"] == CODES[name]
    size = is_class.shape[0] // step
    return is_class.reshape(size, step, size, step).all(axis=(1, 3))


def bands():
    figure, axis = _plot()
    for row, gsd in enumerate((60, 20, 10)):
        members = [entry for entry in schema.S2_BANDS if entry.gsd_m == gsd]
        axis.axhline(row, color="#DDDDDD", zorder=0)
        axis.plot([entry.wavelength_nm for entry in members], [row] * len(members), "s", color=colour_of("s2"), ms=13)
        for entry in members:
            above = entry.name != "B06"  # the red edge is crowded
            place = {
                "xytext": (0, 15 if above else -15),
                "va": "bottom" if above else "top",
                "ha": "left" if entry.name == "B8A" else "center",
            }
            axis.annotate(entry.name, (entry.wavelength_nm, row), textcoords="offset points", **place)
    axis.set_yticks(range(3), ["60 m: 20 × 20", "20 m: 60 × 60", "10 m: 120 × 120"])
    axis.set(xscale="log", xlabel="wavelength [nm]", ylim=(-0.3, 2.6), xlim=(420, 2400))
    axis.set_xticks([450, 650, 850, 1100, 1600, 2200], ["450", "650", "850", "1100", "1600", "2200"])
    axis.minorticks_off()
    return figure, "Bands and pixel sizes", "four bands at 10 m, six at 20 m, two at 60 m, over their wavelengths"


def ndvi():
    figure, axis = _plot()
    values = {entry.name: [] for entry in schema.LAND_COVER}
    for patch in patches():
        near_infrared, red = band(patch, "B08"), band(patch, "B04")
        index = (near_infrared - red) / (near_infrared + red)
        for entry in schema.LAND_COVER:
            values[entry.name].append(index[patch["land_cover_map"] == entry.code])
    middles = {name: np.concatenate(parts) for name, parts in values.items()}
    middles = {name: np.percentile(found, (5, 50, 95)) for name, found in middles.items() if found.size > 10_000}
    for row, (name, (low, middle, high)) in enumerate(sorted(middles.items(), key=lambda item: item[1][1])):
        axis.plot([low, high], [row, row], color=colour_of("s2"), lw=4)
        axis.plot(middle, row, "o", color=colour_of("s2"), ms=13)
        axis.text(-0.62, row, name, va="center", ha="right")
    axis.set(xlabel="NDVI (dot: median; line: 5 % to 95 % of the pixels)", xlim=(-0.6, 1), yticks=[])
    axis.spines.left.set_visible(False)
    return figure, "NDVI by land cover", "trees are highest in the middle, water lowest, and ranges overlap"


def season_curve():
    figure, axis = _plot()
    days = [
        (month, day)
        for month, count in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1)
        for day in range(1, count + 1)
    ]
    axis.plot([schema.season(*day) for day in days], color=INK, lw=4)
    for month, day, name, side in ((3, 21, "21 March", "left"), (9, 22, "22 September", "right")):
        place, value = days.index((month, day)), schema.season(month, day)
        axis.plot(place, value, "o", color=colour_of("era5"), ms=16)
        shift = (22 if side == "left" else -22, -14)
        axis.annotate(f"{name}: {value:.2f}", (place, value), shift, textcoords="offset points", ha=side)
    axis.set(ylabel="season", ylim=(0, 1.05), xlim=(0, 364))
    axis.set_xticks([days.index((month, 15)) for month in (2, 5, 8, 11)], ["February", "May", "August", "November"])
    return (
        figure,
        "Season over the year",
        "0 at the winter solstice, 1 at the summer solstice; spring and autumn share values",
    )


def shift():
    figure, axis = _plot()
    centres = np.arange(5, 1200, 10.0)
    for gsd, look in ((20, "-"), (60, "--")):
        size = 1200 // gsd
        shown = np.interp(np.linspace(0, size - 1, 120), np.arange(size), (np.arange(size) + 0.5) * gsd)
        axis.plot(centres, shown - centres, look, color=colour_of("s1"), lw=4, label=f"{gsd} m bands, aligned corners")
    axis.axhline(0, color=colour_of("s2"), lw=4, label="half-pixel centres, as GDAL")
    axis.set(xlabel="place in the patch [m]", ylabel="shift [m]", xlim=(0, 1200), ylim=(-32, 32))
    axis.legend(loc="upper right", fontsize=20)
    return (
        figure,
        "Shift by aligned corners",
        "up to 25 m for the 60 m bands and 5 m for the 20 m bands, outwards from the middle",
    )


@cache
def results() -> dict:
    return json.loads(Path("results.json").read_text(encoding="utf-8"))


def clip():
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    edges, counts = np.array(results()["clip"]["edges_db"]), results()["clip"]["counts"]
    for axis, name in zip(axes, schema.S1_POLARISATIONS, strict=True):
        land, water = (np.array(counts[f"{ground}_{name.lower()}"]) for ground in ("land", "water"))
        axis.stairs(land / land.sum() / 0.5, edges, fill=True, color="#BBBBBB", label="all else")
        axis.stairs(water / water.sum() / 0.5, edges, color=colour_of("s2"), lw=4, label="water")
        axis.axvspan(-45, -25, color=colour_of("s1"), alpha=0.15, lw=0)
        axis.axvline(-25, color=colour_of("s1"), ls="--", lw=2.5)
        cut = results()["clip"]["percent_over_worlds"][f"water_{name.lower()}_below_25"]["median"]
        axis.text(-44, 0.2, f"{cut:.0f} %\nof water" if cut > 1 else f"{cut:.1f} %\nof water", va="top")
        axis.set(xlabel=f"{name} [dB]", xlim=(-45, 3), ylim=(0, 0.21))
    axes[0].set_ylabel("pixels per dB")
    axes[0].legend(loc="center left", fontsize=20, handlelength=1.2)
    return (
        figure,
        "Backscatter of water and the clip",
        "in VH much of the water lies below the clip at −25 dB, in VV hardly any",
    )


STEPS = {
    "geotiff": "GeoTIFFs of S2",
    "read": "read records",
    "parse": "+ parse",
    "resample": "+ to 10 m",
    "normalise": "+ normalise",
    "prefetch": "+ parallel, prefetch",
    "make_dataset": "eo.make_dataset",
}


def speed():
    figure, axis = _plot()
    steps = results()["speed"]["steps"]
    for row, name in enumerate(STEPS):
        found = steps[name]
        axis.barh(row, found["median"], color=colour_of("s1" if name == "geotiff" else "s2"), height=0.7)
        axis.plot([found["low"], found["high"]], [row, row], color=INK, lw=2)
        axis.annotate(f"{found['median']:,.0f}", (found["high"], row), (8, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(STEPS)), STEPS.values())
    axis.set(xlabel="patches per second (line: slowest to fastest round)")
    axis.set_xlim(0, 1.15 * max(step["high"] for step in steps.values()))
    axis.invert_yaxis()
    return (
        figure,
        "Patches per second after each step",
        "reading alone is fastest, resampling and normalising cost most",
    )


FIGURES = (spectra, bands, ndvi, season_curve, shift, clip, speed)
