"""benchmarks/null_experiment.py, on made-up experiments in which nothing is memorized, and on one in which something is."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from engram.designs.membership import design
from engram.designs.repeats import repeat_name
from engram.files import artifacts, provenance
from engram.files.artifacts import variable
from engram.scores import stage

FOLDS, REPEATS, SEEN, TEST = 5, 4, 600, 50
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "null_experiment.py"
spec = importlib.util.spec_from_file_location("null_experiment", SCRIPT)
null_experiment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(null_experiment)


def experiment(folder, rng, gain=0.0):
    """Artifacts of a null experiment: common draws for `corrected`, noise of 6 nats more a value for `published`.

    `gain` is added where a model counts as having seen the image, which no honest null does.
    """
    split = np.repeat([0, 1], [SEEN, TEST])
    settings = {"design": "null", "folds": FOLDS, "repeats": REPEATS}
    membership = design(settings, split, np.full(len(split), -1), 42, "null")
    artifacts.write(folder / "membership.h5", "membership", membership.variables(split, 0 * split), {})
    truth = rng.normal(-90, 15, len(split)) + rng.normal(0, 3, membership.in_training.shape)
    truth += rng.normal(0, 2, (FOLDS * REPEATS, 1)) + gain * membership.counted_as_in  # some models are better
    noisy = truth + rng.normal(0, 6, truth.shape)
    for name, statistic, log_px in (("corrected", "mean_log", truth), ("published", "log_mean_exp", noisy)):
        paths = [folder / "likelihood" / name / repeat_name(number) / "epoch-40.h5" for number in range(REPEATS)]
        for number, path in enumerate(paths):
            mine = membership.repeat == number
            variables = {"log_px": variable(("model", "draw", "sample"), log_px[mine][:, None], "nats", "log p")}
            for axis in ("repeat", "fold"):
                variables[axis] = variable(("model",), getattr(membership, axis)[mine], "1", axis)
            artifacts.write(path, "likelihood", variables, {"values": json.dumps({"epoch": 40})})
        stored = artifacts.read(folder / "membership.h5", "membership")
        variables, found, _ = stage.compute(list(map(str, paths)), stored, statistic, [40], 10_000, 42)
        attributes = provenance.attributes("null", 42, {}) | found
        artifacts.write(folder / "scores" / f"{name}.h5", "scores", variables, attributes)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = experiment(tmp_path_factory.mktemp("honest"), np.random.default_rng(1))
    return {name: null_experiment.judge(*null_experiment.read(folder, name)) for name in ("corrected", "published")}


@pytest.mark.slow
def test_an_honest_null_keeps_every_promise(honest):
    for found in honest.values():
        assert found.broken() == []
        assert found.over_relabellings("found_in_families").mean == pytest.approx(0.05, abs=0.02)
        assert found.over_relabellings("small").mean == pytest.approx(31 / 625, abs=0.003)


@pytest.mark.slow
def test_the_published_statistic_is_offset_and_mean_log_is_not(honest):
    assert honest["published"].mean_score.mean > 1.5
    assert honest["published"].again.mean_score.min() > 1.5
    assert abs(honest["corrected"].again.mean_score.mean()) < 0.05
    # mean_log has this deviation in closed form: each value sd 3 about its image and model, 300 images, 4 of 20 out.
    deviation = 3 * np.sqrt((1 / 4 + 1 / 16) / (SEEN // 2))
    assert honest["corrected"].again.mean_score.std() == pytest.approx(deviation, rel=0.25)


@pytest.mark.slow
def test_the_error_of_a_mean_of_mean_log_scores_is_that_of_the_repeats_own_means(honest, tmp_path):
    scores, log_px, comparison = null_experiment.read(experiment(tmp_path, np.random.default_rng(1)), "corrected")
    found = null_experiment.mean_score(log_px, comparison, "mean_log")
    own = []
    for number in range(REPEATS):
        values, is_in = log_px[comparison.repeat == number, 0], comparison.is_in[comparison.repeat == number]
        own.append(values[is_in].mean() - values[~is_in].mean())  # balanced: as many images for every model
    assert found.mean == pytest.approx(np.mean(own), abs=1e-4)
    assert found.error == pytest.approx(np.std(own, ddof=1) / 2, rel=1e-3)
    assert found.mean == pytest.approx(float(scores["score"].mean()), abs=1e-4)


@pytest.mark.slow
def test_memorization_breaks_the_promises_and_the_script_says_so(tmp_path, capsys, monkeypatch):
    folder = experiment(tmp_path, np.random.default_rng(1), gain=2.0)
    monkeypatch.setattr(sys, "argv", ["null_experiment", "--experiment", folder.name, "--results", str(folder.parent)])
    with pytest.raises(SystemExit) as stopped:
        null_experiment.main()
    printed = capsys.readouterr().out
    assert stopped.value.code
    assert "corrected: broken: p-values are uniform" in printed
    assert "corrected: broken: the mean score is 0" in printed
    assert "published: broken: the mean score" not in printed
    assert "among 31 images" in printed


def test_without_scores_the_script_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["null_experiment", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"null_mnist5k/scores: no scores"):
        null_experiment.main()


def test_chi_square_is_scipys_on_a_lattice_that_the_bins_divide():
    p_value = np.repeat(np.arange(1, 51) / 50, np.arange(50))
    pairs = np.add.reduceat(np.arange(50), np.arange(0, 50, 2))
    assert null_experiment.chi_square(p_value, 1 / 50) == pytest.approx(chisquare(pairs).statistic)
    assert null_experiment.chi_square(np.arange(1, 17) / 16, 1 / 16) == pytest.approx(0)


def test_families_are_of_the_size_at_which_one_image_can_be_found():
    assert null_experiment.family_size(1 / 625) == 31
    p_value = np.full(100, 0.9)
    p_value[[3, 40]] = 1 / 625
    assert null_experiment.found_in_families(p_value, 1 / 625) == pytest.approx(2 / 3)
    p_value[40] = 2 / 625
    assert null_experiment.found_in_families(p_value, 1 / 625) == pytest.approx(1 / 3)


@pytest.mark.slow
def test_relabelling_deals_every_image_to_one_model_a_repeat_and_differs_from_the_next(tmp_path):
    _, _, comparison = null_experiment.read(experiment(tmp_path, np.random.default_rng(2)), "corrected")
    first, second = (null_experiment.relabelled(comparison, number) for number in (0, 1))
    assert first.shape == comparison.is_in.shape
    for number in range(REPEATS):
        assert ((~first[comparison.repeat == number]).sum(axis=0) == 1).all()
    assert 0.1 < (first[:FOLDS] != second[:FOLDS]).any(axis=0).mean() < 0.9
