"""Charts of label efficiency and of embeddings show the numbers that they were given."""

import numpy as np
import pytest

from eokeras import plot
from eokeras.ben_ge.schema import LAND_COVER, TARGETS, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate import Embeddings
from eokeras.evaluate.efficiency import LabelEfficiency
from eokeras.evaluate.scores import SIMULATED
from eokeras.plot.efficiency import principal_components
from tests.test_plot_differences import drawn, texts

SCRATCH = np.array([0.2, 0.4, 0.6]) + np.linspace(-0.02, 0.02, 5)[:, None]


def test_the_means_stand_at_their_budgets(tmp_path):
    tables = {"scratch": SCRATCH, "pretrained": SCRATCH + 0.1}
    found = LabelEfficiency("land_cover", "accuracy", (0.01, 0.1, 1.0), tables, "spread", simulated=True)
    figure = plot.label_efficiency_chart(found)
    assert drawn(figure, tmp_path / "efficiency.png")
    (axis,) = figure.axes
    means = [line for line in axis.lines if line.get_linewidth() == 2.0 and line.get_marker() in "os"]
    assert [line.get_ydata() for line in means] == [pytest.approx([0.2, 0.4, 0.6]), pytest.approx([0.3, 0.5, 0.7])]
    for line in means:
        np.testing.assert_allclose(line.get_xdata(), [1, 10, 100], rtol=0.03)
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1 %", "10 %", "100 %"]
    assert SIMULATED in texts(figure)
    assert axis.get_ylabel() == "land cover: accuracy (more is better)"


def embeddings(count=60):
    random = np.random.default_rng(0)
    cover = random.integers(0, 3, count).astype("int32")
    cover[0] = VOID
    features = random.normal(0, 0.1, (count, 4))
    features[:, 2] += 5 * np.minimum(cover, 3)
    targets = {"land_cover": cover, "season": random.random(count).astype("float32"), "labels": np.ones((count, 19))}
    return Embeddings(features.astype("float32"), targets, {})


def test_points_have_the_colour_of_their_class(tmp_path):
    figure = plot.embedding_chart(embeddings(), "land_cover", simulated=True)
    assert drawn(figure, tmp_path / "embeddings.png")
    (axis,) = figure.axes
    missing, *classes = axis.collections
    assert missing.get_label() == "no label"
    assert [found.get_label() for found in classes] == list(TARGETS["land_cover"].classes[:3])
    for index, found in enumerate(classes):
        np.testing.assert_allclose(found.get_facecolor()[0, :3], np.array(LAND_COVER[index].colour) / 255)
    assert sum(len(found.get_offsets()) for found in axis.collections) == 60
    assert "1st principal component (1" in axis.get_xlabel() or "99 %" in axis.get_xlabel()
    assert SIMULATED in texts(figure)


def test_numbers_have_a_colour_bar(tmp_path):
    figure = plot.embedding_chart(embeddings(), "season")
    assert drawn(figure, tmp_path / "embeddings.png")
    assert figure.axes[1].get_ylabel() == "season"


def test_components_are_those_of_the_covariance():
    features = np.random.default_rng(1).normal(3, [1, 5, 2], (200, 3)).astype("float32")
    points, shares = principal_components(features)
    values, vectors = np.linalg.eigh(np.cov(features.astype("float64").T))
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum(), rtol=1e-6)
    expected = (features - features.mean(0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-3)
    mirrored, _ = principal_components(features[::-1])
    np.testing.assert_allclose(mirrored[::-1], points, atol=1e-6)


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(InvalidArgumentError, match=r"`target` must be one of \['land_cover', 'season'\]"):
        plot.embedding_chart(embeddings(), "labels")
    with pytest.raises(InvalidArgumentError, match="two or more of each"):
        plot.embedding_chart(Embeddings(np.ones((1, 4)), {"season": np.ones(1, "float32")}, {}), "season")
    seven = {f"method {number}": np.full((1, 2), 0.5) for number in range(7)}
    with pytest.raises(InvalidArgumentError, match=r"tells 6 contestants apart; choose so many\. Received: 7"):
        plot.label_efficiency_chart(LabelEfficiency("land_cover", "accuracy", (0.1, 1.0), seven, "spread"))
