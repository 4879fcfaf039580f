"""Few training images, images or scores all alike, no classes, one test image: figures, claims and report are right."""

import re

import numpy as np
import pytest

import synthetic
import workspace
from engram import catalogue
from engram.figures import johnson_su, style
from engram.figures.grids import grids
from engram.figures.score_histogram import score_histogram
from engram.figures.stage import drawing
from engram.files.experiment import Experiment
from engram.paper import claims
from engram.paper.claims import OPEN
from engram.report import page

ODD = {
    "2 without classes": {"n": 2, "classes": False, "test": 1},
    "3 images of colour": {"n": 3, "shape": (3, 12, 8)},
    "10 scores alike": {"n": 10, "alike": "scores", "shape": (3, 8, 8)},
    "13 images": {"n": 13, "test": 1},
    "16, all alike": {"n": 16, "alike": "images", "classes": False},
    "30 images of colour": {"n": 30, "shape": (3, 8, 8), "test": 1},
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ODD])
def odd(request, tmp_path_factory):
    """The description of an odd experiment."""
    described = synthetic.analysed(tmp_path_factory.mktemp("odd"), **({"test": 3} | ODD[request.param]))
    training = {"epochs": 40, "learning_rate": 0.001}
    return described | {"settings": {"dataset": "discs", "training": training}, "estimators": {}}


def draw(name, experiment):
    there = {"scores": experiment.scores, "dataset": experiment.dataset, **experiment.analyses}
    there |= {"models": experiment.folds, "full_model": experiment.full, "measures": experiment.measures}
    return drawing(name)(*(there[what] for what in catalogue.FIGURES[name].reads))


def test_every_figure_and_the_report_are_made_without_a_warning(odd, tmp_path):
    experiment, figures = Experiment.read(odd), {}
    for name in synthetic.FIGURES:
        figures[name] = tmp_path / f"{name}.png"
        style.save(draw(name, experiment), tmp_path / f"{name}.pdf", figures[name])
    page.write(tmp_path / "report.html", [odd | {"figures": figures}])
    text = (tmp_path / "report.html").read_text()
    assert f"of {len(experiment.scores['published']['sample'])} training images are memorized" in text
    assert not re.search(r"\bnan\b", text)


def test_claims_that_speak_of_highly_memorized_images_stay_open_where_scores_do_not_differ(tmp_path):
    findings = claims.test(synthetic.read(tmp_path, analyses=synthetic.OF_CLAIMS, n=10, test=3, alike="scores"))
    without = [finding for finding in findings if "No image is highly memorized" in finding.numbers]
    assert {finding.claim for finding in without} == {"C1", "C2", "C3", "C7", "C9"}
    assert all(finding.verdict == OPEN for finding in without)


@pytest.mark.parametrize("n", [2, 5, 12, 14, 15, 16, 40])
def test_each_row_of_the_grids_shows_its_own_images_in_its_own_order(tmp_path, n):
    """Every image is of one grey level, which is its score: rows can be read off the pixels."""
    experiment = synthetic.read(tmp_path, analyses=(), n=n, test=3, estimators=("mine",))
    level = np.random.default_rng(n).permutation(n)
    experiment.dataset["images"].values[:n] = level[:, None]
    experiment.scores["mine"]["score"].values[-1] = level
    axes = grids(experiment.scores, experiment.dataset).axes[0]
    tiles = [(tile.get_extent(), 255 * np.asarray(tile.get_array())) for tile in axes.images]
    rows = {}
    for (left, right, _, top), pixels in tiles:
        assert right - left == pytest.approx(1) and pixels.min() == pixels.max()
        rows.setdefault(top, []).append(round(float(pixels.flat[0])))
    shown, ascending = min(n, 15), np.arange(n)
    lowest, median, highest = (rows[top] for top in sorted(rows, reverse=True))
    assert lowest == ascending[:shown].tolist()
    assert highest == ascending[::-1][:shown].tolist()
    assert len(set(median)) == shown
    assert np.abs(np.array(median) - (n - 1) / 2).max() <= shown / 2
    titles = {text.get_text(): text.get_position()[1] for text in axes.texts if " M" in text.get_text()}
    assert sorted(titles, key=titles.get) == ["highest M", "median M", "lowest M"]


def test_no_curve_of_four_parameters_is_fitted_to_few_scores_or_to_scores_all_alike(tmp_path):
    for number, settings in enumerate([{"n": 49}, {"n": 50, "alike": "scores"}, {"n": 50}]):
        experiment = synthetic.read(tmp_path / str(number), analyses=(), test=3, estimators=("mine",), **settings)
        legend = score_histogram(experiment.scores).axes[0].get_legend()
        assert (legend is None) == (number < 2)
    assert johnson_su.can_fit(np.arange(50.0)) and not johnson_su.can_fit(np.arange(49.0))


@pytest.mark.parametrize(("low", "high"), [(3, 3), (0, 0), (-1000, np.nextafter(-1000, 0)), (1, 2)])
def test_edges_always_rise(low, high):
    edges = style.equal_edges(low, high, 10)
    assert len(edges) == 11 and (np.diff(edges) > 0).all() and edges[0] <= low <= high <= edges[-1]


@pytest.mark.slow
def test_runs_of_2_and_of_10_images_and_of_images_all_alike_end_in_a_report(tmp_path, rng):
    """That of 10 makes every analysis that halves can have."""
    folder = workspace.create(tmp_path / "engram")
    pixels = rng.integers(0, 256, (13, 8, 8)).astype(np.uint8)
    names = {"two": pixels[:3], "ten": pixels[:11], "alike": pixels[:1].repeat(13, axis=0)}
    for name, images in names.items():
        np.savez(folder / f"{name}.npz", images=images)
        workspace.change(folder, "datasets", **{name: {"npz": f"{name}.npz", "test_fraction": 1 / len(images)}})
        small = {"dataset": name, "estimators": ["corrected"]}
        if name == "ten":
            small["membership"] = {"design": "half_split", "repeats": 5}
        else:
            small |= {"membership": {"design": "k_fold", "folds": 2, "repeats": 2}, "scored_epochs": [4]}
            small["analyses"] = workspace.ANALYSES
        workspace.change(folder, "experiments", **{name: workspace.TINY | small})
    workspace.change(folder, run=[*names])
    run = workspace.snakemake(folder, timeout=900)
    assert run.returncode == 0, run.stdout
    assert not re.search(r"Traceback|\w+Warning: ", run.stdout), run.stdout
    assert "two, corrected: p-values cannot fall below 0.25: no memorized image can be found" in run.stdout
    page = (folder / "results/report.html").read_text()
    for number, name in ((2, "two"), (10, "ten"), (12, "alike")):
        assert f"of {number} training images are memorized" in page
        assert (folder / f"results/{name}/figures/grids.png").is_file()
    made = {path.stem for path in folder.glob("results/ten/analyses/*.h5")}
    assert made == {*catalogue.ANALYSES} - {"encoder_part", "difference_in_differences", "canaries", "prevention"}
    assert all(
        f"<b>{figure.title}.</b>" in page for name, figure in catalogue.FIGURES.items() if {*figure.reads} & made
    )
