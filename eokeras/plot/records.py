"""Pictures of what records hold: where their patches lie, how bright they are, which classes they show.

Splits have the same colour and marker in every figure.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from eokeras.ben_ge import schema as facts
from eokeras.plot.images import land_cover_handles
from eokeras.plot.rendering import TRUE_COLOUR, hillshade, land_cover_rgb, true_colour
from eokeras.plot.style import SPLIT_STYLES, STYLE, finish, task_text

_WIDTH_INCHES = 9.6
_DEGREE_MARGIN = 0.08  # of the extent
_SHOWN = (0.001, 0.999)  # of the pixels of a band
_MOST_BINS = 100
_LABEL_CHARACTERS = 48  # one line a class; tables have the whole names
_FEW_PLACES = 5000  # markers are larger and have an edge
_MAP_INCHES = 6.5  # at most


def split_map(lonlat: Mapping[str, np.ndarray], schema=None) -> Figure:
    """Where the patches of every split lie: longitude and latitude, what is held out drawn over what is learned from.

    Args:
        lonlat: split -> (N, 2) longitude and latitude [degrees].
        schema: of the records; tells simulated data.
    """
    everywhere = np.concatenate(list(lonlat.values()))
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    margin = np.maximum(_DEGREE_MARGIN * (high - low), 0.05)
    stretch = 1 / math.cos(math.radians(float((low[1] + high[1]) / 2)))  # a degree of longitude is shorter
    extent = high - low + 2 * margin
    height = min(max((_WIDTH_INCHES - 1) * stretch * extent[1] / extent[0], 2.5), _MAP_INCHES)
    with mpl.rc_context({**STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(_WIDTH_INCHES, height + 1.4), layout="constrained")
        axis = figure.subplots()
        is_small = len(everywhere) < _FEW_PLACES
        for order, (side, places) in enumerate(lonlat.items()):
            colour, marker = SPLIT_STYLES[side]
            cells = np.unique(np.round(places, 3), axis=0)  # dates of a cell lie on each other
            label = f"{side}: {len(places):,} patches"
            edge = {"edgecolors": "black", "linewidths": 0.3} if is_small else {"linewidths": 0}
            size = (46, 26, 14)[order] if is_small else 4  # what lies on top of each other stays visible
            axis.scatter(*cells.T, s=size, c=colour, marker=marker, label=label, **edge)
        axis.set_aspect(stretch)
        axis.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axis.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axis.set_xlabel("longitude [degrees]")
        axis.set_ylabel("latitude [degrees]")
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    finish(figure, "Patches by split", schema)
    return figure


def class_chart(targets: Mapping[str, Mapping], schema=None) -> Figure:
    """Share of every class in each split, a panel per target; a hollow marker is a class that a split lacks.

    Args:
        targets: target -> `classes`, `unit` ("patches" or "pixels") and `counts` by split, as an `Inspection` has them.
        schema: of the records; tells simulated data.
    """
    kept = {name: _present(entry) for name, entry in targets.items()}
    heights = [0.26 * max(len(rows), 2) + 0.75 for rows in kept.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + 1.0), layout="constrained")
        axes = figure.subplots(len(kept), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (name, rows) in zip(axes, kept.items(), strict=True):
            _draw_classes(axis, name, targets[name], rows)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    finish(figure, "Class balance by split", schema)
    return figure


def band_chart(histograms: Mapping[str, Mapping], bands: Mapping[str, Mapping], schema=None) -> Figure:
    """Distribution of the pixels of every band in each split, from the 0.1st to the 99.9th percentile.

    Args:
        histograms: split -> band -> `eokeras.ben_ge.statistics.Histogram`.
        bands: band -> `raster` and `unit`, in the order of the panels.
        schema: of the records; turns digital numbers into reflectance, and tells simulated data.
    """
    names = [band for band in bands if any(band in of_split for of_split in histograms.values())]
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(2.4 * columns if columns == 4 else _WIDTH_INCHES, 1.75 * rows + 0.9), layout="constrained"
        )
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for axis, band in zip(axes, names, strict=False):
            _draw_band(axis, band, {side: found[band] for side, found in histograms.items()}, bands[band], schema)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    finish(figure, "Pixels of every band", schema)
    return figure


def mosaic(samples: Sequence[Mapping], side: str, schema) -> Figure:
    """Images of a few patches of a split with their land-cover maps below, so that one sees whether they fit.

    Args:
        samples: features of the patches, as records hold them.
        side: the split.
        schema: of the records.
    """
    columns = min(6, len(samples))
    blocks = math.ceil(len(samples) / columns)
    has_map = "land_cover_map" in samples[0]
    each = 2 if has_map else 1
    colour, _ = SPLIT_STYLES[side]
    label, images = _images(samples, schema)
    size = _WIDTH_INCHES / 6
    with mpl.rc_context({**STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(_WIDTH_INCHES, blocks * (each * size + 0.3) + 0.9), layout="constrained")
        axes = figure.subplots(blocks * each, 6, squeeze=False)
        for axis in axes.ravel():
            axis.set_axis_off()
        for index, (features, (image, options)) in enumerate(zip(samples, images, strict=True)):
            block, column = divmod(index, columns)
            rows = [(axes[block * each][column], image, options)]
            if has_map:
                rows.append((axes[block * each + 1][column], land_cover_rgb(_class_ids(features)), {}))
            for axis, values, style in rows:
                axis.imshow(values, interpolation="nearest", **style)
                axis.set_axis_on()
                axis.set_xticks([])
                axis.set_yticks([])
                for spine in axis.spines.values():
                    spine.set(color=colour, linewidth=1.5)
            rows[0][0].set_title(f"{features['tile']}, {features['date']}", fontsize=7.5)
        if has_map:
            classes = np.unique(np.concatenate([np.unique(_class_ids(features)) for features in samples])).tolist()
            handles = land_cover_handles(classes)
            figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    finish(figure, f"{len(samples)} patches of {side}: {label}" + (", and land cover below" if has_map else ""), schema)
    return figure


# --- Panels ------------------------------------------------------------------------------------------


def _present(entry) -> list[int]:
    """Places of the classes that any split has, the commonest first."""
    totals = np.sum(list(entry["counts"].values()), axis=0)
    return [int(place) for place in np.argsort(-totals, kind="stable") if totals[place]]


def _draw_classes(axis, name, entry, rows):
    for offset, (side, counts) in zip(
        np.linspace(-0.24, 0.24, len(entry["counts"])), entry["counts"].items(), strict=True
    ):
        counts = np.asarray(counts, "float64")
        total = counts.sum()
        colour, marker = SPLIT_STYLES[side]
        for place, row in enumerate(rows):
            share = counts[row] / total if total else 0.0
            axis.plot([0, share], [place + offset] * 2, color=colour, linewidth=1.4, zorder=1)
            fill = colour if counts[row] else "white"
            axis.plot(
                share, place + offset, marker, color=colour, markerfacecolor=fill, markersize=4.5, zorder=2,
                linestyle="none", label=side if place == 0 and counts[row] else None,
            )  # fmt: skip
    labels = [textwrap.shorten(entry["classes"][row], _LABEL_CHARACTERS, placeholder=" ...") for row in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(left=-0.005)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    of_what = "all labels" if facts.TARGETS[name].kind == "multilabel" else f"the {entry['unit']} with a class"
    axis.set_title(f"{task_text(name)}: share of {of_what}", loc="left")
    if name.startswith("land_cover"):
        _add_swatches(axis, rows)


def _add_swatches(axis, rows):
    """A square in the official colour of its class left of every label's row."""
    for place, row in enumerate(rows):
        colour = tuple(part / 255 for part in facts.LAND_COVER[row].colour)
        axis.plot(
            -0.012, place, "s", color=colour, markersize=8, markeredgecolor="#555555", markeredgewidth=0.5,
            transform=axis.get_yaxis_transform(), clip_on=False, zorder=3,
        )  # fmt: skip
    axis.tick_params(axis="y", length=0, pad=12)


