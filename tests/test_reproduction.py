"""What the paper printed is spelled out once more here, and verdicts follow their rule in cases made by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.files.provenance import attributes
from engram.paper import published, reproduction
from engram.paper.reproduction import DIFFERS, OPEN, REPRODUCED, verdict
from engram.report import reproduction as reproduction_page
from engram.scores.bits import bits_per_dimension, dimensions
from engram.scores.intervals import Interval, mean
from engram.scores.quantities import QUANTITIES, Scored, estimate, jackknife
from synthetic import OF_CLAIMS, analysed

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())

PRINTED = {
    "mnist_lr1e-3": [4.4, 14.53, 43.9, -18, 210, 0.122, 93.7, 96.2],
    "mnist_lr1e-4": [3.5, 10.84, 22.9, -13, 80, 0.160, 94.7, 95.0, 3.8],
    "cifar10": [97, -180, 900],
    "celeba": [60, -450, 6500, 7093, 0.899, 0.5896, 0.78, 0.007],
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_numbers_are_the_papers(name):
    assert [value.value for value in published.VALUES[name]] == PRINTED[name]
    losses = [reproduction.LOSS.format(kind) for kind in ("training", "test")]
    assert all(value.quantity in [*QUANTITIES, *losses] for value in published.VALUES[name])


@pytest.mark.parametrize("name", PRINTED)
def test_the_shipped_experiments_are_the_papers(name):
    shipped = CONFIG["experiments"][name]
    printed = published.SETTINGS[name]
    assert {key: shipped[key] for key in printed} == printed
    samples = (CONFIG["estimators"]["published"] | shipped.get("overrides", {}).get("published", {}))["samples"]
    assert samples == published.SAMPLES[name] and shipped["seed"] == 42
    assert CONFIG["reproductions"]["paper"][name] == name


@pytest.mark.parametrize(
    "found, tolerance, expected",
    [
        (Interval(10.04, 10.03, 10.05), 0.05, REPRODUCED),  # by the tolerance
        (Interval(11, 10.2, 11.8), 0.05, REPRODUCED),  # 1 is below sqrt(2) 0.8 = 1.13
        (Interval(11, 10.4, 11.6), 0.05, DIFFERS),  # and above sqrt(2) 0.6 = 0.85
        (Interval(9, 8.4, 9.6), 0.05, DIFFERS),
        (Interval(10.5, math.nan, math.nan), 1, REPRODUCED),
        (Interval(12, math.nan, math.nan), 1, OPEN),
        (Interval(math.nan, math.nan, math.nan), 1, OPEN),
    ],
)
def test_a_verdict_on_a_printed_10(found, tolerance, expected):
    assert verdict(10, found, tolerance) == expected


def test_the_rule_of_a_row_names_its_tolerance():
    assert "within 0.05 of ours" in reproduction.rule(0.05) and "sqrt(2)" in reproduction.rule(0.05)


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.array([1.0, 4.0, 2.0, 7.0])
    without = np.array([np.delete(values, i).mean() for i in range(4)])
    assert jackknife(values.mean(), without) == pytest.approx(mean(values))
    assert np.isnan(jackknife(1.0, np.array([])).low)


def test_the_mean_score_has_the_interval_of_its_repeats(rng):
    """mean_log is linear: the score of all repeats is the mean of the scores of each."""
    repeat, fold = np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4)
    is_in = fold[:, None] != np.arange(60) % 5
    log_px = (rng.normal(0, 3, (20, 1, 60)) + 2 * is_in[:, None]).astype(np.float32)
    found = estimate(log_px, is_in, repeat, "mean_log", {"mean of M": QUANTITIES["mean of M"]})["mean of M"]
    each = []
    for number in range(4):
        models, inside = log_px[repeat == number, 0].astype(float), is_in[repeat == number]
        each.append(np.mean(models.mean(0, where=inside) - models.mean(0, where=~inside)))
    assert found == pytest.approx(mean(each), abs=1e-6)


def test_quantities_by_hand():
    """20 images: U from -20,000 to -10,500 by 500; the highest score at the lowest U."""
    u = -20000.0 + 500 * np.arange(20)
    scored = Scored(m=np.array([100.0, *range(-2, 17)]), u=u, v=u - 1)
    by_hand = {
        "minimum of M": -2,
        "maximum of M": 100,
        "median of M": 7.5,
        "share of images with M < 0": 2 / 20,
        "images with M <= 0.95": 3,
        "share of images with U in [-14500, -12000]": 6 / 20,
        "share of highly memorized with U in [-14500, -12000]": 0,
        "share highly memorized where U < -17000": 1 / 6,
        "share highly memorized where U > -11000": 0,
        "mean log p, images held out (V)": u.mean() - 1,
    }
    assert {name: QUANTITIES[name](scored) for name in by_hand} == pytest.approx(by_hand)
    elsewhere = scored._replace(u=np.zeros(20))
    assert math.isnan(QUANTITIES["share highly memorized where U < -17000"](elsewhere))


def test_a_uniform_distribution_over_8_bit_images_costs_8_bits_per_dimension():
    assert bits_per_dimension(-3072 * math.log(256), 3072) == pytest.approx(8)


FOLDS = {"design": "k_fold", "folds": 5, "repeats": 2}


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Two made-up experiments at the paper's learning rates, on 400 images, with K = 5 and L = 2."""
    folder = tmp_path_factory.mktemp("reproduction")
    paths = analysed(folder, OF_CLAIMS)
    rng = np.random.default_rng(1)
    likelihoods = []
    for estimator in ("published", "corrected"):
        for repeat in range(2):
            path = folder / f"{estimator}-{repeat}.h5"
            variables = {
                "log_px": variable(("model", "draw", "sample"), rng.normal(-90, 5, (5, 1, 520)), "nats", "log p"),
                "repeat": variable(("model",), [repeat] * 5, "1", "repeat"),
                "fold": variable(("model",), range(5), "1", "fold"),
            }
            artifacts.write(path, "likelihood", variables, attributes("made up", 0, {"epoch": 40}, estimator=estimator))
            likelihoods.append(str(path))
    entry = {kind: paths[kind] for kind in ("dataset", "membership", "scores", "analyses", "models", "full_model")} | {
        "likelihoods": likelihoods,
        "estimators": {name: CONFIG["estimators"][name] for name in ("published", "corrected")},
    }
    small = CONFIG["experiments"]["mnist_lr1e-3_small"] | {"membership": FOLDS, "scored_epochs": [20, 40]}
    lower = small | {"training": small["training"] | {"learning_rate": 0.0001}}
    return {
        "mnist_lr1e-3": entry | {"name": "fast", "settings": small},
        "mnist_lr1e-4": entry | {"name": "slow", "settings": lower},
    }


