"""Every figure is drawn from made-up artifacts, with one and with several estimators, of grey and colour images."""

import re
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

import synthetic
from engram import catalogue
from engram.figures import style
from engram.figures.grids import grids, highest, lowest, nearest_to_median
from engram.figures.labels import in_nats
from engram.figures.stage import drawing
from synthetic import FIGURES


def draw(name, experiment) -> Figure:
    """A figure of the catalogue from what it reads of an experiment."""
    there = {"scores": experiment.scores, "dataset": experiment.dataset, **experiment.analyses}
    there |= {"models": experiment.folds, "full_model": experiment.full, "measures": experiment.measures}
    return drawing(name)(*(there[what] for what in catalogue.FIGURES[name].reads))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return synthetic.read(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """One estimator of another name, and colour images that are not square."""
    return synthetic.read(tmp_path_factory.mktemp("colour"), shape=(3, 12, 8), estimators=("mine",))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Colour images with scores and log p in the ranges of CelebA's."""
    return synthetic.read(tmp_path_factory.mktemp("wide"), n=1600, shape=(3, 16, 16), wide=True)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """Three estimators, and images without classes."""
    found = synthetic.read(tmp_path_factory.mktemp("unlabelled"), estimators=("published", "corrected", "mine"))
    for scores in found.scores.values():
        scores["label"][:] = -1
    return found


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    """Two estimators whose log p is a lower bound."""
    estimators = ("bound", "bound_of_many")
    return synthetic.read(tmp_path_factory.mktemp("bound"), estimators=estimators, bound=True)


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
    assert "scores" not in catalogue.FIGURES[name].reads or all(
        any(estimator in text for text in texts) for estimator in unlabelled.scores
    )


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
    score = np.array([3.0, -1, 8, 2.9, 50])
    assert lowest(score)[:2].tolist() == [1, 3]
    assert nearest_to_median(score)[:2].tolist() == [0, 3]
    assert highest(score)[:2].tolist() == [4, 2]


def test_grids_call_the_users_own_images_by_their_files(grey):
    paths = [f"photos/a-very-long-name-{number:04d}.png" for number in range(grey.dataset.sizes["sample"])]
    named = grey.dataset.assign(path=("sample", np.array(paths, dtype=object)))
    for dataset, start in ((named, r"\.\.name-\d{4}\n"), (grey.dataset, r"\d+\n-?\d")):
        texts = [text.get_text() for text in grids(grey.scores, dataset).axes[0].texts if "\n" in text.get_text()]
        assert len(texts) == 45 and all(re.match(start, text) for text in texts)


def test_a_scatter_shows_every_image_once(grey):
    panels = [axes for axes in draw("mode_collapse", grey).axes if axes.get_title().startswith("corrected")]
    assert len(panels[0].lines[0].get_xdata()) == grey.scores["corrected"].sizes["sample"]


def bars(axes) -> np.ndarray:
    """(left edge, bottom, width, height) of each bar."""
    return np.array([(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in axes.patches])


@pytest.mark.parametrize("name", FIGURES)
def test_a_score_or_log_p_by_a_bound_says_so_and_no_other_does(bound, grey, name):
    shown = [[text.get_text() for text in draw(name, each).findobj(Text)] for each in (bound, grey)]
    says = [sum("by a lower bound on log p" in text for text in texts) for texts in shown]
    shows_neither = name == "error_by_repeats" or "scores" not in catalogue.FIGURES[name].reads
    assert says[1] == 0 and (says[0] == 0) == shows_neither
    unsaid = [text for text in shown[0] if re.search(r"(\bM|\bU).*\(nats\)", text) and "bound on log p" not in text]
    assert not unsaid, unsaid


def test_where_some_estimators_judge_by_a_bound_they_are_named():
    mixed = {name: xr.Dataset(attrs={"log_px_is_bound": int(name == "mine")}) for name in ("corrected", "mine")}
    assert in_nats("M", mixed) == "M (nats),\nfor mine by a lower bound on log p"


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["wide", "bound"])
def test_text_neither_overlaps_nor_leaves_the_figure_at_the_ranges_of_celeba_and_for_bounds(kind, name, request):
    drawn = draw(name, request.getfixturevalue(kind))
    FigureCanvasAgg(drawn).draw()
    whole = drawn.bbox.expanded(1.001, 1.001)
    for axes in drawn.axes:
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            shown = [tick.label1 for tick in axis.get_major_ticks() if tick.label1.get_visible()]
            low, high = sorted(axis.get_view_interval())
            ticks = zip(shown, axis.get_majorticklocs(), strict=False)
            boxes = [label.get_window_extent() for label, at in ticks if label.get_text() and low <= at <= high]
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2)), (name, axes.get_title())
            assert all(whole.contains(*corner) for box in boxes for corner in (box.min, box.max)), name
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert whole.contains(*box.min) and whole.contains(*box.max), (name, text.get_text())