def _draw_band(axis, band, by_side, entry, schema):
    scale, offset, unit = _physical(band, entry, schema)
    low, high = _shown_range(by_side.values())
    step = next(iter(by_side.values())).step
    width = max(1, math.ceil((high - low) / step / _MOST_BINS)) * step
    edges = np.arange(low, high + 2 * width, width)
    for side, histogram in by_side.items():
        values = histogram.low + histogram.step * np.arange(len(histogram.counts))
        heights, _ = np.histogram(values + histogram.step / 2, bins=edges, weights=histogram.counts)
        if histogram.counts.sum():
            colour, _ = SPLIT_STYLES[side]
            density = heights / histogram.counts.sum()
            axis.stairs(density, edges * scale + offset, color=colour, linewidth=1.3, label=side)
    axis.set_title(f"{band} [{unit}]" if unit else band, loc="left")
    axis.set_yticks([])
    axis.set_ylim(bottom=0)
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_locator(MaxNLocator(4))


def _physical(band, entry, schema) -> tuple[float, float, str]:
    """Scale, offset and unit by which stored numbers are shown."""
    if entry["raster"] in facts.S2_GROUPS:
        numbers = schema.reflectance[band]
        return numbers["scale"], numbers["offset"], "reflectance"
    return 1.0, 0.0, {"s1": "dB", "dem": "m"}[entry["raster"]]


def _shown_range(histograms) -> tuple[float, float]:
    lows, highs = [], []
    for histogram in histograms:
        total = histogram.counts.sum()
        if total:
            cumulative = np.cumsum(histogram.counts)
            first, last = (int(np.searchsorted(cumulative, share * total)) for share in _SHOWN)
            lows.append(histogram.low + first * histogram.step)
            highs.append(histogram.low + last * histogram.step)
    return (min(lows), max(max(highs), min(lows) + 1)) if lows else (0.0, 1.0)


def _images(samples, schema) -> tuple[str, list]:
    """What the mosaic shows of the patches: the best that the records hold."""
    for name in facts.S2_GROUPS:
        bands = schema.stored_bands.get(name, ())
        if set(TRUE_COLOUR) <= set(bands):
            return "true colour", [(true_colour(each[name], bands, schema.reflectance), {}) for each in samples]
        if bands:
            numbers = schema.reflectance[bands[0]]
            images = [each[name][..., 0] * numbers["scale"] + numbers["offset"] for each in samples]
            return f"{bands[0]}, reflectance 0 to 0.3", [
                (image, {"cmap": "gray", "vmin": 0, "vmax": 0.3}) for image in images
            ]
    if "s1" in schema.stored_bands:
        band = schema.stored_bands["s1"][0]
        style = {"cmap": "gray", "vmin": -25, "vmax": 0}
        return f"{band}, -25 to 0 dB", [
            (np.ma.masked_invalid(np.maximum(each["s1"][..., 0], -25)), style) for each in samples
        ]
    if "dem" in samples[0]:
        return "hillshade", [
            (hillshade(each["dem"][..., 0]), {"cmap": "gray", "vmin": 0, "vmax": 1}) for each in samples
        ]
    return "land cover", [(land_cover_rgb(_class_ids(each)), {}) for each in samples]


def _class_ids(features) -> np.ndarray:
    """The land-cover map of a patch: stored codes -> class ids."""
    table = np.full(256, facts.VOID, "int64")
    table[[entry.code for entry in facts.LAND_COVER]] = range(len(facts.LAND_COVER))
    return table[features["land_cover_map"]]
