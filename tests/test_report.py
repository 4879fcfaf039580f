"""The report stands alone, says what was run and found, and fails loudly where something is missing."""

import html
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import workspace
from engram.catalogue import ANALYSES, FIGURES, PAPER_FIGURES
from engram.errors import UserError
from engram.files import artifacts, inputs
from engram.files.experiment import Experiment
from engram.paper import claims
from engram.paper.claims import CLAIMS
from engram.paper.reproduction import COLUMNS
from engram.report import page as report
from engram.scores.bits import densities
from synthetic import TOP, analysed

SETTINGS = {
    "dataset": "discs",
    "model": {"name": "bernoulli_mlp_vae", "latent_dim": 16},
    "training": {"epochs": 40, "batch_size": 64, "learning_rate": 0.001},
    "membership": {"design": "k_fold", "folds": 5, "repeats": 2},
    "scored_epochs": [20, 40],
    "estimators": ["published", "corrected"],
    "seed": 42,
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    paths = analysed(folder)
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    return {
        "name": "made_up",
        "settings": SETTINGS,
        "estimators": {
            name: workspace.read(workspace.REPOSITORY)["estimators"][name] for name in SETTINGS["estimators"]
        },
        "likelihoods": [],
        "stands_for": ["paper"],
        "figures": dict.fromkeys(FIGURES, folder / "pixel.png"),
        **{
            kind: paths[kind]
            for kind in ("dataset", "membership", "scores", "analyses", "models", "full_model", "measures")
        },
    }


def written(tmp_path, *experiments) -> str:
    report.write(tmp_path / "report.html", experiments)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    return (tmp_path / "report.html").read_text()


class Links(HTMLParser):
    """Collects ids, links and the addresses that a browser would load."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.loaded, self.open = set(), [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert "id" not in attributes or attributes["id"] not in self.ids
        self.ids.add(attributes.get("id"))
        self.links += [attributes["href"]] if "href" in attributes else []
        self.loaded += [attributes["src"]] if "src" in attributes else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file_and_no_network(tmp_path, experiment):
    page = Links(written(tmp_path, experiment))
    assert not page.open
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.loaded) == len(FIGURES)
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)


def test_the_page_says_what_was_run_and_found(tmp_path, experiment):
    page = written(tmp_path, experiment)
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    for expected in (
        "400 for training and 120 for testing, of 1 x 8 x 8",
        "learning rate 0.001",
        "folds 5",
        "samples 256",
    ):
        assert expected in text
    assert f"is that of image {TOP}, class_7/{TOP:04d}.png, class 7" in text
    for claim, meaning in CLAIMS.items():
        assert f"{claim}. {meaning.statement}".replace("'", "&#39;") in text
    assert text.count("memorized, FDR 5 %") == 1


def test_the_encoder_part_is_shown_after_the_comparison_where_an_experiment_has_it(tmp_path, experiment):
    figures = {name: path for name, path in experiment["figures"].items() if name != "encoder_part"}
    title = "<b>The encoder&#39;s part of the score.</b>"
    page = written(tmp_path, experiment)
    assert page.index("<b>The estimators side by side.</b>") < page.index(title) < page.index("<b>Distribution of")
    without = written(tmp_path, experiment | {"figures": figures})
    assert title not in without and len(Links(without).loaded) == len(figures)
    assert "Left out: The encoder&#39;s part of the score, which needs two estimators" in without


LACKING = {
    "models": ("Losses and generalization gap", "the models of every repeat", "C6"),
    "full_model": ("Losses and generalization gap", "a model trained on everything", None),
    "neighbors": ("The nearest-neighbour test", "the analysis neighbors", "C7"),
}


@pytest.mark.parametrize("what", LACKING)
def test_an_experiment_without_an_artifact_has_a_report_of_the_rest(tmp_path, experiment, what):
    title, need, claim = LACKING[what]
    lacking = {key: value for key, value in experiment.items() if key != what}
    lacking["analyses"] = {name: path for name, path in experiment["analyses"].items() if name != what}
    gone = [name for name, figure in FIGURES.items() if what in figure.reads]
    lacking["figures"] = {name: path for name, path in experiment["figures"].items() if name not in gone}
    page = written(tmp_path, lacking)
    links = Links(page)
    assert not links.open and len(links.loaded) == len(FIGURES) - len(gone)
    assert f"Left out: {title}, which needs {need}." in page and f"<b>{title}.</b>" not in page
    untold = page.count("made_up has no ")
    assert untold == (2 if claim else 0) + (what == "models")  # C4 is told of the experiment, others of each estimator


def test_scores_alone_have_a_report(tmp_path, experiment):
    bare = {key: experiment[key] for key in ("name", "settings", "estimators", "dataset", "scores")}
    page = written(tmp_path, bare)
    assert page.count("Left out: ") == len(FIGURES) and not Links(page).loaded
    assert "images are memorized at a false discovery rate of" in page and "cannot be told here" not in page
    assert "which needs a model trained on everything" in re.sub(r"\s+", " ", page)


def test_every_figure_has_a_caption():
    for name in [*FIGURES, *PAPER_FIGURES]:
        caption = (report.CAPTIONS / f"{name}.rst").read_text()
        assert caption.isascii()
        assert caption.count(".") >= 2


def test_an_experiment_that_stands_for_none_of_the_papers_has_the_numbers_and_no_verdicts(tmp_path, experiment):
    findings = claims.measured(Experiment.read(experiment))
    page = written(tmp_path, experiment | {"stands_for": []})
    assert not Links(page).open and "The paper's claims" not in page and 'class="verdict' not in page
    text = re.sub(r"\s+", " ", page)
    for finding in findings:
        assert html.escape(finding.numbers, quote=False) in text and CLAIMS[finding.claim].topic in text
    assert {finding.claim for finding in findings} == set(CLAIMS) - {"C4", "C5"}
    assert not any(claim.statement in text for claim in CLAIMS.values())


def test_analyses_that_an_experiment_does_not_choose_are_left_out_with_that_reason(tmp_path, experiment):
    chosen = experiment | {"settings": SETTINGS | {"analyses": []}, "analyses": {}}
    gone = [name for name, figure in FIGURES.items() if {*figure.reads} & {*ANALYSES}]
    chosen["figures"] = {name: path for name, path in experiment["figures"].items() if name not in gone}
    page = written(tmp_path, chosen)
    for name in ("density_split", "neighbors", "copy_tests", "mode_collapse", "duplicates", "predictors"):
        left_out = f"the analysis {name}, which the experiment&#39;s `analyses` in config.yaml leaves out"
        assert f"Left out: {FIGURES[name].title}, which needs {left_out}." in page
    # What it could not have anyway is not said to be left out.
    assert "Left out: The encoder&#39;s part of the score, which needs two estimators" in page
    assert "Left out: Influence of training images on log p, which needs likelihoods of the last scored epoch" in page
    assert page.count("Left out: ") == len(gone)


@pytest.mark.slow
def test_experiments_that_differ_in_learning_rate_are_compared(tmp_path, experiment):
    slower = experiment | {
        "name": "slower",
        "settings": SETTINGS | {"training": SETTINGS["training"] | {"learning_rate": 0.0001}},
    }
    page = written(tmp_path, slower, experiment)
    assert "made_up against slower" in page
    assert "in made_up" in page and "a second" not in page
    other = slower | {"settings": slower["settings"] | {"dataset": "another"}}
    assert "against slower" not in written(tmp_path, experiment, other)
    assert "against slower" not in written(tmp_path, experiment, slower | {"stands_for": []})


def test_both_nulls_stand_under_the_quantiles_and_what_is_undefined_is_a_dash(tmp_path, experiment):
    page = re.sub(r"<[^>]*>|\s+", " ", written(tmp_path, experiment))
    stored = [artifacts.read(path, "scores") for path in experiment["scores"].values()]
    for which, dash in (("null", []), ("unseen", ["-", "-"])):
        q95 = [f"{found[f'{which}_quantiles'].values[2]:.1f}" for found in stored]
        q999 = dash or [f"{found[f'{which}_quantiles'].values[4]:.1f}" for found in stored]
        assert f"{which} q95 {' '.join(q95)} {which} q99.9 {' '.join(q999)}" in re.sub(" +", " ", page)


def test_the_papers_numbers_stand_before_the_experiments(tmp_path, experiment):
    columns = dict.fromkeys(COLUMNS, np.nan) | {"experiment": "celeba", "ours": "made_up", "epoch": 40}
    number = {"quantity": "median of M", "published": 60, "as_published": 61.5, "corrected": 2.25, "unit": "nats"}
    claim = {"quantity": "C1: Looks.", "as_published": "holds", "corrected": "does not hold", "unit": "claim"}
    judged = {"verdict": "reproduced", "verdict_corrected": "differs"}
    pd.DataFrame([columns | number | judged, columns | claim | judged]).to_csv(tmp_path / "reproduction.csv")
    reproduction = {
        "table": tmp_path / "reproduction.csv",
        "figures": {"paper_losses": experiment["figures"]["losses"]},
    }
    report.write(tmp_path / "report.html", [experiment], reproduction)
    page = (tmp_path / "report.html").read_text()
    links = Links(page)
    assert not links.open and len(links.loaded) == len(FIGURES) + 1 and "paper" in links.ids
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    assert "celeba, by made_up" in text and "median of M 60 61.5 reproduced 2.25 differs" in text
    assert "C1: Looks. holds does not hold" in text
    assert page.index('id="paper"') < page.index('id="made_up"')


def test_without_the_papers_experiments_the_page_has_no_such_part(tmp_path, experiment):
    assert 'id="paper"' not in written(tmp_path, experiment)


def test_mean_log_p_is_given_in_bits_per_dimension_too_where_pixels_are_not_binary(experiment):
    scores = inputs.scores(experiment["scores"])["corrected"]
    text = densities(scores, 192)
    nats, bits = (np.array(values.split(", "), dtype=float) for values in text.values())
    assert bits == pytest.approx(-nats / (192 * np.log(2)), abs=1e-3)
    assert list(densities(scores, None)) == ["mean U, mean V"]


def test_a_missing_artifact_is_named_and_nothing_is_written(tmp_path, experiment):
    lacking = experiment | {"dataset": tmp_path / "absent.h5"}
    with pytest.raises(UserError, match=r"absent\.h5: no such file"):
        report.write(tmp_path / "report.html", [lacking])
    assert not (tmp_path / "report.html").exists()


def test_text_from_the_config_cannot_become_markup(tmp_path, experiment):
    page = written(tmp_path, experiment | {"settings": SETTINGS | {"dataset": "<script>alert(1)</script>"}})
    assert "<script>" not in page


def test_the_report_needs_no_torch():
    code = "import sys; from engram.report import page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_estimates_that_cannot_be_trusted_are_said_to_be_so_in_the_headline(tmp_path, experiment):
    page = written(tmp_path, experiment)
    headline = page[page.index('class="headline"') : page.index("<nav")]
    assert "Caution, published:</b> 96 % of the estimates of log p have a Pareto k above 0.7" in headline
    assert "40 % of the estimates of log p rest on fewer than 2 effective samples" in headline
    assert "Caution, corrected" not in headline


def test_the_error_of_draws_stands_beside_the_standard_error_where_it_is_known(tmp_path, experiment):
    assert "error of finite draws" not in re.sub(r"<dl>.*</dl>", "", written(tmp_path, experiment), flags=re.DOTALL)
    path = tmp_path / "folder" / "corrected.h5"
    scores = artifacts.read(experiment["scores"]["corrected"], "scores")
    error = np.where(np.arange(400) < 200, 3.0, 4.0)
    known = scores.assign(standard_error_of_draws=(("epoch", "sample"), np.array([error, error]), {"units": "nats"}))
    artifacts.write(path, "scores", known.variables, known.attrs)
    both = experiment | {"scores": experiment["scores"] | {"corrected": path}}
    report.write(tmp_path / "folder" / "report.html", [both])
    text = re.sub(r"(<[^>]*>|\s)+", " ", (tmp_path / "folder" / "report.html").read_text())
    assert "median standard error 1.2 nats 1.2 nats error of finite draws - 3.54 nats" in text
    assert "which all models share, comes on top of it." in text


def test_the_highest_scores_are_named_by_file_class_error_and_q_value(tmp_path, experiment):
    page = written(tmp_path, experiment)
    scores = artifacts.read(experiment["scores"]["corrected"], "scores")
    top = int(np.argmax(scores["score"].values[-1]))
    of_corrected = page[page.index("<th>corrected: image</th>") :]
    row = re.search(rf"<tr><td>{top}</td><td>([^<]*)</td><td>([^<]*)</td><td[^>]*>([^<]*)</td>", of_corrected)
    assert row[1] == str(scores["path"].values[top]) and row[2] == str(scores["class_name"].values[top])
    assert row[3] == f"{scores['score'].values[-1, top]:.1f} +- 1.2"