def test_tails_reach_from_the_lowest_to_the_highest_score(wide):
    axes = draw("score_histogram", wide).axes[2]
    edge = bars(axes)
    assert axes.get_yscale() == "log"
    assert edge[0, 0] == pytest.approx(-450) and edge[-1, 0] + edge[-1, 2] == pytest.approx(6500)
    assert axes.get_ylim()[0] < edge[edge[:, 3] > 0][:, 3].min()
    assert sum(edge[:, 2] * edge[:, 3]) == pytest.approx(1)


def test_the_parameters_of_the_fit_are_shown(grey):
    from engram.figures import johnson_su

    axes = draw("score_histogram", grey).axes[0]
    parameters = johnson_su.fit(grey.scores["published"]["score"].values[-1])
    assert axes.get_legend().get_texts()[0].get_text() == f"Johnson SU fit\n{johnson_su.words(parameters)}"
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(y, stats.johnsonsu.pdf(x, *parameters))


def test_highly_memorized_images_are_stacked_on_the_regular_ones(wide):
    axes, shares = draw("density_split", wide).axes[0], draw("density_split", wide).axes[2]
    here = wide.analyses["density_split"].sel(estimator="published")
    count, count_high = here["count"].values, here["count_high"].values
    regular, high = np.split(bars(axes)[-2 * len(count) :], 2)
    np.testing.assert_array_equal(regular[:, 3], count - count_high)
    np.testing.assert_array_equal(high[:, 1], regular[:, 3])
    np.testing.assert_array_equal(high[:, 3], count_high)
    assert [text.get_text() for text in axes.texts] == [f"{n:,}" for n in count_high]
    assert regular[0, 2] in (500, 1000) and regular[:, 3].sum() + high[:, 3].sum() == 1600
    assert shares.get_ylim() == (0, 1)
    np.testing.assert_allclose(bars(shares)[:, 3], count_high / count)


def test_error_bars_of_shares_are_absolute(wide):
    axes = draw("density_split", wide).axes[2]
    here = wide.analyses["density_split"].sel(estimator="published")
    segments = np.array(axes.collections[0].get_segments())[:, :, 1]
    expected = np.stack([here["share_high_low"], here["share_high_high"]], axis=1)
    np.testing.assert_allclose(segments, expected, atol=1e-12)


def test_rho_is_averaged_in_bins_with_absolute_intervals(grey):
    axes = draw("neighbors", grey).axes[0]
    score, rho = grey.scores["published"]["score"].values[-1], grey.analyses["neighbors"]["rho"].values
    points = axes.lines[0].get_xydata()
    width = np.diff(points[:, 0]).min()
    for (middle, mean), segment in zip(points, axes.collections[0].get_segments(), strict=True):
        inside = rho[(score > middle - width / 2) & (score <= middle + width / 2)]
        if len(inside) >= 3:
            assert mean == pytest.approx(inside.mean())
            half = stats.t.ppf(0.975, len(inside) - 1) * stats.sem(inside)
            np.testing.assert_allclose(np.array(segment)[:, 1], [mean - half, mean + half])


def test_the_axes_of_rho_hold_those_of_the_paper(grey):
    means, ratios = draw("neighbors", grey).axes[:2]
    assert means.get_ylim()[0] < 0.75 and means.get_ylim()[1] > 1.5
    assert ratios.get_xlim()[0] < 0.6 and ratios.get_xlim()[1] > 1.6


def test_the_last_row_of_rho_repeats_both_published_slips(grey):
    axes = draw("neighbors", grey).axes
    score = grey.scores["published"]["score"].values[-1]
    labels = [text.get_text() for text in axes[-1].get_legend().get_texts()]
    assert labels == [f"regular: {(score <= 0.95).sum()}", f"M > 0.95 nats: {(score > 0.95).sum()}"]
    labels = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert labels == [f"regular: {380}", "M > q95: 20"]


def test_errors_are_carried_on_by_the_square_root_of_repeats(grey):
    axes = draw("error_by_repeats", grey).axes[0]
    measured, ahead = axes.lines[:2]
    np.testing.assert_array_equal(measured.get_xydata(), [[1, 4.0], [2, 2.8]])
    x, y = ahead.get_data()
    np.testing.assert_allclose(y * np.sqrt(x), 2.8 * np.sqrt(2))
    assert axes.get_ylabel() == "standard error\nof a score (nats)" and axes.get_ylim()[0] == 0


def test_a_single_repeat_has_no_error_by_repeats(grey):
    from engram.figures.error_by_repeats import error_by_repeats

    single = {name: found.drop_vars("standard_error_by_repeats") for name, found in grey.scores.items()}
    axes = error_by_repeats(single).axes[0]
    assert not axes.lines and "two repeats" in axes.texts[0].get_text()


def test_an_axis_is_logarithmic_only_where_a_few_values_lie_far_off():
    axes = Figure().subplots()
    style.spread_out(axes, "x", np.linspace(-20, 80, 1000))
    assert axes.get_xscale() == "linear"
    style.spread_out(axes, "xy", np.append(np.linspace(-50, 500, 1000), 6500.0))
    assert axes.get_xscale() == axes.get_yscale() == "symlog"


def test_numbers_are_written_to_three_digits():
    assert [style.number(value) for value in (0.1534, 21.44, -6512.3, 2.2e7)] == ["0.153", "21.4", "-6,512", "2.2e+07"]
