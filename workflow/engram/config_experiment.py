"""Mistakes between the keys of one experiment in config.yaml, which its schema cannot see."""

from typing import Any

from engram import catalogue
from engram.config_audited import in_audited, is_audited
from engram.config_given import has, in_given, is_fitted, is_given, settings_of
from engram.conventions import GIVEN
from engram.datasets import sizes
from engram.datasets.known import comes_from, images_of, in_manifold, with_source
from engram.errors import suggest
from engram.files import own_features
from engram.models.known import KNOWN


def in_experiment(
    experiment: dict[str, Any], known: list[str], estimators: dict[str, Any], defined: dict[str, Any]
) -> list[str]:
    """One line per mistake, each beginning with its key below `experiments.NAME.`.

    known: names of all data sets; estimators and defined: the config's own estimators and datasets.
    """
    if is_audited(experiment):
        return [*in_audited(experiment, known)]
    if is_given(experiment):
        return [*in_given(experiment, known), *_in_analyses(experiment, {GIVEN: settings_of(experiment)}, defined)]
    there = {name: estimators[name] for name in experiment["estimators"] if name in estimators}
    return [
        *_in_names(experiment, known, estimators),
        *_in_analyses(experiment, there, defined),
        *_in_features(experiment),
        *_in_model(experiment["model"]),
        *_in_proposals(experiment["model"]["name"], there, estimators),
        *_in_kind_of_training(experiment),
        *([] if is_fitted(experiment) else _in_training(experiment)),
        *_in_membership(experiment, defined),
        *_in_cohorts(experiment),
        *_in_size_of_images(experiment, defined),
    ]


def _in_names(experiment: dict[str, Any], known: list[str], estimators: dict[str, Any]) -> list[str]:
    problems, dataset = [], experiment["dataset"]
    if dataset not in known:
        problems.append(f"dataset is {dataset!r}, which is unknown; {suggest(dataset, known)}")
    for estimator in experiment["estimators"]:
        if estimator not in estimators:
            problems.append(f"estimators names {estimator!r}, which is not defined; {suggest(estimator, estimators)}")
    for estimator in experiment.get("overrides", {}):
        if estimator not in experiment["estimators"]:
            advice = suggest(estimator, experiment["estimators"])
            problems.append(f"overrides names {estimator!r}, which is none of its estimators; {advice}")
    return problems


def _in_analyses(experiment: dict[str, Any], estimators: dict[str, Any], defined: dict[str, Any]) -> list[str]:
    """An analysis that is unknown, or that the experiment cannot have; `estimators` are its own."""
    chosen, problems, there = experiment.get("analyses", []), [], has(experiment, defined)
    possible = catalogue.analyses_of(estimators, there, chosen)
    there |= catalogue.measures_of(possible)
    for name in chosen:
        if name not in catalogue.ANALYSES:
            problems.append(f"analyses names {name!r}, which is unknown; {suggest(name, catalogue.ANALYSES)}")
        elif estimators and name not in possible:  # without a known estimator, that is what a reader should be told
            analysis, words = catalogue.ANALYSES[name], catalogue.READABLE | catalogue.REQUIRED
            lacking = [words[what] for what in (*analysis.reads, *analysis.requires) if what not in there]
            needs = " and ".join(lacking) or analysis.needs
            problems.append(f"analyses names {name!r}, which this experiment cannot have: it needs {needs}")
    return problems


def _in_features(experiment: dict[str, Any]) -> list[str]:
    """Features that are neither a function nor a file, or that no analysis of the experiment uses."""
    features = experiment.get("features")
    if features is None:
        return []
    if not (own_features.is_function(features) or own_features.is_file(features)):
        return [
            f"features is {features!r}; write module:function, or FILE or FILE:NAME with a file {', '.join(own_features.FILES)}"
        ]
    users = [name for name, analysis in catalogue.ANALYSES.items() if analysis.uses_features]
    if {*users} & {*experiment.get("analyses", users)}:
        return []
    return [f"features is {features!r}, which takes effect only in {', '.join(users)}; name one in analyses"]


def _in_model(model: dict[str, Any]) -> list[str]:
    """A name or a setting that is none of engram's models; what a user's own takes is known when it is built."""
    name = model["name"]
    if ":" in name:
        return []
    if name not in KNOWN:
        return [f"model.name is {name!r}, which is unknown; {suggest(name, KNOWN)} (your own is written module:Class)"]
    unknown = [key for key in model if key not in ("name", *KNOWN[name].settings)]
    problems = [f"model has an unknown key {key!r}; {suggest(key, KNOWN[name].settings)}" for key in unknown]
    if "label_dropout" in model and "label_dropout" not in unknown and not model.get("classes"):
        problems.append(
            f"model.label_dropout is {model['label_dropout']!r}, which takes effect only with classes; state how many there are"
        )
    return problems


