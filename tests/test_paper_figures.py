"""The paper's figures across two learning rates, and that of the null: what is drawn, against values known by hand."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from engram.figures import johnson_su, paper_quantiles, published_null
from engram.figures.paper_losses import paper_losses
from engram.figures.paper_score_histogram import paper_score_histogram
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.scores.intervals import Interval


def full_model(train: np.ndarray, test: np.ndarray) -> xr.Dataset:
    losses = {"loss_train": train, "loss_held_out": test}
    variables = {name: (("epoch_trained", "model"), values[:, None]) for name, values in losses.items()}
    return xr.Dataset(variables, coords={"epoch_trained": np.arange(1, len(train) + 1)})


@pytest.fixture
def losses():
    epoch = np.arange(1, 101)
    return {rate: full_model(95 + start / epoch, 97 + start / epoch) for rate, start in ((1e-3, 40), (1e-4, 150))}


def test_losses_have_the_papers_axes_from_the_sixth_epoch_on(losses):
    left, right = paper_losses(losses).axes
    assert left.get_xlim() == pytest.approx((0, 107))
    assert left.get_ylim()[1] == 126
    assert left.get_ylabel() == "-ELBO (nats per image)" and right.get_xlabel() == "epoch"
    assert all(line.get_xdata()[0] == 6 and line.get_xdata()[-1] == 100 for line in [*left.lines, *right.lines])


def test_losses_above_the_papers_axis_stay_visible(losses):
    higher = {rate: found + 200 for rate, found in losses.items()}
    top = paper_losses(higher).axes[0].get_ylim()[1]
    assert top > 200 + 97 + 150 / 6


def test_as_published_the_training_loss_is_that_of_the_middle_of_the_epoch(losses):
    left, right = paper_losses(losses).axes
    train = 95 + 40 / np.arange(1, 101)
    np.testing.assert_allclose(right.lines[0].get_ydata(), train[5:])
    np.testing.assert_allclose(left.lines[0].get_ydata(), (train[4:-1] + train[5:]) / 2)
    np.testing.assert_allclose(left.lines[1].get_ydata(), right.lines[1].get_ydata())  # the test loss is of the end


def test_a_training_of_few_epochs_is_drawn_too():
    short = full_model(np.array([99.0, 98]), np.array([99.5, 99]))
    assert paper_losses({1e-3: short, 1e-4: short}).axes[1].lines[0].get_ydata().tolist() == [99, 98]


def test_quantiles_are_drawn_with_their_intervals():
    by_epoch = {50: Interval(10.0, 9, 11), 100: Interval(14.5, 13, 16)}
    lines = dict.fromkeys(paper_quantiles.LINES, by_epoch)
    drawn = paper_quantiles.paper_quantiles(
        {title: {1e-3: lines, 1e-4: lines} for title in ("as published", "corrected")}
    )
    left, right = drawn.axes
    assert [axes.get_title() for axes in (left, right)] == ["as published", "corrected"]
    assert left.get_xlim() == pytest.approx((0, 107)) and left.get_ylim() == right.get_ylim()
    np.testing.assert_array_equal(left.lines[0].get_xydata(), [[50, 10], [100, 14.5]])
    band = left.collections[0].get_paths()[0].vertices
    for corner in ([50, 9], [50, 11], [100, 13], [100, 16]):
        assert (band == corner).all(1).any()
    assert "learning rate 0.0001, 0.999 quantile" in [text.get_text() for text in drawn.legends[0].get_texts()]


def test_quantiles_are_read_from_the_likelihoods_of_every_epoch(tmp_path, rng):
    """Every image has a score of 2 at epoch 1 and of 5 at epoch 2, in every repeat: quantiles without uncertainty."""
    fold_of = rng.integers(3, size=(2, 9))
    is_in = np.concatenate([fold != np.arange(3)[:, None] for fold in fold_of])
    repeat, fold = np.repeat([0, 1], 3), np.tile(np.arange(3), 2)
    models = {
        "repeat": variable(("model",), repeat, "1", "repeat"),
        "fold": variable(("model",), fold, "1", "fold"),
    }
    seen = variable(("model", "sample"), is_in, "1", "seen")
    label = variable(("sample",), np.zeros(9, dtype=np.int16), "1", "class")
    split = variable(("sample",), np.zeros(9, dtype=np.int8), "1", "split")
    members = models | {"in_training": seen, "counted_as_in": seen, "label": label, "split": split}
    artifacts.write(tmp_path / "membership.h5", "membership", members, {})
    paths = []
    for epoch, score in ((1, 2.0), (2, 5.0)):
        paths.append(tmp_path / f"{epoch + 5}.h5")
        log_px = variable(("model", "draw", "sample"), (-90 + score * is_in)[:, None], "nats", "log p")
        settings = {"estimator": "mine", "values": json.dumps({"epoch": epoch})}
        artifacts.write(paths[-1], "likelihood", models | {"log_px": log_px}, settings)
    experiment = {
        "membership": tmp_path / "membership.h5",
        "likelihoods": paths,
        "statistics": {"mine": "mean_log"},
    }
    found = paper_quantiles.of_estimator(experiment, "mine")
    for line in paper_quantiles.LINES:
        np.testing.assert_allclose(list(found[line].values()), [[2, 2, 2], [5, 5, 5]], atol=1e-4)


def test_histograms_have_the_papers_bins_and_the_fit_of_all_scores():
    law = stats.johnsonsu(-1.5, 1.7, loc=1, scale=4)
    score = law.ppf((np.arange(4000) + 0.5) / 4000)
    found = xr.Dataset({"score": (("epoch", "sample"), np.stack([score - 99, score]))})
    left, right = paper_score_histogram(
        dict.fromkeys(("as published", "corrected"), dict.fromkeys((1e-3, 1e-4), found))
    ).axes
    assert left.get_xlim() == (-15, 35) and left.get_ylim() == right.get_ylim()
    assert len(left.patches) == 2 * 100
    widths = [bar.get_width() for bar in left.patches]
    np.testing.assert_allclose(widths, 0.5)
    assert sum(bar.get_height() * bar.get_width() for bar in left.patches[:100]) == pytest.approx(1)
    curve, quantile = left.lines[0], left.lines[1]
    np.testing.assert_allclose(curve.get_ydata(), law.pdf(curve.get_xdata()), atol=0.003)
    assert quantile.get_xdata()[0] == pytest.approx(np.quantile(score, 0.95))
    assert left.get_xlabel() == "memorization score M (nats)" and left.get_ylabel() == "density (1/nat)"


@pytest.mark.parametrize("location, scale", [(3, 4), (60, 80), (-14500, 900)])
def test_the_fit_finds_the_distribution_again_in_any_unit(location, scale):
    law = stats.johnsonsu(-0.9, 1.3, loc=location, scale=scale)
    values = law.ppf((np.arange(5000) + 0.5) / 5000)
    a, b, fitted_location, fitted_scale = johnson_su.fit(values)
    assert (a, b) == (pytest.approx(-0.9, abs=0.05), pytest.approx(1.3, abs=0.05))
    assert (fitted_location - location) / scale == pytest.approx(0, abs=0.05)
    assert fitted_scale / scale == pytest.approx(1, abs=0.05)
    assert f"scale {johnson_su.number(fitted_scale)}" in johnson_su.words((a, b, fitted_location, fitted_scale))


def test_the_null_is_drawn_as_the_share_of_images_above_a_score():
    null = np.arange(1000) / 100
    published = {0.5: 3.5, 0.95: 9.495, 0.999: 22.9}
    axes = published_null.draw({"learning rate 1e-4": null}, {"learning rate 1e-4": published}).axes[0]
    curve, points = axes.lines
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "memorization score M (nats)"
    shares = dict(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert shares[0.0] == 0.999 and shares[9.99] == 0 and shares[5.0] == pytest.approx(0.499)
    np.testing.assert_allclose(points.get_xydata(), [[3.5, 0.5], [9.495, 0.05], [22.9, 0.001]])
    assert [text.get_text() for text in axes.texts] == ["null: 65 %", "null: 5 %", "null: none of 1,000"]


def test_the_band_of_the_null_is_the_binomial_interval():
    null = np.arange(200.0)
    band = published_null.draw({"n": null}, {"n": {0.5: 100.0}}).axes[0].collections[0].get_paths()[0].vertices
    at = np.sort(band[band[:, 0] == 149.0][:, 1])  # 50 of 200 are above
    exact = stats.binomtest(50, 200).proportion_ci(method="exact")
    assert np.isclose(at, exact.low).any() and np.isclose(at, exact.high).any()


def test_measured_scores_stand_beside_the_null_where_there_are_any():
    null = {"1e-3": np.arange(50.0), "1e-4": np.arange(50.0)}
    drawn = published_null.draw(null, {name: {0.5: 4.0} for name in null}, {"1e-4": np.arange(80.0)})
    assert [len(axes.lines) for axes in drawn.axes] == [2, 3]
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["no image trained on (null)", "as published", "images trained on, measured"]
