"""One visual language for every figure: colours, type and title."""

from eokeras.evaluate.scores import SIMULATED

MODALITY_COLOURS = {
    "s2": "#0072B2",
    "s1": "#D55E00",
    "dem": "#009E73",
    "era5": "#B8860B",
    "labels": "#A8467C",
}
"""One colour per modality in every figure."""

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


def finish(figure, title, schema, simulated=False):
    """Title, and under it the sentence that every figure of simulated data must say."""
    is_simulated = simulated or getattr(schema, "world", None) is not None
    lines = title.count("\n") + 1
    figure.suptitle(title + "\n" * is_simulated, x=0.02, ha="left", fontsize=11, fontweight="bold")
    if is_simulated:  # the title keeps a line free for it; constrained layout knows no subtitle
        below = 0.98 - lines * 11 * 1.25 / 72 / figure.get_figheight()
        figure.text(0.02, below, SIMULATED, ha="left", va="top", fontsize=8, color="#555555")
