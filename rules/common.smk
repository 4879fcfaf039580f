"""Every function the rules use. Values that reach a script do so through `params`, so that Snakemake sees them change."""

import hashlib
import itertools
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.basedir) / "workflow"

sys.path.insert(0, str(WORKFLOW))

from engram import config as engram_config
from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.runtime import requests
from engram.errors import UserError
from engram.runtime.machine import has_gpu
from engram.files.provenance import importable_by_scripts
from engram.files.source import source_digest
from engram.models.known import source_of

importable_by_scripts()
try:
    engram_config.validate(config)
    engram_config.require_unchanged(config, at_start=workflow.is_main_process)
except UserError as error:
    raise WorkflowError(str(error)) from None

FIGURES = [
    "losses",
    "quantiles",
    "score_histogram",
    "grids",
    "density_split",
    "neighbors",
    "mode_collapse",
    "comparison",
    "error_by_repeats",
]
ANALYSES = ["neighbors", "mode_collapse", "density_split"]


wildcard_constraints:
    experiment="|".join(map(re.escape, config["experiments"])),
    estimator="|".join(map(re.escape, config["estimators"])),
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    repeat=r"repeat-\d+|full",
    epoch=r"\d+",
    reproduction="|".join(map(re.escape, config.get("reproductions", {}))) or "-",


def code(script):
    """A parameter: content hash of a rule's script and of the modules it uses. Its change reruns the rule, a touch does not."""
    return lambda wildcards: source_digest(WORKFLOW / "scripts" / f"{script}.py")


def code_with_model(script):
    """The same of a rule that loads models: the module of the experiment's model counts, too, engram's or the user's own."""

    def digest(wildcards):
        model = config["experiments"][wildcards.experiment]["model"]["name"]
        return source_digest(WORKFLOW / "scripts" / f"{script}.py", source_of(model))

    return digest


