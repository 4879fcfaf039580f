"""Every function the rules use. Values that reach a script do so through `params`, so that Snakemake sees them change."""

import functools
import hashlib
import os
import re

from snakemake.logging import logger

from engram import catalogue, datasets
from engram import config as engram_config
from engram.runtime import requests
from engram.config_audited import SETS, datasets_of, is_audited
from engram.config_given import OF_A_FIT, files_of, is_fitted, is_given, pictures_of, scored_epochs
from engram.conventions import ALL_MODELS, GIVEN
from engram.datasets.known import comes_from, modules_of, with_source
from engram.datasets.paths import expanded
from engram.designs.repeats import FULL
from engram.report import contents
from engram.runtime.machine import has_gpu
from engram.files import kept, layout, own_features, own_images
from engram.files.layout import Layout
from engram.files.provenance import importable_by_scripts
from engram.files.source import source_digest
from engram.models.known import source_of

importable_by_scripts()
try:
    engram_config.validate(config)
    engram_config.require_unchanged(config, at_start=workflow.is_main_process)
except UserError as error:
    raise WorkflowError(str(error)) from None

EXPERIMENT, REPRODUCTION = Layout("{experiment}"), Layout("{reproduction}")  # paths with their wildcard


def any_of(names):
    """A wildcard constraint: one of some names; nothing at all where there are none."""
    return "|".join(map(re.escape, names)) or "-"


# The wildcard of rules that one kind of experiment has: those whose models are trained here, whose log p is given, or that audit
# a checkpoint.
THAT_TRAIN = any_of(
    name for name, settings in config["experiments"].items() if not (is_given(settings) or is_audited(settings))
)
THAT_GIVE_LOG_PX = any_of(name for name, settings in config["experiments"].items() if is_given(settings))
THAT_AUDIT = any_of(name for name, settings in config["experiments"].items() if is_audited(settings))


wildcard_constraints:
    experiment=any_of(config["experiments"]),
    estimator=any_of([*config["estimators"], GIVEN]),
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    repeat=r"repeat-\d+|full",
    epoch=r"\d+",
    digest="[0-9a-f]+",
    reproduction=any_of(config.get("reproductions", {})),


def code(script, *modules):
    """A parameter: content hash of a rule's script and of the modules it uses. Its change reruns the rule, a touch does not.

    `modules` are those that the script imports by a name it is given.
    """
    return lambda wildcards: source_digest(WORKFLOW / "scripts" / f"{script}.py", *modules)


def code_with_model(script, *modules):
    """The same where models are loaded: the module of the experiment's model counts, too, engram's or the user's own."""

    def digest(wildcards):
        model = config["experiments"][wildcards.experiment]["model"]["name"]
        return source_digest(WORKFLOW / "scripts" / f"{script}.py", *modules, source_of(model))

    return digest


def code_of_analysis(name):
    """The same of an analysis, with the user's function of features and the code that loads models, where it has them."""
    analysis = catalogue.ANALYSES[name]

    def digest(wildcards):
        modules, features = [f"engram.analyses.{name}"], features_used(analysis)(wildcards)
        if features and own_features.is_function(features):
            modules.append(features)
        if {"full_model", "models"} & {*analysis.reads}:
            return code_with_model("analysis", *modules, "engram.training.trained")(wildcards)
        return code("analysis", *modules)(wildcards)

    return digest


def features_used(analysis):
    """A parameter: the experiment's features, a file's path with variables replaced; None for pixels, and where none are used."""

    def features(wildcards):
        named = config["experiments"][wildcards.experiment].get("features") if analysis.uses_features else None
        return named if named is None or own_features.is_function(named) else str(expanded(named))

    return features


def content_of_features(analysis):
    """A parameter: the hash of a file's content; None for features from elsewhere."""

    def content(wildcards):
        features = features_used(analysis)(wildcards)
        if features is None or own_features.is_function(features):
            return None
        from engram.files import matrices  # here, because it imports NumPy and h5py, which most starts do without

        return content_of(matrices.path_of(features))

    return content


def describe(rule, text):
    """Set a docstring that cannot be a literal, because the rule it explains is made in a loop."""
    workflow.get_rule(rule).docstring = text


