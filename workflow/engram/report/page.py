"""results/report.html: one self-contained page that a reader can follow without the paper.

Its template and the captions of its figures lie beside this module. Figures are embedded: the page needs no network.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import xarray as xr

import engram
from engram.figures.style import class_name
from engram.files import atomic
from engram.files.artifacts import TRAIN
from engram.files.experiment import Evidence
from engram.files.inputs import last
from engram.paper import claims
from engram.report import reproduction as reproduction_page
from engram.scores.bits import densities, dimensions
from engram.scores.summary import number_memorized, power, summarize

TEMPLATES, CAPTIONS = (Path(__file__).parent / part for part in ("templates", "captions"))
TITLES = {
    "grids": "What was memorized, and what was not",
    "comparison": "The estimators side by side",
    "encoder_part": "The encoder's part of the score",
    "score_histogram": "Distribution of the score",
    "quantiles": "The score during training",
    "error_by_repeats": "Error of the score",
    "losses": "Losses and generalization gap",
    "density_split": "Memorization and log p",
    "neighbors": "The nearest-neighbour test",
    "mode_collapse": "Memorization and mode collapse",
}
OF_REPRODUCTION = {
    "losses": "Losses at both learning rates",
    "quantiles": "The score at both learning rates",
    "score_histogram": "Distribution of the score at both learning rates",
}


def write(
    path: str | Path, experiments: Sequence[Mapping[str, Any]], reproduction: Mapping[str, Any] | None = None
) -> None:
    """Write the report of some experiments.

    Each is a mapping of name, settings (its entry in config.yaml), estimators (settings by name), and paths: dataset,
    membership, models (of every repeat, the full model last), likelihoods, scores (by estimator), analyses (by name),
    figures (PNG, by name). Of experiments that stand for the paper's, `reproduction` has the path of their `table` (of
    engram.paper.reproduction) and those of the `figures` that compare them.
    """
    evidence = [Evidence.read(experiment) for experiment in experiments]
    pairs = list(_learning_rate_pairs(experiments, evidence))
    loader = jinja2.FileSystemLoader(TEMPLATES)
    options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    page = jinja2.Environment(loader=loader, **options).get_template("report.html.j2")
    text = page.render(
        experiments=[_section(*both, pairs) for both in zip(experiments, evidence, strict=True)],
        pairs=pairs,
        reproduction=reproduction and _beside_the_paper(reproduction),
        claims=claims.CLAIMS,
        engram_version=engram.__version__,
    )
    atomic.write(path, text.encode())


def _section(experiment: Mapping[str, Any], evidence: Evidence, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the page says of one experiment; of the pairs it belongs to, the first tells its C4 and C5."""
    compared = [pair["findings"] for pair in pairs if evidence.name in (pair["higher"], pair["lower"])]
    findings = claims.test(evidence, *compared[:1])
    estimators = evidence.scores.items()
    size = dimensions(evidence.full)
    return {
        "name": experiment["name"],
        "headline": [(name, _headline(found, evidence.dataset.attrs)) for name, found in estimators],
        "run": [*_run(experiment, evidence)],
        "work": [*_work(experiment)],
        "numbers": _side_by_side(
            [
                summarize(found, ("null", "unseen")) | densities(found, size) | power(found)
                for found in evidence.scores.values()
            ]
        ),
        "figures": [_figure(name, TITLES.get(name, name), path) for name, path in _in_order(experiment["figures"])],
        "findings": {claim: [finding for finding in findings if finding.claim == claim] for claim in claims.CLAIMS},
        "scores_path": next(iter(experiment["scores"].values())),
        "paths": [*_paths(experiment)],
    }


