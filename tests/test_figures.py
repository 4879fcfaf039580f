"""Every figure is drawn from made-up artifacts, with one and with several estimators, of grey and colour images."""

import inspect
from importlib import import_module

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from engram.figures import style
from synthetic import evidence

ANALYSES = ("density_split", "neighbors", "mode_collapse")
FIGURES = ("losses", "quantiles", "score_histogram", "grids", "comparison", *ANALYSES)


def draw(name, found) -> Figure:
    function = getattr(import_module(f"engram.figures.{name}"), name)
    first, *rest = inspect.signature(inspect.unwrap(function)).parameters
    analysis = getattr(found, name) if first == "found" else getattr(found, first)
    return function(analysis, *(getattr(found, argument) for argument in rest))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return evidence(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """One estimator of another name, and colour images that are not square."""
    return evidence(tmp_path_factory.mktemp("colour"), shape=(3, 12, 8), estimators=("mine",))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """Three estimators, and images without classes."""
    found = evidence(tmp_path_factory.mktemp("unlabelled"), estimators=("published", "corrected", "mine"))
    for scores in found.scores.values():
        scores["label"][:] = -1
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_with_data_has_a_labelled_axis_below_it(grey, name):
    drawn = draw(name, grey)
    for axes in drawn.axes:
        if axes.axison and axes.has_data():
            below = [other.get_xlabel() for other in axes.get_shared_x_axes().get_siblings(axes)]
            assert any([*below, drawn.get_supxlabel(), axes.get_title() == "Classes"]), axes.get_title()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_one_estimator_and_colour_images_is_saved(colour, tmp_path, name):
    style.save(draw(name, colour), tmp_path / "figure.pdf", tmp_path / "figure.png")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_three_estimators_has_a_panel_or_a_line_for_each(unlabelled, name):
    drawn = draw(name, unlabelled)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert name == "losses" or all(any(estimator in text for text in texts) for estimator in unlabelled.scores)


def test_the_same_figure_gives_the_same_bytes(grey, tmp_path):
    written = []
    for attempt in "ab":
        style.save(draw("quantiles", grey), tmp_path / f"{attempt}.pdf", tmp_path / f"{attempt}.png")
        written.append([(tmp_path / f"{attempt}.{ending}").read_bytes() for ending in ("pdf", "png")])
    assert written[0] == written[1]


def test_an_estimator_keeps_its_colour_whatever_stands_beside_it():
    alone, together = (
        style.estimator_colours(["corrected"]),
        style.estimator_colours(["mine", "published", "corrected"]),
    )
    assert alone["corrected"] == together["corrected"]
    assert len(set(together.values())) == 3


def test_grids_choose_the_lowest_the_most_ordinary_and_the_highest():
    from engram.figures.grids import highest, lowest, nearest_to_median

    score = np.array([3.0, -1, 8, 2.9, 50])
    assert lowest(score)[:2].tolist() == [1, 3]
    assert nearest_to_median(score)[:2].tolist() == [0, 3]
    assert highest(score)[:2].tolist() == [4, 2]


def test_a_scatter_shows_every_image_once(grey):
    panels = [axes for axes in draw("mode_collapse", grey).axes if axes.get_title().startswith("corrected")]
    assert len(panels[0].lines[0].get_xdata()) == grey.scores["corrected"].sizes["sample"]
