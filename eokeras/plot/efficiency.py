"""Pictures of label efficiency, and of embeddings.

Letters: N patches, D features, R replicates, K label budgets.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from eokeras.ben_ge import schema as facts
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.efficiency import LabelEfficiency
from eokeras.evaluate.embeddings import Embeddings
from eokeras.evaluate.patch_statistics import LOWER_IS_BETTER
from eokeras.evaluate.pixels import is_labelled
from eokeras.evaluate.scores import kind_of, metric_name
from eokeras.plot.experiments import response, response_words
from eokeras.plot.style import STYLE, contestant_styles, finish, task_text

_MISSING_COLOUR = "#DDDDDD"


def label_efficiency_chart(efficiency: LabelEfficiency, *, title: str = "") -> Figure:
    """Scores against the share of labels, on a logarithmic axis: thin lines for replicates, means on top.

    Args:
        efficiency: from `eokeras.evaluate.label_efficiency`.
        title: default names the target.

    Raises:
        InvalidArgumentError: there are more contestants than can be told apart.
    """
    shares, count = 100 * np.asarray(efficiency.fractions), len(efficiency.values)
    score = metric_name(efficiency.metric)
    if efficiency.metric not in LOWER_IS_BETTER:
        score += " (more is better)"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.9), layout="constrained")
        axis = figure.subplots()
        styles = contestant_styles(count)
        for order, (name, table) in enumerate(efficiency.values.items()):
            # A factor apart, so that intervals of one budget stand side by side.
            places = shares * 1.04 ** (order - (count - 1) / 2)
            response(axis, places, name, table, styles[order])
        axis.set_xscale("log")
        axis.set_xticks(shares, [f"{share:.3g} %" for share in shares])
        axis.minorticks_off()
        axis.set_xlabel(f"share of the training labels, {efficiency.draw}")
        axis.set_ylabel(f"{task_text(efficiency.target)}: {score}")
        axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
        handles, labels = axis.get_legend_handles_labels()
        words = response_words(efficiency.replicates, "replicate")
        look = {"loc": "outside lower center", "ncols": 3, "frameon": False, "title": words, "title_fontsize": 8}
        figure.legend(handles, labels, **look)
    title = title or f"Label efficiency: {task_text(efficiency.target)}"
    finish(figure, title, None, simulated=efficiency.simulated)
    return figure


def embedding_chart(embeddings: Embeddings, target: str, *, simulated: bool = False, title: str = "") -> Figure:
    """Patches as points in the plane of the first two principal components, coloured by a target.

    Points of one colour that lie together show that the encoder sees the target; points that all lie on a line or in
    one place show that it has collapsed. The axes say how much of the variance they hold: the rest is not seen.

    Args:
        embeddings: from `eokeras.evaluate.embed`.
        target: one of its targets: a class or a number per patch.
        simulated: whether the data come from the simulator.
        title: default names the target.

    Raises:
        InvalidArgumentError: `embeddings` has no such target, it is neither a class nor a number, or there are fewer
            than two patches or features.
    """
    if target not in embeddings.targets or kind_of(target) not in ("class", "regression"):
        known = [name for name in embeddings.targets if kind_of(name) in ("class", "regression")]
        raise InvalidArgumentError(f"`target` must be one of {known}. Received: target={target!r}.")
    points, shares = principal_components(embeddings.features)
    values = embeddings.targets[target]
    known = is_labelled(values)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        axis = figure.subplots()
        if not known.all():
            axis.scatter(*points[~known].T, s=12, color=_MISSING_COLOUR, label="no label")
        if kind_of(target) == "class":
            _by_class(axis, points[known], values[known], target)
            figure.legend(loc="outside right upper", frameon=False, markerscale=1.5)
        else:
            shown = axis.scatter(*points[known].T, s=12, c=values[known], cmap="viridis")
            figure.colorbar(shown, ax=axis, label=task_text(target))
        for side, share in zip(("x", "y"), shares, strict=True):
            number = {"x": "1st", "y": "2nd"}[side]
            axis.set(**{f"{side}label": f"{number} principal component ({100 * share:.0f} % of the variance)"})
        axis.set_aspect("equal", adjustable="datalim")
    finish(figure, title or f"Embeddings of {len(points)} patches by {task_text(target)}", None, simulated=simulated)
    return figure


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(points (N, 2) in the plane of the first two principal components, their shares (2,) of the variance).

    Raises:
        InvalidArgumentError: there are fewer than two patches or features.
    """
    if features.ndim != 2 or min(features.shape) < 2:
        rule = "`features` must have shape (patches, features), two or more of each."
        raise InvalidArgumentError(f"{rule} Received: shape={features.shape}.")
    centred = features.astype("float64") - features.mean(axis=0, dtype="float64")
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])  # else the picture may be mirrored by chance
    total = np.sum(sizes**2)
    shares = sizes[:2] ** 2 / total if total > 0 else np.zeros(2)
    return left[:, :2] * sizes[:2] * signs, shares


def _by_class(axis, points, values, target) -> None:
    classes = facts.TARGETS[target].classes
    is_cover = classes == tuple(entry.name for entry in facts.LAND_COVER)
    palette = mpl.colormaps["tab20"].colors
    for index in np.unique(values):
        colour = np.array(facts.LAND_COVER[index].colour) / 255 if is_cover else palette[index % len(palette)]
        name = classes[index] if index < len(classes) else str(index)
        place = points[values == index]
        axis.scatter(*place.T, s=14, color=[colour], edgecolors="#666666", linewidths=0.3, label=name)
