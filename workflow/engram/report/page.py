"""results/report.html: one self-contained page that a reader can follow without the paper.

Its template and the captions of its figures lie beside this module. Figures are embedded: the page needs no network.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engram.catalogue import ANALYSES, FIGURES, PAPER_FIGURES
from engram.config_given import is_given
from engram.datasets import summary
from engram.files import artifacts
from engram.files.artifacts import TRAIN
from engram.files.experiment import Experiment
from engram.files.inputs import last
from engram.files.kept import digest
from engram.files.layout import Layout
from engram.likelihood.quality import Quality
from engram.paper import claims
from engram.report import copies, lacking, measures, rendering
from engram.report import reproduction as reproduction_page
from engram.scores.bits import densities, dimensions
from engram.scores.summary import error_of_draws, is_bound, is_tested, number_memorized, power, summarize

CAPTIONS = Path(__file__).parent / "captions"

HIGHEST = 10  # images of highest score that are named


def write(
    path: str | Path, experiments: Sequence[Mapping[str, Any]], reproduction: Mapping[str, Any] | None = None
) -> None:
    """Write the report of some experiments, each described as `engram.report.contents.experiment` does.

    Sections whose artifacts a description lacks are left out, with a sentence in their place. The paper's claims are tested of
    the experiments that stand for the paper's. Of a reproduction, `reproduction` has the path of its `table` (of
    engram.paper.reproduction) and those of the `figures` that compare its experiments.
    """
    read = [Experiment.read(described) for described in experiments]
    both = list(zip(experiments, read, strict=True))
    pairs = list(_learning_rate_pairs([each for each in both if _stands_for_the_papers(each[0])]))
    rendering.write(
        path,
        "report.html.j2",
        experiments=[_section(*each, pairs) for each in both],
        pairs=pairs,
        reproduction=reproduction and _beside_the_paper(reproduction),
        claims=claims.CLAIMS,
    )


def _section(
    described: Mapping[str, Any], experiment: Experiment, pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the page says of one experiment; of the pairs it belongs to, the first tells its C4 and C5.

    Its findings are verdicts on the paper's claims if it stands for one of the paper's, else the numbers alone.
    """
    tests_claims = _stands_for_the_papers(described)
    compared = [pair["findings"] for pair in pairs if experiment.name in (pair["higher"], pair["lower"])]
    findings = claims.test(experiment, *compared[:1]) if tests_claims else claims.measured(experiment)
    estimators = experiment.scores.items()
    size = dimensions(experiment.trained)
    nulls = ("null",) if is_given(described["settings"]) else ("null", "unseen")
    return {
        "name": experiment.name,
        "cautions": _cautions(experiment),
        "headline": [(name, _headline(scores), _doubts(scores)) for name, scores in estimators],
        "has_error_of_draws": any(error_of_draws(scores) is not None for scores in experiment.scores.values()),
        "highest": _highest(experiment),
        "run": [*_run(described, experiment)],
        "work": [*_work(described)],
        "numbers": _side_by_side(
            [
                summarize(scores, nulls) | densities(scores, size) | power(scores) | _worth(scores)
                for scores in experiment.scores.values()
            ]
        ),
        "figures": [*_figures(described)],
        "agreement": _agreement(described, experiment),
        "is_given": is_given(described["settings"]),
        "tests_claims": tests_claims,
        "findings": {claim: [finding for finding in findings if finding.claim == claim] for claim in claims.CLAIMS},
        "scores_path": next(iter(described["scores"].values())),
        "paths": [*_paths(described)],
    }


