"""Draws figures/*.svg: `python lessons/build.py figures 1_patches_to_pipelines` (two minutes; patches simulated once).

Patches are simulated, and chosen by a rule, not by their number. Measured numbers come from results.json.
"""

import charts
import numpy as np
import plots
import sketches
from drawing import GREY, colour_of, drawing, note, photograph, save, tile
from patches import CODES, band, hero, is_clear, own_stretch, patches, share, two_dates
from plots import results
from svg import rectangle, tint
from views import elevation, grey, land_cover, optical, radar

from eokeras.ben_ge import schema


def cover() -> str:
    """The twelve bands at their stored resolution, each from its own 1st to its 99th percentile."""
    shapes = []
    for index, entry in enumerate(schema.S2_BANDS):
        image = band(hero(), entry.name)
        low, high = np.percentile(image, (1, 99))
        left, middle = 192 * (index % 3), 90 + 180 * (index // 3)
        shown = photograph(grey(25 * (image - low) / (high - low) - 25), left, middle, 192, 180, colour="#0E2233")
        shapes += [shown, note(left + 12, middle + 68, entry.name, colour="#FFFFFF", bold=True)]
    return drawing(shapes, 576, 720, "Twelve bands", "one simulated patch in each of the twelve bands of Sentinel-2.")


def one_place() -> str:
    patch, side, step = hero(), 196, 232
    weather = dict(zip(schema.CHANNELS["era5"], patch["era5"], strict=True))
    numbers = f"{weather['temperature_s2'] - 273.15:.0f} °C\n{weather['relhumidity_s2']:.0f} % humid\n{patch['date']}"
    shapes = [
        tile("s2", 14, 150, detail="reflectance", size=side, pixels=optical(patch)),
        tile("s1", 14 + step, 150, detail="echo, dB", size=side, pixels=radar(patch)),
        tile("dem", 14 + 2 * step, 150, detail="metres", size=side, pixels=elevation(patch)),
        tile(
            "labels", 14 + 3 * step, 150, label="WorldCover", detail="class codes", size=side, pixels=land_cover(patch)
        ),
        tile("era5", 14 + 4 * step, 150, detail="8 numbers", size=side),
        note(14 + 4 * step + side / 2, 150, numbers, anchor="middle"),
    ]
    words = "one simulated place as optical image, radar image, elevation, land-cover map and weather."
    return drawing(shapes, 1160, 350, "One place, five kinds of data", words)


def stretches() -> str:
    clear = sorted(filter(is_clear, patches()), key=lambda patch: np.median(band(patch, "B04")))
    forests = (patch for patch in clear if share(patch, "tree cover") > 0.5)
    dark, bright = min(forests, key=lambda patch: np.percentile(band(patch, "B04"), 99)), clear[-1]
    shapes = []
    for column, (patch, words) in enumerate(((dark, _mostly(dark)), (bright, _mostly(bright)))):
        for pair, picture in enumerate((own_stretch(patch), optical(patch))):
            shown = photograph(picture, 20 + pair * 600 + column * 270, 150, 245)
            shapes += [shown, note(shown.x + 122, 298, words, anchor="middle", colour=GREY)]
    shapes += [note(278, 345, "each its own minimum to maximum", anchor="middle", bold=True)]
    shapes += [note(878, 345, "both 0 to 0.3, gamma 0.7", anchor="middle", bold=True)]
    words = "a dark and a bright patch: alike under a stretch of their own, different under one stretch for both."
    return drawing(shapes, 1160, 375, "Two stretches of the same two patches", words)


def _mostly(patch) -> str:
    return f"mostly {max(CODES, key=lambda name: share(patch, name))}"


def dates() -> str:
    first, second = two_dates()
    shapes = []
    for column, patch in enumerate((first, second)):
        for pair, picture in enumerate((optical(patch), radar(patch))):
            shown = photograph(picture, 20 + column * 600 + pair * 270, 150, 245, colour=colour_of(("s2", "s1")[pair]))
            name = ("Sentinel-2", "Sentinel-1 VV")[pair]
            shapes += [shown, note(shown.x + 122, 298, name, anchor="middle", colour=colour_of(("s2", "s1")[pair]))]
        text = f"{patch['date']}, season {float(patch['season']):.2f}"
        shapes.append(note(278 + 600 * column, 345, text, anchor="middle", bold=True))
    words = (
        "the same simulated fields on two dates, optical and radar: snow or crops change the one more than the other."
    )
    return drawing(shapes, 1160, 375, "The same fields on two dates", words)


def speckle() -> str:
    patch = hero()
    power = 10 ** (np.nan_to_num(patch["s1"][..., 0], nan=-12.5, neginf=-40) / 10)
    blocks = power.reshape(30, 4, 30, 4).mean(axis=(1, 3))
    averaged = 10 * np.log10(np.repeat(np.repeat(blocks, 4, axis=0), 4, axis=1))
    shapes = []
    views = (
        (grey(patch["s1"][..., 0]), "VV, 10 m"),
        (grey(averaged), "mean of 4 × 4, in power"),
        (optical(patch), "true colour"),
    )
    for column, (picture, words) in enumerate(views):
        shown = photograph(picture, 60 + column * 370, 180, 320, colour=colour_of("s2" if column == 2 else "s1"))
        shapes += [shown, note(shown.x + 160, 370, words, anchor="middle")]
    words = "radar at 10 m is grainy; averaged over 4 by 4 pixels the grain fades and the detail with it."
    return drawing(shapes, 1160, 395, "Speckle, and what averaging does", words)


def legend() -> str:
    patch = hero()
    shapes = [photograph(optical(patch), 14, 200, 340), photograph(land_cover(patch), 380, 200, 340)]
    present = [entry for entry in schema.LAND_COVER if share(patch, entry.name) > 0.001]
    for row, entry in enumerate(present):
        y = 36 + 44 * row
        fill = "#{:02X}{:02X}{:02X}".format(*entry.colour)
        box = rectangle(756, y - 16, 32, 32, 0, fill=fill, stroke=GREY)
        shapes += [sketches.piece(box), note(804, y, f"{entry.code}  {entry.name}")]
    words = "a simulated patch in true colour and its WorldCover classes in the official colours with a legend."
    return drawing(shapes, 1160, 390, "Land cover and its legend", words)


# --- Measured -------------------------------------------------------------------------------------------


def prefetch() -> str:
    """Two time lines, lengths as measured."""
    found, pause = results()["prefetch"]["ms_per_batch"], results()["prefetch"]["step_ms"]
    in_turn, ahead = found["in_turn"]["median"], found["prefetch"]["median"]
    make = in_turn - pause
    scale = 880 / max(3 * in_turn, make + 2 * ahead + pause)
    shapes = []
    for top, words, period in (
        (60, f"in turn: {in_turn:.0f} ms a batch", in_turn),
        (235, f"prefetch: {ahead:.0f} ms a batch", ahead),
    ):
        shapes.append(note(240, top - 28, words, bold=True))
        for row, name in enumerate(("processor", "accelerator")):
            shapes.append(note(220, top + 26 + 56 * row, name, anchor="end", colour=GREY))
        for batch in range(3):
            begin, start = batch * period, make + batch * period
            shapes += [_bar(240 + begin * scale, top, make * scale, str(batch + 1), "s2")]
            shapes += [_bar(240 + start * scale, top + 56, pause * scale, str(batch + 1), "s1")]
    shapes += [
        note(240, 385, "make a batch", colour=colour_of("s2"), bold=True),
        note(470, 385, "train on it", colour=colour_of("s1"), bold=True),
    ]
    words = "in turn, making a batch and training on it follow one another; with prefetch they overlap."
    return drawing(shapes, 1160, 410, "Two time lines", words)


def _bar(x, top, width, words, modality):
    colour = colour_of(modality)
    box = rectangle(x, top, width, 48, 4, fill=tint(colour, 0.35), stroke=colour)
    return sketches.piece(box + note(x + width / 2, top + 24, words, anchor="middle").svg)


def size() -> str:
    facts = results()["records"]
    rows = (
        ("as stored: uint16 on three grids", facts["s2_bytes_stored"]),
        ("all bands at 10 m, uint16", facts["s2_bytes_at_10m"]),
        ("all bands at 10 m, float32", facts["s2_bytes_at_10m_float32"]),
    )
    scale, shapes = 900 / rows[-1][1], []
    for row, (words, count) in enumerate(rows):
        y = 50 + 115 * row
        box = rectangle(14, y + 16, count * scale, 46, 4, fill=tint(colour_of("s2"), 0.4), stroke=colour_of("s2"))
        shapes += [
            note(14, y - 8, words),
            sketches.piece(box),
            note(28 + count * scale, y + 39, f"{count / 1000:.0f} kB", bold=True),
        ]
    words = "160 kB as stored, 346 kB with all bands at 10 m, 691 kB as float32: the same information."
    return drawing(shapes, 1160, 370, "Bytes of one Sentinel-2 patch", words)


def main() -> None:
    """Write every figure."""
    drawings = (cover, one_place, stretches, dates, speckle, legend, prefetch, size, *sketches.FIGURES)
    charts.write(drawings, plots.FIGURES, plots.STYLE)
    facts = results()["records"]
    record = sketches.record(facts["bytes_by_raster"], facts["shards"], facts["train"])
    print(save(charts.FIGURES / "record.svg", record))


if __name__ == "__main__":
    main()