def _beside_the_paper(reproduction: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the paper as a whole: the table of engram.paper.reproduction, and figures across experiments."""
    figures = [_figure(f"paper_{name}", OF_REPRODUCTION[name], path) for name, path in reproduction["figures"].items()]
    return {
        "path": reproduction["table"],
        "experiments": reproduction_page.by_experiment(reproduction["table"]),
        "figures": figures,
    }


def _side_by_side(columns: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of a table with one column per estimator."""
    return [(heading, [column[heading] for column in columns]) for heading in columns[0]]


def _headline(scores: xr.Dataset, dataset_attributes: Mapping[str, Any]) -> str:
    score, top = last(scores), int(np.argmax(last(scores)))
    label = class_name(dataset_attributes, int(scores["label"].values[top]))
    image = f"image {scores['sample'].values[top]}{f', class {label}' if label else ''}"
    return (
        f"{number_memorized(scores):,} of {len(score):,} training images are memorized at a false discovery rate of "
        f"5 %. The median score is {np.median(score):.1f} nats, the 0.95 quantile {np.quantile(score, 0.95):.1f}; the "
        f"highest, {score[top]:.1f} nats, is that of {image}."
    )


def _run(experiment: Mapping[str, Any], evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Rows of the table "what was run": from the config, and from the attributes of the artifacts."""
    data, made_by = evidence.dataset, evidence.full.attrs
    shape = " x ".join(map(str, np.atleast_1d(data.attrs["image_shape"])))
    train = int((data["split"].values == TRAIN).sum())
    yield "images", f"{train:,} for training and {data.sizes['sample'] - train:,} for testing, of {shape} pixels"
    yield "source", data.attrs["source"]
    models = sum(fold.sizes["model"] for fold in evidence.folds)
    yield "models", f"{models} in {len(evidence.folds)} repeats, and one trained on everything"
    for key, value in experiment["settings"].items():
        if key != "estimators":
            yield key.replace("_", " "), _words(value)
    for name, settings in experiment["estimators"].items():
        yield f"estimator {name}", _words(settings)
    threads = int(made_by["threads"])
    yield "machine", f"{made_by['device']}, {threads} thread{'s' if threads > 1 else ''} a training"
    yield (
        "software",
        f"engram {made_by['engram_version']}, commit {made_by['git_commit']}, torch {made_by['torch_version']}",
    )


def _words(value: Any) -> str:
    """A setting for a reader: {a: 1, b: 2} as "a 1, b 2"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_words(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _work(experiment: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Stage, number of artifacts, and the wall time recorded in them."""
    stages = {"training": experiment["models"], "likelihood": experiment["likelihoods"]}
    stages |= {"scores": experiment["scores"].values(), "analyses": experiment["analyses"].values()}
    total = 0.0
    for stage, paths in stages.items():
        attributes = [_attributes(path) for path in paths]
        kinds = dict.fromkeys(found.get("estimator", "") for found in attributes)
        for estimator in kinds:
            seconds = [found["wall_seconds"] for found in attributes if found.get("estimator", "") == estimator]
            total += sum(seconds)
            yield f"{stage}, {estimator}".removesuffix(", "), len(seconds), _duration(sum(seconds))
    yield "all", sum(map(len, stages.values())), _duration(total)


def _attributes(path: str | Path) -> dict[str, Any]:
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return dict(dataset.attrs)


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return (
        f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.1f} minutes" if minutes >= 2 else f"{seconds:.1f} seconds"
    )


def _in_order(figures: Mapping[str, str]) -> list[tuple[str, str]]:
    """Figures in the order of TITLES, then any others."""
    order = [*TITLES, *figures]
    return sorted(figures.items(), key=lambda entry: order.index(entry[0]))


def _figure(name: str, title: str, path: str | Path) -> dict[str, str]:
    caption = CAPTIONS / f"{name}.rst"
    return {
        "name": name,
        "title": title,
        "png": base64.b64encode(Path(path).read_bytes()).decode(),
        "caption": caption.read_text(encoding="utf-8").strip(),
    }


def _paths(experiment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((kind, experiment[kind]) for kind in ("dataset", "membership"))
    yield from ((f"scores, {name}", path) for name, path in experiment["scores"].items())
    yield from ((f"analysis {name}", path) for name, path in experiment["analyses"].items())
    yield "full model", experiment["models"][-1]


def _learning_rate_pairs(experiments: Sequence[Mapping], evidence: Sequence[Evidence]) -> Iterator[dict[str, Any]]:
    """Findings on every two experiments whose settings differ in nothing but learning rate (and seed)."""
    for one, other in combinations(zip(experiments, evidence, strict=True), 2):
        if _rate(one[0]) != _rate(other[0]) and _all_but_rate(one[0]) == _all_but_rate(other[0]):
            (_, higher), (_, lower) = sorted((one, other), key=lambda pair: -_rate(pair[0]))
            yield {"higher": higher.name, "lower": lower.name, "findings": claims.compare(higher, lower)}


def _rate(experiment: Mapping[str, Any]) -> float:
    return experiment["settings"]["training"]["learning_rate"]


def _all_but_rate(experiment: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in experiment["settings"].items() if key not in ("seed", "estimators")}
    return settings | {"training": {k: v for k, v in settings["training"].items() if k != "learning_rate"}}