def _in_proposals(model: str, there: dict[str, Any], estimators: dict[str, Any]) -> list[str]:
    """Estimators by which one of engram's models can have no log p; a user's own is looked at before it trains.

    there: the experiment's own estimators; estimators: all that are defined.
    """
    possible = KNOWN[model].proposals if model in KNOWN else ()
    can_have = [name for name, settings in estimators.items() if settings["proposal"] in possible]
    return [
        f"estimators names {name!r}, which {model} cannot have: its proposal is {settings['proposal']}, and that of {model} can "
        f"only be {' or '.join(possible)}; choose {', '.join(can_have) or 'one that you define so'}"
        for name, settings in there.items()
        if possible and settings["proposal"] not in possible
    ]


def _in_kind_of_training(experiment: dict[str, Any]) -> list[str]:
    """A training of a model that is fitted in closed form, or none of one that is not; a user's own may be either."""
    name, stated = experiment["model"]["name"], [key for key in ("training", "scored_epochs") if key in experiment]
    lacking = [key for key in ("training", "scored_epochs") if key not in experiment]
    if name in KNOWN and KNOWN[name].is_fitted:
        return [f"{key} is stated, but {name} is fitted in closed form, without epochs; leave it out" for key in stated]
    if lacking and (stated or name in KNOWN):
        return [f"lacks {', '.join(lacking)}"]
    return []


def _in_training(experiment: dict[str, Any]) -> list[str]:
    """Epochs out of range, and settings that would take no effect."""
    return [*_in_epochs(experiment), *_in_momentum(experiment["training"])] if "scored_epochs" in experiment else []


def _in_epochs(experiment: dict[str, Any]) -> list[str]:
    epochs, scored = experiment["training"]["epochs"], experiment["scored_epochs"]
    if scored == sorted(scored) and scored[-1] <= epochs:
        return []
    return [f"scored_epochs is {scored}; it must rise and not pass training.epochs, which is {epochs}"]


def _in_momentum(training: dict[str, Any]) -> list[str]:
    optimizer = training.get("optimizer", "adam")
    if "momentum" in training and optimizer != "sgd":
        return [
            f"training.momentum is {training['momentum']}, which {optimizer} does not take; leave it out, or write optimizer: sgd"
        ]
    return []


def _in_membership(experiment: dict[str, Any], defined: dict[str, Any]) -> list[str]:
    problems, membership, dataset = [], experiment["membership"], experiment["dataset"]
    design, folds = membership["design"], membership.get("folds")
    if design in ("k_fold", "null"):
        images = images_of(dataset, with_source(dataset, defined))
        most = images and images[0] // (2 if design == "null" else 1)  # half of them are set aside in the null design
        if folds is None:
            problems.append(f"membership lacks folds, which the design {design} needs")
        elif most is not None and folds > most:
            problems.append(
                f"membership.folds is {folds}; {design} of the {images[0]} training images of {dataset} takes 2 to {most}"
            )
    if "duplicate_distance" in membership and "groups_from" not in membership:
        problems.append("membership has a duplicate_distance, which takes effect only with groups_from: duplicates")
    return problems


def _in_cohorts(experiment: dict[str, Any]) -> list[str]:
    """Cohorts where there are none, or none where there should be, and epochs at which they cannot enter or be judged."""
    membership = experiment["membership"]
    design, cohorts = membership["design"], membership.get("cohorts")
    if design != "staggered":
        return [] if cohorts is None else ["membership has cohorts, which take effect only with design: staggered"]
    if cohorts is None:
        return ["membership lacks cohorts, which the design staggered needs"]
    if is_fitted(experiment):
        return [
            "membership.design is 'staggered', whose images enter during training; models fitted in one go have no epochs"
        ]
    problems, epochs, scored = [], experiment["training"]["epochs"], experiment.get("scored_epochs", [])
    if "folds" in membership:
        problems.append("membership has folds, but staggered has one for each cohort and one held out; leave folds out")
    if cohorts[0] != 0 or cohorts != sorted(cohorts) or cohorts[-1] >= epochs:
        problems.append(
            f"membership.cohorts is {cohorts}; it must rise from 0 and stay below training.epochs, which is {epochs}"
        )
    elif scored and max(scored) <= cohorts[-1]:
        problems.append(
            f"scored_epochs is {scored}; it must hold one after the last cohort enters, above {cohorts[-1]}"
        )
    elif scored and len(cohorts) > 1 and min(scored) > cohorts[1]:
        problems.append(
            f"scored_epochs is {scored}; it must hold one before the second cohort enters, at most {cohorts[1]}"
        )
    return problems


def _in_size_of_images(experiment: dict[str, Any], defined: dict[str, Any]) -> list[str]:
    """A size of images that the experiment's model cannot take."""
    definition = comes_from(with_source(experiment["dataset"], defined) or {})
    definition = in_manifold(definition) if "manifold" in definition else definition
    model, side = experiment["model"]["name"], definition.get("image_size")
    if not side or "conv_vae" not in model or ":" in model or sizes.fits(side, side):
        return []
    return [
        f"dataset is {experiment['dataset']!r}, whose image_size is {side}; {model} takes multiples of {sizes.DIVISOR}, "
        f"at least {sizes.LEAST_SIDE}: write image_size: {sizes.fitting_size(side)}"
    ]
