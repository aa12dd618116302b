"""Pictures of patches: every modality, and maps against their reference.

Letters: B batch, H rows, W columns, C channels.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from eokeras.ben_ge import schema as facts
from eokeras.errors import InvalidArgumentError, check_choice
from eokeras.plot.rendering import (
    GAMMA,
    REFLECTANCE_RANGE,
    TRUE_COLOUR,
    VOID_COLOUR,
    hillshade,
    land_cover_rgb,
    true_colour,
)
from eokeras.plot.style import MODALITY_COLOURS, STYLE, finish

BACKSCATTER_RANGE_DB = (-25.0, 0.0)
_NO_DATA_COLOUR = "#F6D7A7"
_PANEL_INCHES = 2.05
_PIXEL_M = 10


def samples(batch, schema, *, patches: int = 4, bands: Mapping[str, Sequence[str]] | None = None) -> Figure:
    """Every modality of a few patches, one column per patch, with their labels.

    Args:
        batch: (inputs, targets[, metadata]) of a dataset made with `calibrate=None`, so that inputs are stored
            numbers: `s2` (B, H, W, C) digital numbers, `s1` dB, `dem` metres, `era5`, `lonlat`.
        schema: of the records; `.world` tells simulated data, `.reflectance` what digital numbers mean.
        patches: number of columns, fewer where the batch is smaller.
        bands: input -> channel names in the order of the batch; default the order of the records.

    Raises:
        InvalidArgumentError: the batch is empty, or channels do not fit `bands`.
    """
    inputs, targets, metadata = _parts(batch)
    count = min(patches, _size(inputs, targets))
    rows = _image_rows(inputs, bands or {}, count, schema)
    if "land_cover_map" in targets:
        rows.append(_land_cover_row("WorldCover", targets["land_cover_map"][:count]))
    if "elevation" in targets:
        rows += _relief_rows({"elevation\n(target)": targets["elevation"][:count]})
    words = [_words(inputs, targets, metadata, index) for index in range(count)]
    lines = max(text.count("\n") + 1 for text in words) if any(words) else 0
    figure, axes = _image_grid(rows, count, text_inches=0.17 * lines)
    for column, text in enumerate(words):
        axes[-1][column].text(0.0, 1.0, text, va="top", ha="left", fontsize=8, transform=axes[-1][column].transAxes)
    finish(figure, f"{count} patch{'es' * (count > 1)} of 1.2 km by 1.2 km, every modality", schema)
    return figure


def maps(
    batch,
    predictions,
    schema,
    *,
    target: str = "land_cover_map",
    patches: int = 4,
    bands: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Maps, true against predicted, under the images where the batch has them.

    Args:
        batch: (inputs, targets[, metadata]) with the target (B, H, W); inputs as for `samples`.
        predictions: class ids (B, H, W) or logits (B, H, W, C), of elevation metres (B, H, W) or
            (B, H, W, 1); or a dict that holds them under the name of the target.
        target: "land_cover_map" or "elevation".
        schema, patches, bands: as for `samples`.

    Raises:
        InvalidArgumentError: the batch has no such map, or shapes differ.
    """
    check_choice("target", target, ("land_cover_map", "elevation"))
    inputs, targets, _ = _parts(batch)
    if target not in targets:
        raise InvalidArgumentError(f"`batch` must hold the target {target!r}. Received: {sorted(targets)}.")
    if isinstance(predictions, Mapping):
        predictions = predictions[target]
    predicted, reference = np.asarray(predictions), targets[target]
    if predicted.ndim == 4:
        predicted = predicted.argmax(axis=-1) if target == "land_cover_map" else predicted[..., 0]
    if predicted.shape != reference.shape:
        raise InvalidArgumentError(
            f"`predictions` must have shape {reference.shape} (or a last axis of logits). Received: {predicted.shape}."
        )
    count = min(patches, len(reference))
    rows = _image_rows({name: inputs[name] for name in ("s2", "s2_10m") if name in inputs}, bands or {}, count, schema)
    rows += (_cover_pair if target == "land_cover_map" else _relief_pair)(reference[:count], predicted[:count])
    figure, _ = _image_grid(rows, count)
    title = "Land cover" if target == "land_cover_map" else "Elevation"
    finish(figure, f"{title}: reference against prediction", schema)
    return figure


# --- Grids of images ---------------------------------------------------------------------------------