def _beside_the_paper(reproduction: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the paper as a whole: the table of engram.paper.reproduction, and figures across experiments."""
    figures = reproduction["figures"].items()
    return {
        "path": reproduction["table"],
        "experiments": reproduction_page.by_experiment(reproduction["table"]),
        "figures": [_figure(name, PAPER_FIGURES[name].title, path) for name, path in figures],
    }


def _side_by_side(columns: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of a table with one column per estimator, in the order of the longest; "-" where a column lacks a row."""
    headings = dict.fromkeys(chain.from_iterable(sorted(columns, key=len, reverse=True)))
    return [(heading, [column.get(heading, "-") for column in columns]) for heading in headings]


def _headline(scores: xr.Dataset) -> str:
    score, top = last(scores), int(np.argmax(last(scores)))
    image = ", ".join(filter(None, _called(scores, top)))
    memorized = (
        f"{number_memorized(scores):,} of {len(score):,} training images are memorized at a false discovery rate of 5 %."
        if is_tested(scores)
        else f"{len(score):,} images are scored, and not tested."
    )
    return (
        f"{memorized} The median score is {np.median(score):.1f} nats, the 0.95 quantile {np.quantile(score, 0.95):.1f}; the "
        f"highest, {score[top]:.1f} nats, is that of {image}."
    )


def _called(scores: xr.Dataset, position: int) -> tuple[str, str, str]:
    """Index, file (empty if it has none) and class (empty if it has none) of the image at a position of the scores."""
    index = str(scores["sample"].values[position])
    path, class_name = (str(scores[name].values[position]) if name in scores else "" for name in ("path", "class_name"))
    return f"image {index}", "" if path.isdigit() else path, f"class {class_name}" if class_name else ""


A_BOUND = "Its log p is a lower bound, so a score is the difference of two bounds, and may be larger or smaller than that of log p."
ONE_DRAW = "How far the few samples of the bound move a score is not known from a single draw; `draws: 2` in its estimator tells."


def _doubts(scores: xr.Dataset) -> list[str]:
    """Why the estimates behind the scores of an estimator may not be believed; nothing where they may."""
    quality, not_tested = Quality.read(scores.attrs), scores.attrs.get("not_tested")
    of_kind = [A_BOUND, *([ONE_DRAW] if error_of_draws(scores) is None else [])] if is_bound(scores) else []
    return [*of_kind, *(quality.warnings() if quality else []), *([not_tested] if not_tested else [])]


def _cautions(experiment: Experiment) -> list[str]:
    """What speaks against all estimators alike."""
    analysis = experiment.analyses.get("duplicates")
    return [] if analysis is None else copies.leak(analysis, experiment.dataset["split"].values)


def _agreement(described: Mapping[str, Any], experiment: Experiment) -> dict[str, Any] | None:
    """The measures beside the score, and those that there are not; None without an analysis of their agreement."""
    analysis = experiment.analyses.get("agreement")
    if analysis is None:
        return None
    return {
        "sentences": measures.sentences(analysis, experiment.measures),
        "headings": measures.headings(analysis),
        "rows": [*measures.rows(analysis, experiment.measures)],
        "absent": measures.absent(experiment.measures),
        "path": described["measures"],
    }


def _worth(scores: xr.Dataset) -> dict[str, str]:
    quality = Quality.read(scores.attrs)
    return quality.rows() if quality else {}


def _highest(experiment: Experiment) -> dict[str, list[tuple[str, ...]]]:
    """By estimator the images of highest score: index, file, class, score with its standard error, q-value."""
    return {name: [*_highest_of(scores)] for name, scores in experiment.scores.items()}


def _highest_of(scores: xr.Dataset) -> Iterator[tuple[str, ...]]:
    score, error = last(scores), last(scores, "standard_error")
    for position in np.argsort(-score, kind="stable")[:HIGHEST]:
        index, path, label = _called(scores, position)
        spread = f" +- {error[position]:.1f}" if np.isfinite(error[position]) else ""
        q_value = scores["q_value"].values[position]
        words = f"{score[position]:.1f}{spread}", f"{q_value:.2g}" if np.isfinite(q_value) else "-"
        yield index.removeprefix("image "), path, label.removeprefix("class "), *words


def _run(described: Mapping[str, Any], experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Rows of the table "what was run": from the config, and from the attributes of the artifacts."""
    yield from _images(experiment)
    if "duplicates" in experiment.analyses:
        in_training = artifacts.read(described["membership"], "membership")["in_training"].values
        split = experiment.dataset["split"].values
        yield "copies", copies.sentences(experiment.analyses["duplicates"], split, in_training)
    models = sum(fold.sizes["model"] for fold in experiment.folds)
    if models:
        full = ", and one trained on everything" if experiment.full is not None else ""
        yield "models", f"{models} in {len(experiment.folds)} repeats{full}"
    elif is_given(described["settings"]):
        yield "models", _models_of_others(artifacts.read(described["membership"], "membership", ["repeat"]))
    for key, value in described["settings"].items():
        if key not in ("estimators", "images", "labels"):
            yield key.replace("_", " "), _words(value)
    for name, settings in described["estimators"].items():
        yield f"estimator {name}", _words(settings)
    trainings = [part for part in (experiment.full, *experiment.folds) if part is not None]
    if trainings:
        made_by = trainings[0].attrs
        yield from _meaning_of_log_p(made_by)
        for line in _not_checked(described["name"], made_by):
            yield "not checked of the model", line
        threads = int(made_by["threads"])
        yield "machine", f"{made_by['device']}, {threads} thread{'s' if threads > 1 else ''} a training"
    made_by = (trainings or [*experiment.scores.values()])[0].attrs
    torch = f", torch {made_by['torch_version']}" if trainings else ""
    yield "software", f"engram {made_by['engram_version']}, commit {made_by['git_commit']}{torch}"


def _meaning_of_log_p(made_by: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A row where log p is not that of an image alone, by the attributes of a training."""
    known = int(made_by.get("classes", 0))
    if known:
        yield "log p", f"log p(x | class), of each image given its class, which is one of {known}"


def _not_checked(name: str, made_by: Mapping[str, Any]) -> list[str]:
    """What the check of an experiment's model could not check, by the attributes of a training; nothing without its file."""
    values = json.loads(made_by["values"])
    path = Path(Layout(name).model_check(digest(values.get("model", {}), values.get("code", ""))))
    return json.loads(path.read_text(encoding="utf-8"))["not_checked"] if path.exists() else []


def _images(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Rows on the images: what was read, or, where log p was given without images, their number."""
    data = experiment.dataset
    if data is None:
        yield "images", f"{next(iter(experiment.scores.values())).sizes['sample']:,}, which are not given themselves"
    elif "summary" in data.attrs:
        yield from summary.rows(json.loads(data.attrs["summary"]))
    else:
        shape = " x ".join(map(str, np.atleast_1d(data.attrs["image_shape"])))
        train = int((data["split"].values == TRAIN).sum())
        yield "images", f"{train:,} for training and {data.sizes['sample'] - train:,} for testing, of {shape} pixels"
        yield "source", data.attrs["source"]


def _models_of_others(membership: xr.Dataset) -> str:
    """The models whose log p was given, counted."""
    repeats = len(np.unique(membership["repeat"].values))
    drawn = (
        "whose training sets are drawn independently"
        if membership.attrs["independent_models"]
        else f"in {repeats} repeats"
    )
    return f"{membership.sizes['model']}, {drawn}; trained elsewhere"


def _words(value: Any) -> str:
    """A setting for a reader: {a: 1, b: 2} as "a 1, b 2"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {_words(entry)}" for key, entry in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)


def _work(described: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Stage, number of artifacts, and the wall time recorded in them."""
    analyses = described.get("analyses", {})
    stages = {
        "training": dict.fromkeys(_trainings(described), "models"),
        "likelihood": dict.fromkeys(described.get("likelihoods", []), "likelihood"),
        "scores": dict.fromkeys(described["scores"].values(), "scores"),
        "analyses": {path: name for name, path in analyses.items()},
    }
    total = 0.0
    for stage, kinds in stages.items():
        attributes = [artifacts.attributes(path, kind) for path, kind in kinds.items()]
        for estimator in dict.fromkeys(made_by.get("estimator", "") for made_by in attributes):
            seconds = [made_by["wall_seconds"] for made_by in attributes if made_by.get("estimator", "") == estimator]
            total += sum(seconds)
            yield f"{stage}, {estimator}".removesuffix(", "), len(seconds), _duration(sum(seconds))
    yield "all", sum(map(len, stages.values())), _duration(total)


def _trainings(described: Mapping[str, Any]) -> list[str]:
    full = described.get("full_model")
    return [*described.get("models", []), *([full] if full else [])]


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return (
        f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.1f} minutes" if minutes >= 2 else f"{seconds:.1f} seconds"
    )


def _figures(described: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The figures of an experiment in the catalogue's order; for one that it lacks, its title and what it would need."""
    paths = described.get("figures", {})
    for name, figure in FIGURES.items():
        if name in paths:
            yield _figure(name, figure.title, paths[name])
        else:
            needs = lacking.needs_of(figure.reads, figure.requires, described) or [figure.needs]
            yield {"title": figure.title, "needs": " and ".join(needs)}


def _figure(name: str, title: str, path: str | Path) -> dict[str, str]:
    caption = CAPTIONS / f"{name}.rst"
    return {
        "name": name,
        "title": title,
        "png": base64.b64encode(Path(path).read_bytes()).decode(),
        "caption": caption.read_text(encoding="utf-8").strip(),
    }


def _paths(described: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Label and path of the artifacts, and which variables of an analysis have a value per image."""
    yield from ((kind, described[kind], "") for kind in ("dataset", "membership", "measures") if described.get(kind))
    yield from ((f"scores, {name}", path, "") for name, path in described["scores"].items())
    for name, path in described.get("analyses", {}).items():
        yield f"analysis {name}", path, ", ".join(ANALYSES[name].columns)
    if described.get("full_model"):
        yield "full model", described["full_model"], ""


def _stands_for_the_papers(described: Mapping[str, Any]) -> bool:
    """Whether `reproductions` in config.yaml name the experiment."""
    return bool(described.get("stands_for"))


def _learning_rate_pairs(experiments: Sequence[tuple[Mapping, Experiment]]) -> Iterator[dict[str, Any]]:
    """Findings on every two experiments, described and read, whose settings differ in nothing but learning rate (and seed)."""
    for one, other in combinations(experiments, 2):
        if _rate(one[0]) != _rate(other[0]) and _all_but_rate(one[0]) == _all_but_rate(other[0]):
            (_, higher), (_, lower) = sorted((one, other), key=lambda pair: -_rate(pair[0]))
            yield {"higher": higher.name, "lower": lower.name, "findings": claims.compare(higher, lower)}


def _rate(described: Mapping[str, Any]) -> float:
    return described["settings"]["training"]["learning_rate"]


def _all_but_rate(described: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in described["settings"].items() if key not in ("seed", "estimators")}
    return settings | {"training": {k: v for k, v in settings["training"].items() if k != "learning_rate"}}
