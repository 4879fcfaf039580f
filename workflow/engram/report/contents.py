"""What is made of an experiment or a reproduction in config.yaml: the description that its report is written from.

A description holds plain values only, so that rules can hand it to jobs, and Snakemake sees them change.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engram import catalogue
from engram import config as engram_config
from engram.config_audited import is_audited
from engram.config_given import estimators_of, has, is_fitted, is_given, pictures_of, scored_epochs
from engram.conventions import ALL_MODELS
from engram.designs.repeats import FULL, repeat_name
from engram.errors import UserError
from engram.files import layout
from engram.files.layout import Layout
from engram.paper.published import TWO_RATES
from engram.report import lacking

Config = Mapping[str, Any]
Description = dict[str, Any]
Declared = catalogue.Analysis | catalogue.Figure


def repeats(settings: Mapping[str, Any]) -> list[str]:
    """repeat-00, repeat-01, ...: the trainings whose models are scored, from an experiment's entry in config.yaml.

    None where log p is given.
    """
    if is_given(settings):
        return []
    return [repeat_name(number) for number in range(settings["membership"]["repeats"])]


def experiment(config: Config, name: str) -> Description:
    """Name, settings, the settings of estimators, and the paths of all artifacts of an experiment, by kind.

    Paths are under dataset, membership, models (of every repeat), full_model, likelihoods, last_likelihoods (of the last scored
    epoch, by estimator), scores (by estimator), analyses and figures (by name; figures as PNG), and measures (None without an
    analysis that has any). Where log p is given there are no models and no full model, and a dataset only with images. `has` is
    what it has of catalogue.READABLE and REQUIRED; `stands_for` names the reproductions that it is part of.
    """
    settings, paths = config["experiments"][name], Layout(name)
    estimators = {each: engram_config.estimator(config, name, each) for each in estimators_of(settings)}
    there = has(settings, config.get("datasets") or {})
    chosen, last_epoch = settings.get("analyses"), [max(scored_epochs(settings))]
    analyses = catalogue.analyses_of(estimators, there, chosen)
    return {
        "name": name,
        "settings": settings,
        "estimators": estimators,
        "has": sorted(there),
        "stands_for": [each for each, ours in config.get("reproductions", {}).items() if name in ours.values()],
        "dataset": dataset(config, name),
        "membership": paths.membership,
        "models": [paths.models(repeat) for repeat in repeats(settings)],
        "full_model": None if is_given(settings) else paths.models(FULL),
        "likelihoods": [path for each in estimators for path in likelihoods(config, name, each)],
        "last_likelihoods": {each: likelihoods(config, name, each, last_epoch) for each in estimators},
        "scores": {each: paths.scores(each) for each in estimators},
        "analyses": {each: paths.analysis(each) for each in analyses},
        "measures": paths.measures() if any(catalogue.ANALYSES[each].measures for each in analyses) else None,
        "figures": {each: paths.figure(each, "png") for each in catalogue.figures_of(estimators, there, chosen)},
    }


def uses_of_model(config: Config, name: str) -> dict[str, Any]:
    """What an experiment asks of its model: engram.checks.examination.Uses, as plain values."""
    described = experiment(config, name)
    return {
        "analyses": [each for each in described["analyses"] if catalogue.ANALYSES[each].draws_samples],
        "proposals": {each: settings["proposal"] for each, settings in described["estimators"].items()},
        "is_fitted": is_fitted(described["settings"]),
    }


def dataset(config: Config, name: str) -> str | None:
    """Path of an experiment's data set; None where log p is given without images."""
    settings = config["experiments"][name]
    if "dataset" in settings:
        return layout.dataset(settings["dataset"])
    return Layout(name).images if "images" in pictures_of(settings) else None


def likelihoods(config: Config, name: str, estimator: str, epochs: Sequence[int] | None = None) -> list[str]:
    """Likelihood files of all repeats of an estimator at some epochs, by default the scored ones; log p that is given is one
    file an epoch."""
    settings, paths = config["experiments"][name], Layout(name)
    return [
        paths.likelihood(estimator, repeat, epoch)
        for repeat in repeats(settings) or [ALL_MODELS]
        for epoch in epochs or scored_epochs(settings)
    ]


def scores(config: Config, name: str) -> list[str]:
    """Scores of an experiment by every estimator, as artifacts and as tables."""
    paths = Layout(name)
    estimators = estimators_of(config["experiments"][name])
    return [paths.scores(estimator, ending) for estimator in estimators for ending in ("h5", "csv")]


def results(config: Config, name: str) -> list[str]:
    """Every artifact of an experiment that stands behind its part of the report; of an audit, its page and what that shows."""
    if is_audited(config["experiments"][name]):
        return [Layout(name).report, *(Layout(name).audit(ending) for ending in ("h5", "csv"))]
    described = experiment(config, name)
    figures = [Layout(name).figure(figure, ending) for figure in described["figures"] for ending in ("pdf", "png")]
    tables = [Layout(name).measures(ending) for ending in ("h5", "csv")] if described["measures"] else []
    return [*described["likelihoods"], *scores(config, name), *described["analyses"].values(), *tables, *figures]


def files(described: Description, kinds: Iterable[str] = ("scores", "analyses", "figures")) -> list[str]:
    """Every file that the report of an experiment reads."""
    kinds_of_one = ("dataset", "membership", "full_model", "measures")
    single = filter(None, (described[kind] for kind in kinds_of_one))
    return [
        *single,
        *described["models"],
        *described["likelihoods"],
        *(path for kind in kinds for path in described[kind].values()),
    ]