def _image_rows(inputs, bands, count, schema) -> list[dict]:
    """One dict per row: label, colour, images, and a colour bar or a legend where one is needed."""
    rows = []
    bands = {**schema.bands, **bands}
    for name in ("s2", "s2_10m"):
        if name in inputs and set(TRUE_COLOUR) <= set(bands[name]):
            images = [true_colour(image, bands[name], schema.reflectance) for image in inputs[name][:count]]
            low, high = REFLECTANCE_RANGE
            label = f"Sentinel-2\ntrue colour\nreflectance {low:g} to {high:g}\ngamma {GAMMA}"
            rows.append({"label": label, "colour": MODALITY_COLOURS["s2"], "images": images})
            break
    if "s1" in inputs:
        for index, name in enumerate(bands["s1"]):
            images = [_backscatter(image[..., index]) for image in inputs["s1"][:count]]
            rows.append(
                {
                    "label": f"Sentinel-1\n{name}",
                    "colour": MODALITY_COLOURS["s1"],
                    "images": images,
                    "cmap": mpl.colormaps["gray"].with_extremes(bad=_NO_DATA_COLOUR),
                    "norm": Normalize(*BACKSCATTER_RANGE_DB),
                    "bar": "backscatter [dB]",
                }
            )
    if "dem" in inputs:
        rows.append(_elevation_row([image[..., 0] for image in inputs["dem"][:count]]))
    return rows


def _backscatter(decibels):
    """NaN masked (no data); infinities at the ends of the range (-inf dB is zero power)."""
    return np.ma.masked_invalid(np.clip(decibels, *BACKSCATTER_RANGE_DB))


def _elevation_row(elevations) -> dict:
    low, high = min(map(np.min, elevations)), max(map(np.max, elevations))
    norm = Normalize(low, max(high, low + 1))
    cmap = mpl.colormaps["cividis"]
    images = []
    for elevation in elevations:
        shade = hillshade(elevation)[..., None] / math.sqrt(0.5)  # flat ground keeps its colour
        images.append(np.clip(cmap(norm(elevation))[..., :3] * (0.35 + 0.65 * shade), 0, 1))
    return {
        "label": "elevation\nhillshade, relief ×2",
        "colour": MODALITY_COLOURS["dem"],
        "images": images,
        "cmap": cmap,
        "norm": norm,
        "bar": "elevation [m]",
    }


def _cover_pair(reference, predicted) -> list[dict]:
    right = [_agreement(*pair) for pair in zip(reference, predicted, strict=True)]
    captions = [f"{share:.0%} of pixels agree" if share is not None else "no reference" for share in right]
    return [
        _land_cover_row("reference\n(WorldCover)", reference),
        _land_cover_row("predicted", predicted, captions),
    ]


def _relief_pair(reference, predicted) -> list[dict]:
    """Both on one scale; the error stands beside that of flat ground, since a flat patch is easy."""
    captions = []
    for true, found in zip(reference, predicted, strict=True):
        valid = np.isfinite(true)
        error, flat = (np.abs(true - other)[valid].mean() if valid.any() else None for other in (found, 0))
        captions.append("no reference" if error is None else f"MAE {error:.1f} m (flat ground: {flat:.1f} m)")
    return _relief_rows({"reference\n(DEM)": reference, "predicted": predicted}, {"predicted": captions})


def _relief_rows(relief, captions=None) -> list[dict]:
    """Metres above the mean of the patch by label of the row, one colour scale for all, white at 0."""
    finite = np.abs(np.concatenate([np.ravel(values) for values in relief.values()]))
    largest = max(1.0, np.max(finite[np.isfinite(finite)], initial=0.0))
    shared = {
        "colour": MODALITY_COLOURS["labels"],
        "cmap": mpl.colormaps["BrBG_r"].with_extremes(bad=_NO_DATA_COLOUR),
        "norm": Normalize(-largest, largest),
        "bar": "above mean [m]",
    }
    return [
        {
            "label": label,
            "images": list(np.ma.masked_invalid(values)),
            "captions": (captions or {}).get(label),
            **shared,
        }
        for label, values in relief.items()
    ]


def _land_cover_row(label, maps_of_ids, captions=None) -> dict:
    present = np.unique(np.concatenate([np.unique(ids) for ids in maps_of_ids]))
    return {
        "label": label,
        "colour": MODALITY_COLOURS["labels"],
        "images": [land_cover_rgb(ids) for ids in maps_of_ids],
        "classes": set(present.tolist()),
        "captions": captions,
    }


