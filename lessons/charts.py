"""Plots on slides that lessons share; a plot fills a slide's width, and its type has the size of the slide's text."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
from drawing import GREY, INK, save, save_plot

FIGURES = Path("figures")
NAMED = "#332288"  # the comparison that was named before the run; no modality has this colour
STYLE = {
    "font.size": 21,
    "axes.linewidth": 1.5,
    "lines.linewidth": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
SIZE_INCHES = (12.08, 4.75)  # 1160 pixels, as wide as a slide; 21 points are 28 of its pixels


def write(drawings: Iterable[Callable], plots: Iterable[Callable] = (), style: Mapping = STYLE) -> None:
    """Writes figures/NAME.svg for each function of that name.

    Args:
        drawings: functions that return SVG.
        plots: functions that return (figure, title, description).
        style: of the plots.
    """
    for draw in drawings:
        print(save(FIGURES / f"{draw.__name__}.svg", draw()))
    with mpl.rc_context(style):
        for plot in plots:
            print(save_plot(FIGURES / f"{plot.__name__}.svg", *plot()))


def measured(plots: Mapping[str, Iterable[Callable]], results: Mapping) -> list[Callable]:
    """Those plots, by the table that they show, for which there are results."""
    return [plot for table, functions in plots.items() if table in results for plot in functions]


def forest(axis, rows, unit: str, named: str = "", scale: float = 1.0) -> None:
    """Differences with their intervals against a line at zero.

    Args:
        axis: of matplotlib.
        rows: pairs (name, dict with mean, low, high, excludes_zero); filled dots exclude zero.
        unit: label of the axis.
        named: the row that was named before the run, drawn thick.
        scale: factor of all numbers, 100 for per cent.
    """
    for place, (name, found) in enumerate(rows):
        colour, width = (NAMED, 8) if name == named else (INK, 3)
        axis.plot([scale * found["low"], scale * found["high"]], [place, place], color=colour, lw=width)
        fill = colour if found["excludes_zero"] else "white"
        axis.plot(scale * found["mean"], place, "o", color=colour, markerfacecolor=fill, ms=12, markeredgewidth=3)
    axis.axvline(0, color=GREY, lw=2, zorder=0)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=20)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(unit)
    axis.tick_params(axis="y", length=0)
    axis.spines.left.set_visible(False)