def page(*templates):
    """Content hash of the report's page and captions, and of the titles in the catalogue; or of some templates alone."""
    files = [WORKFLOW / "engram/report/templates" / template for template in templates]
    files = files or [*sorted((WORKFLOW / "engram/report").glob("*/*.*")), WORKFLOW / "engram/catalogue.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def setting(*keys):
    """A parameter: the value under `keys` of the job's experiment in config.yaml."""

    def value(wildcards):
        found = config["experiments"][wildcards.experiment]
        if is_given(found) and keys[0] not in found:
            raise WorkflowError(
                f"experiments.{wildcards.experiment} has no {keys[0]}: its log p is given, not estimated"
            )
        if is_audited(found) and keys[0] not in found:
            raise WorkflowError(
                f"experiments.{wildcards.experiment} has no {keys[0]}: it audits a checkpoint, and trains nothing"
            )
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
    """The entry of `datasets` in config.yaml, with that of its source where canaries are planted; None for a built-in data set."""
    return with_source(wildcards.dataset, config.get("datasets") or {})


def code_of_dataset(wildcards):
    """Content hash of rule `dataset` with the module that reads this data set's source, and no other's."""
    modules = modules_of(wildcards.dataset, dataset_definition(wildcards))
    return source_digest(WORKFLOW / "scripts/dataset.py", *modules)


def content_of_own_images(wildcards):
    """Hash of the user's own images, taken once, where Snakemake starts; None for images that come with engram or are published."""
    definition = comes_from(dataset_definition(wildcards) or {})
    sources = [definition[kind] for kind in ("folder", "npz", "hdf5") if kind in definition]
    return content_of(expanded(sources[0])) if sources else None


def content_of(path):
    """Hash of the user's own file or folder, taken once, where Snakemake starts."""
    passed_on = f"ENGRAM_CONTENT_{os.fsencode(path).hex()}"  # to the jobs, so that they do not read it again
    if passed_on not in os.environ:
        os.environ[passed_on] = own_images.content_hash(path)
    return os.environ[passed_on]


def given(files):
    """A parameter: files that `files` names for a job, by what they hold, each with the hash of its content.

    Their paths are as in config.yaml, with variables replaced; `FILE:NAME` is one array of a file.
    """

    def with_contents(wildcards):
        from engram.files import matrices  # here, because it imports NumPy and h5py, which most starts do without

        named = {key: str(expanded(source)) for key, source in files(wildcards).items()}
        contents = {key: content_of(matrices.path_of(source)) for key, source in named.items()}
        return {"files": named, "contents": contents}

    return with_contents


def given_pictures(wildcards):
    """The files of images and labels of an experiment whose log p is given."""
    return pictures_of(config["experiments"][wildcards.experiment])


def given_first(wildcards):
    """The matrices of its first epoch, and labels: what its membership is checked against and told by."""
    settings = config["experiments"][wildcards.experiment]
    labels = {key: file for key, file in pictures_of(settings).items() if key == "labels"}
    return files_of(settings, scored_epochs(settings)[0]) | labels


def given_at_epoch(wildcards):
    """The matrices of the job's epoch; asking for an epoch without a file is a user's mistake."""
    settings = config["experiments"][wildcards.experiment]
    if int(wildcards.epoch) not in scored_epochs(settings):
        raise WorkflowError(
            f"epoch {wildcards.epoch} has no file; experiments.{wildcards.experiment}.log_px is {settings['log_px']}"
        )
    return files_of(settings, int(wildcards.epoch))


def datasets_audited(wildcards):
    """Input: the data sets that an audit names in a folder's place, by what they are to it."""
    named = datasets_of(config["experiments"][wildcards.experiment], known_datasets())
    return {name: layout.dataset(dataset) for name, dataset in named.items()}


def asked_of_audit(wildcards):
    """A parameter: what an audit is asked, with paths as in config.yaml, variables replaced, and those of data sets."""
    settings = config["experiments"][wildcards.experiment]
    folders = {name: str(expanded(settings[name])) for name in ("checkpoint", "prompts", *SETS) if name in settings}
    return settings | folders | datasets_audited(wildcards)


def contents_audited(wildcards):
    """A parameter: hashes of the folders and the file that an audit reads, data sets apart, taken where Snakemake starts."""
    asked, named = asked_of_audit(wildcards), datasets_audited(wildcards)
    read = [name for name in ("checkpoint", "prompts", *SETS) if name in asked and name not in named]
    return {name: content_of(asked[name]) for name in read}


def known_datasets():
    """Names of all data sets, built in or defined in config.yaml."""
    return [*datasets.known(), *(config.get("datasets") or {})]


def epochs_of(wildcards):
    """A parameter: the scored epochs."""
    return scored_epochs(config["experiments"][wildcards.experiment])


def dataset_of(wildcards):
    """Input: the data set of the job's experiment; nothing where log p is given without images."""
    return contents.dataset(config, wildcards.experiment) or []


def described(wildcards):
    """What there is of the job's experiment: settings, and the paths of all artifacts."""
    return contents.experiment(config, wildcards.experiment)


def read_by(declared):
    """Input: the files that an analysis or a figure reads, named as in its `reads`."""

    def paths(wildcards):
        try:
            return contents.inputs(declared, described(wildcards))
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return paths


def model_check_of(wildcards):
    """The check of the model as it is now: another model, or other code that trains it, has a file of its own.

    So a model that is tried, refused and given up leaves the check of the one before it where it is, and trains nothing again.
    """
    model = setting("model")(wildcards)
    return Layout(wildcards.experiment).model_check(kept.digest(model, code_with_model("train")(wildcards)))


def estimators_read(declared):
    """A parameter: the estimators whose scores an analysis or a figure reads, in this order."""
    return lambda wildcards: contents.estimators_read(declared, described(wildcards))


def measures_read(wildcards):
    """Input: the scores that judge measures, and the analyses that hold them, by name."""
    return contents.measures_read(described(wildcards))


def measures_declared(wildcards):
    """A parameter: the measures of each of these analyses."""
    return contents.measures_declared(described(wildcards))


def measures_left_out(wildcards):
    """A parameter: the measures that the experiment goes without, and why."""
    return contents.measures_left_out(described(wildcards))


def growing(amount):
    """A resource that a job asks more of with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def training_of_any_length(wildcards):
    """The training settings but for the number of epochs, which `epochs_to_train` gives; None for models that are fitted."""
    if is_fitted(config["experiments"][wildcards.experiment]):
        return None
    training = config["experiments"][wildcards.experiment]["training"]
    return {key: value for key, value in training.items() if key != "epochs"}


def design_of_a_repeat(wildcards):
    """The membership settings that a repeat's folds depend on, of which the number of repeats is none.

    So training does not read membership.h5, which changes with that number. The full model has no folds.
    """
    membership = config["experiments"][wildcards.experiment]["membership"]
    if wildcards.repeat == FULL:
        return None
    if wildcards.repeat not in contents.repeats(config["experiments"][wildcards.experiment]):
        raise WorkflowError(
            f"{wildcards.repeat} is beyond experiments.{wildcards.experiment}.membership.repeats, "
            f"which is {membership['repeats']}"
        )
    return {key: value for key, value in membership.items() if key != "repeats"}


def epochs_to_train(wildcards):
    """Epochs to train for and to keep: those of finished models, if they hold all that are asked for, or else the config's."""
    experiment = config["experiments"][wildcards.experiment]
    if is_fitted(experiment):
        return {"epochs": 1, "scored_epochs": OF_A_FIT}
    values = {key: experiment[key] for key in ("model", "training", "scored_epochs", "seed")}
    values |= {"membership": design_of_a_repeat(wildcards), "code": code_with_model("train")(wildcards)}
    path = Layout(wildcards.experiment).models(wildcards.repeat)
    found = kept.epochs_to_train(path, values)
    if found.cost and workflow.is_main_process:
        say_once(found.cost)
    return {"epochs": found.epochs, "scored_epochs": found.scored_epochs}


@functools.cache
def say_once(sentence):
    """Tell the user something while the workflow is planned."""
    logger.warning(sentence)


def trained_models(wildcards):
    """Models at a scored epoch; asking for another epoch is a user's mistake, said at once and not after the training."""
    scored = scored_epochs(config["experiments"][wildcards.experiment])
    if int(wildcards.epoch) not in scored:
        raise WorkflowError(
            f"epoch {wildcards.epoch} is not kept; experiments.{wildcards.experiment}.scored_epochs is {scored}"
        )
    return f"results/{wildcards.experiment}/models/{wildcards.repeat}.h5"


def likelihoods(wildcards):
    """Likelihood files of all repeats and scored epochs of an estimator."""
    return contents.likelihoods(config, wildcards.experiment, wildcards.estimator)


def shared_page(experiments):
    """The page that experiments share, unless all of them audit a checkpoint."""
    return ["results/report.html"] if report_experiments(experiments) else []


def all_results(experiments):
    return [path for experiment in experiments for path in contents.results(config, experiment)]


def all_scores(experiments):
    return [path for experiment in experiments for path in contents.scores(config, experiment)]


def report_experiments(experiments):
    """A parameter: what the report knows of some experiments. Audits have pages of their own."""
    judged = [experiment for experiment in experiments if not is_audited(config["experiments"][experiment])]
    return [contents.experiment(config, experiment) for experiment in judged]


def report_inputs(experiments):
    """Every file that the report of some experiments reads."""
    return [path for experiment in report_experiments(experiments) for path in contents.files(experiment)]


def read_of_two_rates(figure):
    """Input: what a figure reads of the two experiments that it compares."""
    return lambda wildcards: [
        path
        for experiment in contents.of_two_rates(config, wildcards.reproduction)
        for path in contents.flat(contents.inputs(figure, experiment))
    ]


def extracts_of_two_rates(figure):
    """A parameter: what such a figure is drawn from."""
    return lambda wildcards: [
        contents.extract(figure, experiment) for experiment in contents.of_two_rates(config, wildcards.reproduction)
    ]


def reproduction_experiments(wildcards):
    """A parameter: what there is of a reproduction's experiments, by the names of the paper's."""
    return contents.reproduction(config, wildcards.reproduction)


def reproduction_page(wildcards):
    """A parameter: what the report of a reproduction shows before its experiments."""
    name = wildcards.reproduction
    return {"table": Layout(name).table, "figures": contents.reproduction_figures(config, name)}


def reproduction_inputs(wildcards):
    """Every file that the table of a reproduction is made from."""
    experiments = reproduction_experiments(wildcards).values()
    return [path for experiment in experiments for path in contents.files(experiment, ["scores", "analyses"])]


def reproduction_report_inputs(wildcards):
    """Every file that the report of a reproduction reads."""
    shown = reproduction_page(wildcards)
    experiments = config["reproductions"][wildcards.reproduction].values()
    return [*report_inputs(experiments), *shown["figures"].values(), shown["table"]]


def reproduction_results(name):
    """Input of a target: all of a reproduction."""
    try:
        return contents.reproduction_results(config, name)
    except UserError as error:
        raise WorkflowError(str(error)) from None


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