@pytest.fixture(scope="module")
def rows(experiments):
    return reproduction.table(experiments)


def test_every_printed_number_and_every_claim_has_a_row_with_its_rule(rows):
    printed = rows[rows["verdict"] != reproduction.NOT_PRINTED]
    assert list(rows.columns) == reproduction.COLUMNS and printed["rule"].str.len().min() > 20
    for name in ("mnist_lr1e-3", "mnist_lr1e-4"):
        here = printed[printed["experiment"] == name]
        numbers, claims = here[here["unit"] != "claim"], here[here["unit"] == "claim"]
        assert list(numbers["published"]) == PRINTED[name]
        assert [claim[:2] for claim in claims["quantity"]] == ["C1", "C2", "C3", "C6", "C7", "C8", "C9"]
    of_both = printed[printed["experiment"] == "mnist_lr1e-3 / mnist_lr1e-4"]
    assert [claim[:2] for claim in of_both["quantity"]] == ["C4", "C5"] and set(of_both["ours"]) == {"fast / slow"}


def test_what_forbids_a_comparison_is_said_and_the_value_is_shown(rows):
    row = rows[(rows["experiment"] == "mnist_lr1e-3") & (rows["quantity"] == "median of M")].iloc[0]
    assert row["verdict"] == row["verdict_corrected"]
    assert row["verdict"] == "not comparable: 400 images of mnist6k, K = 5, L = 2, epoch 40"
    assert row["as_published_low"] < row["as_published"] < row["as_published_high"]
    assert row["corrected"] != row["as_published"] and row["epoch"] == 40


def test_the_papers_own_settings_can_be_compared(rows, experiments, monkeypatch):
    name = "mnist_lr1e-3"
    monkeypatch.setitem(published.SETTINGS, name, experiments[name]["settings"])
    monkeypatch.setitem(published.IMAGES, "mnist6k", 400)
    found = reproduction.table({name: experiments[name]})
    assert set(found["verdict"]) <= {REPRODUCED, DIFFERS, OPEN, reproduction.NOT_PRINTED}
    assert not found["quantity"].str.startswith(("C4", "C5")).any()


def test_the_page_shows_what_the_table_holds(rows, tmp_path):
    rows.to_csv(tmp_path / "reproduction.csv", index=False)
    first, second, both = reproduction_page.by_experiment(tmp_path / "reproduction.csv")
    assert first["differences"] == "400 images of mnist6k, K = 5, L = 2, epoch 40"
    assert (first["name"], first["ours"], both["ours"]) == ("mnist_lr1e-3", "fast", "fast / slow")
    median = first["numbers"][0]
    assert median["published"] == "4.4" and median["verdict"].startswith("not comparable")
    assert float(median["corrected"]) == pytest.approx(rows["corrected"][0], rel=1e-3)
    assert median["corrected_interval"].startswith("[") and first["numbers"][6]["corrected_interval"] == ""
    assert first["numbers"][-1]["published"] == "" and first["numbers"][-1]["verdict"] == ""
    assert len(second["claims"]) == 7 and not both["numbers"]


def test_only_binary_pixels_have_no_bits_per_dimension():
    seen = {"binary": None, "logit": 3072, "pixels": 3072}
    for observation, size in seen.items():
        assert dimensions(xr.Dataset(attrs={"image_shape": [3, 32, 32], "observation": observation})) == size


def test_models_that_do_not_say_what_they_see_are_to_be_made_again(tmp_path):
    artifacts.write(tmp_path / "full.h5", "models", {"fold": variable(("model",), [-1], "1", "fold")}, {})
    with pytest.raises(UserError, match=r"full\.h5: does not say how x is drawn .* make it again"):
        dimensions(artifacts.read(tmp_path / "full.h5", "models", ["fold"]))