def _image_grid(rows, columns, text_inches=0.0):
    """A figure with one row of images per entry of `rows`, and a last row for text where asked for."""
    heights = [_PANEL_INCHES] * len(rows) + ([text_inches] if text_inches else [])
    classes = sorted(set().union(*(row.get("classes", set()) for row in rows)))
    with mpl.rc_context({**STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        width = _PANEL_INCHES * columns + 2.5
        legend_columns = max(1, min(4, int(width / 2)))
        legend_inches = 0.3 * math.ceil(len(classes) / legend_columns)
        size = (width, sum(heights) + legend_inches + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
        for index, row in enumerate(rows):
            _draw_row(figure, axes[index], row, last=index == len(rows) - 1)
        if text_inches:
            for axis in axes[-1]:
                axis.set_axis_off()
        if classes:
            style = {"ncols": legend_columns, "frameon": False, "fontsize": 8}
            figure.legend(handles=land_cover_handles(classes), loc="outside lower center", **style)
    return figure, axes


def _draw_row(figure, axes, row, last):
    for column, (axis, image) in enumerate(zip(axes, row["images"], strict=True)):
        height, width = image.shape[0] * _PIXEL_M, image.shape[1] * _PIXEL_M
        extent = (0, width, 0, height)
        axis.imshow(image, cmap=row.get("cmap"), norm=row.get("norm"), extent=extent, interpolation="nearest")
        axis.set_xticks([0, width] if last else [], ["0", f"{width} m"] if last else [])
        for tick, side in zip(axis.get_xticklabels(), ("left", "right"), strict=False):
            tick.set_horizontalalignment(side)
        axis.set_yticks([])
        axis.set_anchor("W")  # rows with and without a colour bar stay in line
        for spine in axis.spines.values():
            spine.set(color=row["colour"], linewidth=1.5)
        if row.get("captions"):
            axis.set_title(row["captions"][column], fontsize=8)
    axes[0].set_ylabel(row["label"], color=row["colour"], rotation=0, ha="right", va="center", labelpad=8)
    if "bar" in row:
        mappable = mpl.cm.ScalarMappable(norm=row["norm"], cmap=row["cmap"])
        bar = figure.colorbar(
            mappable, ax=list(axes), label=row["bar"], aspect=14, shrink=0.85, pad=0.02, panchor=False
        )
        bar.locator = MaxNLocator(4)


def land_cover_handles(class_ids) -> list[Patch]:
    """Entries of a legend for class ids, `VOID` included, in the colours of `land_cover_rgb`."""
    handles = []
    for index in class_ids:
        colour = VOID_COLOUR if index == facts.VOID else tuple(part / 255 for part in facts.LAND_COVER[index].colour)
        name = "no label" if index == facts.VOID else facts.LAND_COVER[index].name
        handles.append(Patch(facecolor=colour, edgecolor="#555555", linewidth=0.5, label=name))
    return handles


def _agreement(reference, predicted) -> float | None:
    labelled = reference != facts.VOID
    return float((reference == predicted)[labelled].mean()) if labelled.any() else None


def _words(inputs, targets, metadata, index) -> str:
    """What a patch's numbers and labels say, a line each."""
    lines = []
    if "date" in metadata:
        lines.append(", ".join(_text(metadata[name][index]) for name in ("date", "tile") if name in metadata))
    if "lonlat" in inputs:
        lines.append(_place(*inputs["lonlat"][index]))
    if "era5" in inputs:
        weather = dict(zip(facts.CHANNELS["era5"], inputs["era5"][index], strict=True))
        wind = math.hypot(weather["wind-u_s2"], weather["wind-v_s2"])
        lines.append(f"{weather['temperature_s2'] - 273.15:.1f} °C, wind {wind:.1f} m/s")
        lines.append(f"relative humidity {weather['relhumidity_s2']:.0f} %")
    for task, names in (("climate_zone", "climate"), ("land_cover", "mostly"), ("geocluster", "")):
        if task in targets:
            value = int(targets[task][index])
            label = "no label" if value == facts.VOID else facts.TARGETS[task].classes[value]
            lines.append(f"{names} {label}".strip())
    if "season" in targets:
        value = float(targets["season"][index])
        lines.append("season: no label" if math.isnan(value) else f"season {value:.2f} (1 = midsummer)")
    if "land_cover_fractions" in targets:
        fractions = targets["land_cover_fractions"][index]
        top = [place for place in np.argsort(-fractions)[:2] if fractions[place] > 0]  # NaN is not above 0
        names = facts.TARGETS["land_cover_fractions"].classes
        lines.append(", ".join(f"{fractions[place]:.0%} {names[place]}" for place in top) or "fractions: no label")
    if "labels" in targets:
        lines.append(f"{int(np.nansum(targets['labels'][index]))} CORINE labels")
    return "\n".join(lines)


def _parts(batch):
    """(inputs, targets, metadata) of a batch as dicts of NumPy arrays."""
    parts = [{name: np.asarray(values) for name, values in part.items()} for part in batch]
    return (*parts, {}) if len(parts) == 2 else tuple(parts)


def _size(inputs, targets) -> int:
    size = min((len(values) for values in {**inputs, **targets}.values()), default=0)
    if not size:
        raise InvalidArgumentError("`batch` must hold at least one patch. Received: none.")
    return size


def _place(longitude, latitude) -> str:
    return f"{abs(longitude):.2f}° {'W' if longitude < 0 else 'E'}, {abs(latitude):.2f}° {'S' if latitude < 0 else 'N'}"


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