def estimators_read(declared: Declared, described: Description) -> list[str] | None:
    """The estimators whose scores an analysis or a figure reads; None if it reads no scores."""
    return list(declared.estimators(described["estimators"])) if "scores" in declared.reads else None


def inputs(declared: Declared, described: Description) -> dict[str, str | list[str]]:
    """Paths of what an analysis or a figure reads of an experiment, by its name in `reads`.

    Raises UserError if the experiment lacks what an analysis or a figure reads or compares.
    """
    estimators = estimators_read(declared, described)
    absent = [words for what, words in catalogue.READABLE.items() if what in declared.reads and not described[what]]
    required = [*declared.requires, *(what for name in declared.reads for what in _required_by(name))]
    absent += [catalogue.REQUIRED[what] for what in required if what not in described["has"]]
    if absent:
        raise UserError(f"experiments.{described['name']}: {declared.title} needs {' and '.join(absent)}")
    missing = [name for name in declared.reads if name in catalogue.ANALYSES and name not in described["analyses"]]
    left_out = [name for name in missing if lacking.is_left_out(name, described)]
    if left_out:
        raise UserError(
            f"experiments.{described['name']}.analyses: leaves out {left_out[0]}, which {declared.title} needs; name it there"
        )
    if missing or estimators == []:
        needs = catalogue.ANALYSES[missing[0]].needs if missing else declared.needs
        raise UserError(f"experiments.{described['name']}.estimators: {declared.title} needs {needs}; name them there")
    paths = described | described["analyses"]
    files = {what: paths[what] for what in declared.reads}
    if "scores" in files:
        files["scores"] = [paths["scores"][each] for each in estimators]
    if "last_likelihoods" in files:
        files["last_likelihoods"] = [path for each in estimators for path in paths["last_likelihoods"][each]]
    return files


def measures_read(described: Description) -> dict[str, str]:
    """Paths of the scores that judge an experiment's measures, and of the analyses that hold them, by name."""
    analyses = {name: described["analyses"][name] for name in measures_declared(described)}
    return {"scores": described["scores"][catalogue.judge(described["estimators"])], **analyses}


def measures_declared(described: Description) -> dict[str, dict[str, dict[str, Any]]]:
    """The measures of an experiment's analyses, as plain values: {analysis: {measure: {title, uses, falls}}}."""
    of_analyses = {name: catalogue.ANALYSES[name].measures for name in described["analyses"]}
    return {
        name: {column: measure._asdict() for column, measure in measures.items()}
        for name, measures in of_analyses.items()
        if measures
    }


def measures_left_out(described: Description) -> dict[str, str]:
    """Titles of the measures that an experiment goes without, each with the reason."""
    reasons = {name: _why_without(name, described) for name in catalogue.ANALYSES if name not in described["analyses"]}
    return {
        measure.title: reason
        for name, reason in reasons.items()
        for measure in catalogue.ANALYSES[name].measures.values()
    }


def _why_without(name: str, described: Description) -> str:
    """Why an experiment lacks an analysis."""
    if lacking.is_left_out(name, described):
        return f"the experiment's `analyses` leaves out {name}"
    return f"it needs {lacking.needs_of_analysis(name, described)}"


def _required_by(what: str) -> tuple[str, ...]:
    """What an experiment must have for something that is read of it."""
    return catalogue.ANALYSES[what].requires if what in catalogue.ANALYSES else ()


def reproduction(config: Config, name: str) -> dict[str, Description]:
    """Descriptions of a reproduction's experiments, by the names of the paper's that they stand for."""
    return {paper: experiment(config, ours) for paper, ours in config["reproductions"][name].items()}


def of_two_rates(config: Config, name: str) -> list[Description]:
    """The experiments that stand for the paper's MNIST at its two learning rates; none if there are not both."""
    ours = [config["reproductions"][name].get(paper) for paper in TWO_RATES]
    return [experiment(config, each) for each in ours] if all(ours) else []


def extract(declared: Declared, described: Description) -> dict[str, Any]:
    """What a figure of two learning rates is drawn from: the rate, statistics by estimator, and paths of what it reads."""
    return {
        "learning_rate": described["settings"]["training"]["learning_rate"],
        "statistics": {name: settings["statistic"] for name, settings in described["estimators"].items()},
        **{what: described[what] for what in declared.reads},
    }


def figure_of_rates(name: str, figure: str, ending: str) -> str:
    """Path of a figure that compares the experiments of a reproduction: figures/losses.png of `paper_losses`."""
    return Layout(name).figure(figure.removeprefix("paper_"), ending)


def reproduction_figures(config: Config, name: str, ending: str = "png") -> dict[str, str]:
    """Paths of the figures that compare the experiments of a reproduction, by their names in the catalogue."""
    figures = catalogue.PAPER_FIGURES if of_two_rates(config, name) else ()
    return {figure: figure_of_rates(name, figure, ending) for figure in figures}


def reproduction_results(config: Config, name: str) -> list[str]:
    """The page and the table of a reproduction, and everything behind them. Raises UserError if the config has no such one."""
    if name not in config.get("reproductions", {}):
        raise UserError(f"config.yaml has no reproductions.{name}, which this target builds")
    figures = [path for ending in ("pdf", "png") for path in reproduction_figures(config, name, ending).values()]
    behind = [path for ours in config["reproductions"][name].values() for path in results(config, ours)]
    return [Layout(name).report, Layout(name).table, *figures, *behind]


def flat(paths: Mapping[str, str | Sequence[str]]) -> list[str]:
    """All paths of a mapping whose values are paths or lists of them."""
    return [path for value in paths.values() for path in ([value] if isinstance(value, str) else value)]
