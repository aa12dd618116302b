"""One visual language for every figure: colours, type and title."""

import textwrap
from collections.abc import Sequence

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.scores import SIMULATED

MODALITY_COLOURS = {
    "s2": "#0072B2",
    "s1": "#D55E00",
    "dem": "#009E73",
    "era5": "#B8860B",
    "labels": "#A8467C",
}
"""One colour per modality in every figure."""

CONTESTANT_STYLES = (
    ("#332288", "o", "-"),
    ("#CC6677", "s", "--"),
    ("#44AA99", "^", "-."),
    ("#999933", "D", ":"),
    ("#882255", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#555555", "P", (0, (1, 1))),
)
"""Colour, marker and line of methods side by side, told apart in grey too; no modality has these colours."""


def contestant_styles(count: int) -> tuple:
    """The first `count` of `CONTESTANT_STYLES`.

    Raises:
        InvalidArgumentError: there are more contestants than can be told apart.
    """
    if count > len(CONTESTANT_STYLES):
        rule = f"A chart tells {len(CONTESTANT_STYLES)} contestants apart; choose so many."
        raise InvalidArgumentError(f"{rule} Received: {count}.")
    return CONTESTANT_STYLES[:count]


SPLIT_STYLES = {"train": ("#767C86", "o"), "val": ("#E69F00", "^"), "test": ("#0B5FA5", "D")}
"""Colour and marker of each split: told apart by lightness too, for those who see colours otherwise."""

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 130,
    "figure.dpi": 110,
}
"""Matplotlib settings while a figure is made; used in `rc_context`, so nothing global changes."""

_PAD_INCHES = 3 / 72  # of constrained layout, above the title
_LINE_INCHES = 11 * 1.25 / 72  # of the title, 11 points
_SENTENCE_LINE_INCHES = 8 * 1.25 / 72  # of the sentences, 8 points
_TITLE_CHARACTER_INCHES = 0.115  # widths of an average character: bold at 11 points, plain at 8
_CHARACTER_INCHES = 0.066


def task_text(name: str) -> str:
    """Name of a target or metric as a label: `climate_zone_mean_iou` -> "climate zone mean IoU"."""
    return name.replace("_", " ").replace("iou", "IoU").replace("f1", "F1").replace("mae", "MAE")


def finish(figure, title, schema, simulated=False, notes: Sequence[str] = ()):
    """Title, and under it `notes` and the sentence that every figure of simulated data must say."""
    is_simulated = simulated or getattr(schema, "world", None) is not None
    width_inches, height_inches = figure.get_size_inches()
    columns = int(width_inches / _TITLE_CHARACTER_INCHES)
    title = "\n".join(textwrap.fill(line, columns) for line in title.split("\n"))
    columns = int(width_inches / _CHARACTER_INCHES)
    told = [textwrap.wrap(sentence, columns) for sentence in ([SIMULATED, *notes] if is_simulated else notes)]
    # The title keeps lines free for the sentences: constrained layout knows no subtitle.
    figure.suptitle(title + "\n" * sum(map(len, told)), x=0.02, ha="left", fontsize=11, fontweight="bold")
    below_inches = _PAD_INCHES + (title.count("\n") + 1) * _LINE_INCHES
    for lines in told:
        place = 1 - below_inches / height_inches
        figure.text(0.02, place, "\n".join(lines), ha="left", va="top", fontsize=8, color="#555555")
        below_inches += len(lines) * _SENTENCE_LINE_INCHES
