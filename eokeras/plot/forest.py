"""A forest plot: differences with their 95 % intervals against a zero line, what they mean beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eokeras.evaluate.scores import ILLUSTRATION

COLOUR, BAND_COLOUR = "#0072B2", "#E4E4E4"
ROW_INCHES = 0.42


@dataclass(frozen=True)
class ForestRow:
    """One difference and what may be said of it.

    Attributes:
        label: what differs.
        value, low, high: the difference and its interval, None where there is none.
        smallest: the smallest difference that the design can show; None where it can show nothing.
        excludes_zero: whether the interval lies on one side of zero.
        is_illustration: whether it is no evidence: no interval, or too few replicates.
        units: what it was drawn over: "14 tiles".
        percent: whether the numbers are fractions, to be written in percent.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    smallest: float | None
    excludes_zero: bool
    is_illustration: bool
    units: str
    percent: bool = False

    @property
    def found(self) -> bool:
        """Whether it excludes zero and may be said to."""
        return self.excludes_zero and not self.is_illustration

    @property
    def words(self) -> str:
        """Value and interval; under them what it was drawn over and what that can show."""
        scale, unit = (100, " %") if self.percent else (1, "")
        digits = 1 if self.percent else 3
        signed = [f"{round(scale * end, digits) + 0.0:+.{digits}f}" for end in (self.value, self.low, self.high) if
                  end is not None]  # fmt: skip
        text = f"{signed[0]}{unit}"
        if self.low is not None:
            text += f" [{signed[1]}, {signed[2]}]"
        if self.is_illustration:
            return f"{text}\n{self.units}: {ILLUSTRATION}"
        return f"{text}\n{self.units}; show {scale * self.smallest:.{digits}f}{unit} or more"


def draw_forest(axis, rows: Sequence[ForestRow]) -> None:
    """Draws the rows from top to bottom: band of what the design can show, interval, dot, words on the right.

    A filled dot excludes zero, an open one does not; an open diamond is an illustration.
    """
    for position, row in enumerate(rows):
        if row.smallest:
            axis.barh(position, 2 * row.smallest, left=-row.smallest, height=0.62, color=BAND_COLOUR, zorder=1)
        if row.low is not None:
            axis.plot([row.low, row.high], [position] * 2, color=COLOUR, linewidth=2.2, solid_capstyle="butt")
        fill = COLOUR if row.found else "white"
        marker = "D" if row.is_illustration else "o"
        axis.plot(row.value, position, marker, color=COLOUR, markerfacecolor=fill, markersize=7)
    axis.axvline(0, color="black", linewidth=1.0, zorder=1.5)
    axis.set_yticks(range(len(rows)), [row.label for row in rows])
    axis.set_ylim(len(rows) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    words = axis.secondary_yaxis("right")
    words.set_yticks(range(len(rows)), [row.words for row in rows])
    words.tick_params(length=0, labelsize=8)
    words.spines["right"].set_visible(False)
    _widen(axis, rows)


def _widen(axis, rows: Sequence[ForestRow]) -> None:
    """Zero in sight, with room for the largest interval on either side."""
    ends = [end for row in rows for end in (row.value, row.low, row.high, row.smallest, -(row.smallest or 0)) if end]
    low, high = min([0, *ends]), max([0, *ends])
    margin = 0.08 * (high - low) or 0.01
    axis.set_xlim(low - margin, high + margin)


def name_sides(axis, better_on_the_left: str, better_on_the_right: str) -> None:
    """Says above the dots on which side which one is better."""
    axis.set_title(f"← {better_on_the_left} better", loc="left")
    axis.set_title(f"{better_on_the_right} better →", loc="right")


def forest_legend(rows: Sequence[ForestRow]) -> list:
    """Handles of what the rows show."""
    handles = []
    illustrations = [row for row in rows if row.is_illustration]
    if any(row.found for row in rows):
        handles.append(dot_handle(COLOUR, True, "95 % interval excludes zero"))
    if any(not row.found and not row.is_illustration for row in rows):
        handles.append(dot_handle(COLOUR, False, "95 % interval does not exclude zero"))
    if illustrations:
        line = any(row.low is not None for row in illustrations)
        handles.append(dot_handle(COLOUR, False, ILLUSTRATION, marker="D", line=line))
    if any(row.smallest for row in rows):
        handles.append(Patch(color=BAND_COLOUR, label="too small a difference for this design to show"))
    return handles


def count_found(rows: Sequence[ForestRow], what: str) -> str:
    """For a title: "2 of 3 paired differences exclude zero, 1 illustration"."""
    evidence = [row for row in rows if not row.is_illustration]
    if not evidence:
        return ILLUSTRATION
    count, others = sum(row.found for row in evidence), len(rows) - len(evidence)
    few = f", {others} illustration{'s' * (others > 1)}" if others else ""
    verb = "excludes" if count == 1 else "exclude"
    return f"{count} of {len(evidence)} {what} {verb} zero{few}"


def dot_handle(colour: str, filled: bool, label: str, marker: str = "o", line: bool = True) -> Line2D:
    """A dot, filled or open, with or without the line of an interval, for a legend."""
    fill = colour if filled else "white"
    style = "-" if line else "none"
    return Line2D([], [], color=colour, marker=marker, markerfacecolor=fill, linestyle=style, label=label)