def page():
    """Content hash of the report's page and captions."""
    files = sorted((WORKFLOW / "engram/report").glob("*/*.*"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def setting(*keys):
    """A parameter: the value under `keys` of the job's experiment in config.yaml."""

    def value(wildcards):
        found = config["experiments"][wildcards.experiment]
        for key in keys:
            found = found[key]
        return found

    return value


def estimator(key):
    """A parameter: one value of the job's estimator, as its experiment uses it."""
    return lambda wildcards: engram_config.estimator(config, wildcards.experiment, wildcards.estimator)[key]


def likelihood_settings(wildcards):
    """The part of an estimator that log p depends on; the rest is the scores' affair."""
    only_scores = {"statistic", "permutations"}
    settings = engram_config.estimator(config, wildcards.experiment, wildcards.estimator)
    return {key: value for key, value in settings.items() if key not in only_scores}


def dataset_definition(wildcards):
    """The entry of `datasets` in config.yaml; None for a built-in data set."""
    return (config.get("datasets") or {}).get(wildcards.dataset)


def dataset_of(wildcards):
    return f"results/datasets/{config['experiments'][wildcards.experiment]['dataset']}.h5"


def estimators_of(experiment):
    """Settings of an experiment's estimators by name, overrides included."""
    names = config["experiments"][experiment]["estimators"]
    return {name: engram_config.estimator(config, experiment, name) for name in names}


def encoder_part_pair(experiment):
    """The estimators (encoder, laplace) of an experiment that differ in the proposal only, or None if there are no two."""
    settings = estimators_of(experiment)
    fixed = {name: estimator for name, estimator in settings.items() if estimator["observation"] == "fixed"}
    for encoder, laplace in itertools.permutations(fixed, 2):
        proposals = fixed[encoder]["proposal"], fixed[laplace]["proposal"]
        if proposals == ("encoder", "laplace") and fixed[encoder]["statistic"] == fixed[laplace]["statistic"]:
            return encoder, laplace
    return None


def analyses(experiment):
    return [*ANALYSES, *(["encoder_part"] if encoder_part_pair(experiment) else [])]


def figures(experiment):
    return [*FIGURES, *(["encoder_part"] if encoder_part_pair(experiment) else [])]


def scores_of_pair(which):
    """Scores by the encoder's (0) or the Laplace (1) estimator of the pair that the encoder part compares."""
    return lambda wildcards: (
        f"results/{wildcards.experiment}/scores/{encoder_part_pair(wildcards.experiment)[which]}.h5"
    )


def repeats(experiment):
    """repeat-00, repeat-01, ...: the trainings whose models are scored."""
    return [f"repeat-{number:02d}" for number in range(config["experiments"][experiment]["membership"]["repeats"])]


def trained_models(wildcards):
    """Models at a scored epoch; asking for another epoch is a user's mistake, said at once and not after the training."""
    scored = config["experiments"][wildcards.experiment]["scored_epochs"]
    if int(wildcards.epoch) not in scored:
        raise WorkflowError(
            f"epoch {wildcards.epoch} is not kept; experiments.{wildcards.experiment}.scored_epochs is {scored}"
        )
    return f"results/{wildcards.experiment}/models/{wildcards.repeat}.h5"


def likelihoods(wildcards):
    """Likelihood files of all repeats and scored epochs of an estimator."""
    return expand(
        "results/{experiment}/likelihood/{estimator}/{repeat}/epoch-{epoch}.h5",
        experiment=wildcards.experiment,
        estimator=wildcards.estimator,
        repeat=repeats(wildcards.experiment),
        epoch=config["experiments"][wildcards.experiment]["scored_epochs"],
    )


def scores(wildcards):
    """Scores by every estimator of the experiment, in the config's order."""
    return expand(
        "results/{experiment}/scores/{estimator}.h5",
        experiment=wildcards.experiment,
        estimator=config["experiments"][wildcards.experiment]["estimators"],
    )


def all_models(wildcards):
    """Models of every repeat, the full model last."""
    return expand(
        "results/{experiment}/models/{repeat}.h5",
        experiment=wildcards.experiment,
        repeat=[*repeats(wildcards.experiment), "full"],
    )


def results_of(experiment):
    """Every artifact of an experiment that stands behind its part of the report."""
    settings = config["experiments"][experiment]
    return [
        *expand(
            "results/{experiment}/likelihood/{estimator}/{repeat}/epoch-{epoch}.h5",
            experiment=experiment,
            estimator=settings["estimators"],
            repeat=repeats(experiment),
            epoch=settings["scored_epochs"],
        ),
        *expand(
            "results/{experiment}/scores/{estimator}.{ending}",
            experiment=experiment,
            estimator=settings["estimators"],
            ending=["h5", "csv"],
        ),
        *expand("results/{experiment}/analyses/{analysis}.h5", experiment=experiment, analysis=analyses(experiment)),
        *expand(
            "results/{experiment}/figures/{figure}.{ending}",
            experiment=experiment,
            figure=figures(experiment),
            ending=["pdf", "png"],
        ),
    ]


def report_experiment(experiment):
    """What the report needs to know of an experiment: its settings and the paths of its artifacts."""
    settings = config["experiments"][experiment]
    folder = f"results/{experiment}"
    likelihoods = [path for path in results_of(experiment) if "/likelihood/" in path]
    return {
        "name": experiment,
        "settings": settings,
        "estimators": estimators_of(experiment),
        "dataset": f"results/datasets/{settings['dataset']}.h5",
        "membership": f"{folder}/membership.h5",
        "models": [f"{folder}/models/{repeat}.h5" for repeat in [*repeats(experiment), "full"]],
        "likelihoods": likelihoods,
        "scores": {name: f"{folder}/scores/{name}.h5" for name in settings["estimators"]},
        "analyses": {name: f"{folder}/analyses/{name}.h5" for name in analyses(experiment)},
        "figures": {name: f"{folder}/figures/{name}.png" for name in figures(experiment)},
    }


def report_inputs(experiments, kinds=("scores", "analyses", "figures")):
    """Every file that the report of some experiments reads."""
    paths = []
    for entry in map(report_experiment, experiments):
        paths += [entry["dataset"], entry["membership"], *entry["models"], *entry["likelihoods"]]
        paths += [path for kind in kinds for path in entry[kind].values()]
    return paths


def reproduced(reproduction):
    """This config's experiments by the names of the paper's that they stand for."""
    return config["reproductions"][reproduction]


def both_rates(reproduction):
    """The experiments that stand for the paper's MNIST at learning rates 1e-3 and 1e-4; none if there are not both."""
    names = [reproduced(reproduction).get(name) for name in ("mnist_lr1e-3", "mnist_lr1e-4")]
    return names if all(names) else []


def experiments_of_both_rates(wildcards):
    """What figures need to know of these two experiments."""
    return [report_experiment(experiment) for experiment in both_rates(wildcards.reproduction)]


def rates(wildcards):
    """Their learning rates."""
    return [entry["settings"]["training"]["learning_rate"] for entry in experiments_of_both_rates(wildcards)]


def full_models_of_both_rates(wildcards):
    return [entry["models"][-1] for entry in experiments_of_both_rates(wildcards)]


def scores_of_both_rates(wildcards):
    return [path for entry in experiments_of_both_rates(wildcards) for path in entry["scores"].values()]


def likelihoods_of_both_rates(wildcards):
    """With the memberships by which they are turned into scores."""
    return [
        path for entry in experiments_of_both_rates(wildcards) for path in [entry["membership"], *entry["likelihoods"]]
    ]


def reproduction_experiments(wildcards):
    """What the report needs to know of a reproduction's experiments, by the names of the paper's."""
    return {name: report_experiment(ours) for name, ours in reproduced(wildcards.reproduction).items()}


def reproduction_figures(reproduction):
    """Figures that compare the experiments of a reproduction, by name."""
    names = ["losses", "quantiles", "score_histogram"] if both_rates(reproduction) else []
    return {name: f"results/{reproduction}/figures/{name}.png" for name in names}


def reproduction_page(wildcards):
    """What the report of a reproduction shows before its experiments."""
    table = f"results/{wildcards.reproduction}/reproduction.csv"
    return {"table": table, "figures": reproduction_figures(wildcards.reproduction)}


def reproduction_inputs(wildcards):
    """Every file that the table of a reproduction is made from."""
    return report_inputs(reproduced(wildcards.reproduction).values(), ["scores", "analyses"])


def reproduction_report_inputs(wildcards):
    """Every file that the report of a reproduction reads, but its table."""
    figures = reproduction_figures(wildcards.reproduction).values()
    return [*report_inputs(reproduced(wildcards.reproduction).values()), *figures]


def reproduction_results(reproduction):
    """The page and the table of a reproduction, and everything behind them."""
    if reproduction not in config.get("reproductions", {}):
        raise WorkflowError(f"config.yaml has no reproductions.{reproduction}, which this target builds")
    page = [f"results/{reproduction}/report.html", f"results/{reproduction}/reproduction.csv"]
    figures = [figure.removesuffix("png") for figure in reproduction_figures(reproduction).values()]
    both_formats = [figure + ending for figure in figures for ending in ("pdf", "png")]
    return page + both_formats + all_results(reproduced(reproduction).values())


def all_results(experiments):
    return [path for experiment in experiments for path in results_of(experiment)]


def all_scores(experiments):
    return [path for path in all_results(experiments) if "/scores/" in path]


def train_request(estimate):
    """A resource of rule train, by a function of engram.runtime.requests, which knows the experiment's size."""
    return lambda wildcards, input, attempt: estimate(
        config["experiments"][wildcards.experiment],
        wildcards.repeat,
        requests.shape_of_images(input.dataset),
        attempt,
    )


def likelihood_request(estimate):
    """A resource of rule likelihood, by a function of engram.runtime.requests."""
    return lambda wildcards, input, attempt: estimate(
        config["experiments"][wildcards.experiment],
        likelihood_settings(wildcards),
        wildcards.repeat,
        requests.shape_of_images(input.dataset),
        attempt,
    )


def gpus_here(wildcards):
    """1 where this machine has a GPU, else 0: without one, training jobs may share the cores. Clusters: see profiles/slurm."""
    return int(has_gpu())
