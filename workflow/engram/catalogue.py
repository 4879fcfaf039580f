"""Every analysis and every figure, declared once: what rules, report and tests know of it stands here.

The computation is in the module of the entry's name in engram.analyses or engram.figures, which never reads this page: a new
entry reruns nothing. The order is that of the report.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NamedTuple

Estimators = Mapping[str, Mapping[str, Any]]  # settings of an experiment's estimators, by name

# What can be read of an experiment beside its analyses, in a reader's words.
READABLE = {
    "dataset": "a data set",
    "membership": "a membership",
    "models": "the models of every repeat",
    "full_model": "a model trained on everything",
    "likelihoods": "likelihoods",
    "last_likelihoods": "likelihoods of the last scored epoch",
    "scores": "scores",
    "measures": "a table of measures, and so an analysis that has any",
}
# What else an analysis or a figure may require, and experiments can lack.
REQUIRED = {
    "epochs": "log p at stated epochs",
    "several_epochs": "log p at two scored epochs or more",
    "repeats": "the repeat of every model",
    "shadows": "shadow models, which come from other repeats, and so two repeats or more",
    "planted": "a data set with planted canaries",
    "known_dimension": "a data set whose images have a known dimension: a manifold",
    "halves": "models trained on ten halves of the training set or more: design half_split with five repeats",
    "cohorts": "cohorts of images that enter during training, and so the design staggered",
    "denoiser": "a model that predicts noise, as diffusion models do",
}
# Those that a data set has by its definition in config.yaml, by the key that says so.
OF_DEFINITIONS = {"canaries_of": "planted", "manifold": "known_dimension"}


def every(estimators: Estimators) -> tuple[str, ...]:
    """All estimators of an experiment."""
    return tuple(estimators)


def several(estimators: Estimators) -> tuple[str, ...]:
    """All of them, if there are two or more to compare."""
    return tuple(estimators) if len(estimators) > 1 else ()


def judge(estimators: Estimators) -> str:
    """The estimator whose scores other measures are judged by: the first of an unbiased statistic, or else the first."""
    return next(
        (name for name, settings in estimators.items() if settings["statistic"] == "mean_log"), next(iter(estimators))
    )


def encoder_and_laplace(estimators: Estimators) -> tuple[str, ...]:
    """The first two that judge the same draws of x by the same statistic, one from each proposal; none if there are no two."""
    for pair in permutations(estimators, 2):
        encoder, laplace = (estimators[name] for name in pair)
        proposals = encoder["proposal"], laplace["proposal"]
        are_fixed = encoder["observation"] == laplace["observation"] == "fixed"
        if proposals == ("encoder", "laplace") and are_fixed and encoder["statistic"] == laplace["statistic"]:
            return pair
    return ()


# What a measure is computed from. SHADOWS are models that the score M is computed from, too, so the two share their errors.
IMAGES, ONE_MODEL, SAMPLES, SHADOWS = "images alone", "one model", "samples of one model", "models in and out"


class Measure(NamedTuple):
    """What one variable of an analysis says of each image, as a column of measures.h5: its `title` in figures and tables.

    `uses` is what it is computed from. Higher values speak for memorization, or, if it `falls`, lower ones.
    """

    title: str
    uses: str
    falls: bool = False


@dataclass(frozen=True)
class Analysis:
    """A question to the scores or to the images: `engram.analyses.NAME.analyse` answers it in analyses/NAME.h5, by the rule NAME.

    `estimators` picks those whose scores it compares; an experiment in which it finds none, and so not what it `needs`, goes
    without the analysis, as does one without what it `reads`, of READABLE and of the analyses above it, or `requires`, of
    REQUIRED. `columns` are its variables that have a value per image (axis `sample`), and `measures` those of them that are
    measures of memorization. `draws_samples` says that it looks at images that the full model draws, and `uses_features` that
    it compares images by the experiment's `features`.
    """

    title: str
    says: str
    reads: tuple[str, ...] = ("scores",)
    columns: tuple[str, ...] = ()
    threads: int = 1
    megabytes: int = 4000
    minutes: int = 30
    estimators: Callable[[Estimators], tuple[str, ...]] = every
    needs: str = ""
    requires: tuple[str, ...] = ()
    measures: Mapping[str, Measure] = field(default_factory=dict)
    draws_samples: bool = False
    uses_features: bool = False

    @property
    def before_training(self) -> bool:
        """Whether it asks nothing of any model, and so comes before them."""
        return {*self.reads} <= {"dataset", "membership"}


@dataclass(frozen=True)
class Figure:
    """A picture for the report: `engram.figures.NAME.NAME` draws it, by the rule figure_NAME, from what it `reads`.

    Its arguments are what it reads, in this order. Its caption is engram/report/captions/NAME.rst. It is left out where its
    `estimators` are none, and so not what it `needs`, and in experiments without what it `requires`, of REQUIRED.
    """

    title: str
    says: str
    reads: tuple[str, ...] = ("scores",)
    estimators: Callable[[Estimators], tuple[str, ...]] = every
    needs: str = ""
    requires: tuple[str, ...] = ()


# Attacks that ask the models themselves, each of which has a second form, calibrated by shadow models.
MODEL_ATTACKS = {
    "reconstruction": "reconstruction",
    "nearest_sample": "nearest sample",
    "monte_carlo": "Monte Carlo",
    "loss_at_t": "loss at t",
    "secmi": "SecMI",
    "pia": "PIA",
    "sima": "SimA",
}

# Estimators of the local dimension of the data.
DATA_DIMENSIONS = {
    "lid_data": "maximum likelihood",
    "lid_data_two_nn": "TwoNN",
    "lid_data_ess": "simplex skewness",
    "lid_data_tle": "tight",
    "lid_data_pca": "local components",
}

ANALYSES = {
    "duplicates": Analysis(
        "Copies",
        "Which images are copies of one another, within the training set and between training and test set.",
        reads=("dataset",),
        columns=("copy_group", "copy_in_training", "distance_in_training", "copy_in_test", "distance_in_test"),
    ),
    "density_split": Analysis(
        "Density split",
        "Log density of highly memorized and of other images.",
        columns=("high", "high_as_published"),
    ),
    "neighbors": Analysis(
        "Nearest neighbours",
        "Nearest-neighbour ratio of every training image, correct and as published.",
        reads=("dataset", "full_model", "scores"),
        columns=("rho", "rho_as_published", "distance_to_validation", "distance_to_samples"),
        threads=2,
        measures={"rho": Measure("nearest-neighbour ratio", SAMPLES)},
        draws_samples=True,
    ),
    "copy_tests": Analysis(
        "Copy tests",
        "Copies of training images among the samples of the full model, and how often each training image comes back.",
        reads=("dataset", "full_model", "scores"),
        columns=("calibrated_l2", "nearest_ratio", "recurrence", "times_nearest", "density_under_samples"),
        threads=2,
        megabytes=8000,
        measures={
            "calibrated_l2": Measure("calibrated l2", SAMPLES, falls=True),
            "nearest_ratio": Measure("nearest over nearest different", SAMPLES, falls=True),
            "recurrence": Measure("recurrence", SAMPLES),
            "times_nearest": Measure("times nearest to a sample", SAMPLES),
            "density_under_samples": Measure("density under samples", SAMPLES),
        },
        draws_samples=True,
        uses_features=True,
    ),
    "mode_collapse": Analysis(
        "Mode collapse",
        "Which training images the samples of the full model crowd around.",
        reads=("dataset", "full_model", "scores"),
        columns=("share", "share_test"),
        threads=2,
        draws_samples=True,
    ),
    "prevention": Analysis(
        "Prevention",
        "Copies among samples of a diffusion model when sampling is kept away from images of low dimension, and the price.",
        reads=("dataset", "full_model", "scores"),
        threads=2,
        megabytes=8000,
        minutes=60,
        requires=("denoiser",),
        uses_features=True,
    ),
    "encoder_part": Analysis(
        "Encoder part",
        "What of the score is the encoder's: score by the encoder proposal minus score by the Laplace proposal.",
        columns=("encoder_part", "decoder_part", "shortfall_in", "shortfall_out"),
        estimators=encoder_and_laplace,
        needs="two estimators on the same fixed draws and by the same statistic, one with the encoder's proposal and one with "
        "the Laplace proposal",
    ),
    "membership_inference": Analysis(
        "Membership inference",
        "How well attacks tell from log p which images a model was trained on.",
        reads=("membership", "last_likelihoods", "scores"),
        columns=(
            "likelihood_threshold",
            "calibrated",
            "lira_offline",
            "lira_online",
            "lira_online_fixed",
            "rmia",
        ),
        requires=("shadows",),
        measures={
            "likelihood_threshold": Measure("attack: likelihood threshold", SHADOWS),
            "calibrated": Measure("attack: difficulty-calibrated", SHADOWS),
            "lira_offline": Measure("attack: LiRA offline", SHADOWS),
            "lira_online": Measure("attack: LiRA online", SHADOWS),
            "lira_online_fixed": Measure("attack: LiRA online, fixed variance", SHADOWS),
            "rmia": Measure("attack: RMIA", SHADOWS),
        },
    ),
    "model_attacks": Analysis(
        "Attacks on the models",
        "How well attacks that ask the models themselves tell which images a model was trained on.",
        reads=("dataset", "membership", "models", "scores"),
        columns=(*MODEL_ATTACKS, *(f"{name}_calibrated" for name in MODEL_ATTACKS)),
        threads=2,
        minutes=60,
        measures={
            name + ending: Measure(f"attack: {title}{form}", SHADOWS)
            for ending, form in {"": "", "_calibrated": ", calibrated"}.items()
            for name, title in MODEL_ATTACKS.items()
        },
    ),
    "dynamics": Analysis(
        "Learning and forgetting",
        "At which epochs models learn and forget the images that they are trained on.",
        reads=("membership", "likelihoods", "scores"),
        columns=("learned", "first_learned", "forgetting_events", "largest_drop"),
        requires=("several_epochs",),
        measures={
            "learned": Measure("learned by the last epoch", SHADOWS),
            "first_learned": Measure("epoch of learning", SHADOWS, falls=True),
            "forgetting_events": Measure("forgetting events", SHADOWS, falls=True),
            "largest_drop": Measure("largest drop of log p", SHADOWS),
        },
    ),
    "difference_in_differences": Analysis(
        "Difference in differences",
        "What entering the training does to log p of an image, by the epoch at which it enters.",
        reads=("membership", "likelihoods", "scores"),
        columns=("effect",),
        requires=("cohorts",),
        measures={"effect": Measure("difference in differences", SHADOWS)},
    ),
    "data_dimension": Analysis(
        "Dimension of the data",
        "Local dimension of the data at every training image, by several estimators.",
        reads=("dataset", "scores"),
        columns=(
            *DATA_DIMENSIONS,
            *(f"{name}_standard_error" for name in ("lid_data", "lid_data_two_nn", "lid_data_ess")),
            "equal_images",
        ),
        threads=2,
        megabytes=8000,
        minutes=120,
        measures={
            name: Measure(f"dimension of the data: {title}", IMAGES, falls=True)
            for name, title in DATA_DIMENSIONS.items()
        },
    ),
    "influence": Analysis(
        "Influence of training images",
        "Which attribution methods know on which training images log p of a test image hangs.",
        reads=("dataset", "membership", "full_model", "models", "last_likelihoods", "scores"),
        columns=("trak_self_influence",),
        threads=2,
        minutes=120,
        requires=("halves",),
        measures={"trak_self_influence": Measure("TRAK self-influence", SHADOWS)},
    ),
    "predictors": Analysis(
        "Predictors",
        "Whether memorization can be told from the images alone, or from the gradients of one model.",
        reads=("dataset", "full_model", "scores"),
        columns=(
            "distance_5nn",
            "pca_leverage",
            "distance_from_class_mean",
            "surprisal",
            "loss_trajectory",
            "loss_drop",
            "gradient_norm",
            "tracin",
            "tracin_last_layer",
            "ekfac_self_influence",
        ),
        minutes=120,
        measures={
            "distance_5nn": Measure("distance to 5 nearest", IMAGES),
            "pca_leverage": Measure("leverage", IMAGES),
            "distance_from_class_mean": Measure("distance from class mean", IMAGES),
            "surprisal": Measure("-log p", ONE_MODEL),
            "loss_trajectory": Measure("-log p, mean over epochs", ONE_MODEL),
            "loss_drop": Measure("drop of -log p", ONE_MODEL),
            "gradient_norm": Measure("gradient norm", ONE_MODEL),
            "tracin": Measure("TracIn", ONE_MODEL),
            "tracin_last_layer": Measure("TracIn, last layer", ONE_MODEL),
            "ekfac_self_influence": Measure("EK-FAC self-influence", ONE_MODEL),
        },
    ),
    "model_dimension": Analysis(
        "Dimension of the model",
        "Of which dimension is what the full model learned, at each training image.",
        reads=("dataset", "full_model", "scores"),
        columns=("lid_model", "lid_model_standard_error", "lid_reference"),
        threads=2,
        megabytes=8000,
        minutes=240,
        measures={"lid_model": Measure("dimension of the model", ONE_MODEL, falls=True)},
    ),
    "geometry": Analysis(
        "Geometry of memorization",
        "Why images are memorized, by the dimensions of data and model, and whether low dimension predicts the score.",
        reads=("dataset", "data_dimension", "model_dimension", "scores"),
        columns=("gap",),
    ),
    # What judges the others comes last.
    "agreement": Analysis(
        "Agreement of measures",
        "How far other measures agree with the score, and on which images they do not.",
        reads=("measures",),
    ),
    "canaries": Analysis(
        "Canaries",
        "How well measures find planted images, and how they rise with the number of copies.",
        reads=("measures", "dataset"),
        requires=("planted",),
    ),
}

FIGURES = {
    "grids": Figure(
        "What was memorized, and what was not",
        "Images with the lowest, median and highest scores.",
        reads=("scores", "dataset"),
    ),
    "comparison": Figure(
        "The estimators side by side", "The estimators side by side.", estimators=several, needs="two estimators"
    ),
    "encoder_part": Figure(
        "The encoder's part of the score",
        "The part of the score that is the encoder's generalization gap.",
        reads=("encoder_part",),
    ),
    "score_histogram": Figure(
        "Distribution of the score", "Distribution of the score, with a Johnson-SU fit and the null."
    ),
    "quantiles": Figure("The score during training", "Quantiles of the score against epoch.", requires=("epochs",)),
    "error_by_repeats": Figure(
        "Error of the score", "How the error of a score falls with the number of repeats.", requires=("repeats",)
    ),
    "losses": Figure(
        "Losses and generalization gap",
        "Losses of the trained models against epoch.",
        reads=("models", "full_model"),
        requires=("epochs",),
    ),
    "density_split": Figure(
        "Memorization and log p",
        "Log density of highly memorized and of other images, and the share by bin.",
        reads=("density_split", "scores", "dataset"),
    ),
    "neighbors": Figure(
        "The nearest-neighbour test", "Nearest-neighbour ratio against score.", reads=("neighbors", "scores")
    ),
    "copy_tests": Figure(
        "Copies among samples",
        "The samples most like copies, beside their training images, and what copy tests say of all samples.",
        reads=("copy_tests", "dataset"),
    ),
    "mode_collapse": Figure(
        "Memorization and mode collapse",
        "Where samples crowd, against score.",
        reads=("mode_collapse", "scores", "dataset"),
    ),
    "prevention": Figure(
        "Prevention during sampling",
        "Copies per 1,000 samples against the distance of samples to real images, and samples before and after.",
        reads=("prevention", "dataset"),
    ),
    "duplicates": Figure(
        "Copies among the images",
        "Copies among the images, or the pairs that are most alike.",
        reads=("duplicates", "dataset"),
    ),
    "membership_inference": Figure(
        "Membership inference",
        "ROC curves of attacks that read nothing but log p.",
        reads=("membership_inference", "scores"),
    ),
    "model_attacks": Figure(
        "Attacks on the models",
        "ROC curves of attacks that ask the models themselves.",
        reads=("model_attacks",),
    ),
    "dynamics": Figure(
        "Learning and forgetting",
        "When images are learned, how often they are forgotten, and log p of a few of them over the epochs.",
        reads=("dynamics", "scores"),
    ),
    "difference_in_differences": Figure(
        "Difference in differences",
        "What entering the training does to log p of an image, by epoch and cohort.",
        reads=("difference_in_differences", "scores"),
    ),
    "data_dimension": Figure(
        "Dimension of the data",
        "Distribution of the local dimension of the data, its relation to the score, and images where it is lowest and highest.",
        reads=("data_dimension", "scores", "dataset"),
    ),
    "influence": Figure(
        "Influence of training images on log p",
        "Linear datamodeling scores of attribution methods, and the training images that helped three test images most.",
        reads=("influence", "scores", "dataset"),
        requires=("halves",),
    ),
    "predictors": Figure(
        "Cheap predictors",
        "Rank correlation with the score of measures that need one model or none.",
        reads=("predictors", "scores"),
    ),
    "model_dimension": Figure(
        "Dimension of the model",
        "Spectra or curves behind the dimension of the model, and the dimension against the score.",
        reads=("model_dimension", "scores"),
    ),
    "geometry": Figure(
        "Geometry of memorization",
        "The dimension of the model against that of the data, labels of images, and what low dimension predicts.",
        reads=("geometry", "scores", "dataset"),
    ),
    "agreement": Figure(
        "Measures and the score",
        "How far other measures agree with the score, and how well they find what it finds.",
        reads=("agreement", "measures"),
    ),
    "disagreement": Figure(
        "Where measures and the score disagree",
        "Images on which a measure and the score disagree most.",
        reads=("agreement", "measures", "dataset"),
    ),
    "canaries": Figure(
        "Planted canaries",
        "How well measures find planted images, and how they rise with the number of copies.",
        reads=("canaries", "measures", "dataset"),
    ),
}

# Figures of a reproduction set two experiments side by side, those at the paper's two learning rates; their files are called
# NAME without paper_. `engram.figures.NAME.read` makes the drawing's argument from {learning rate: paths of what it reads}.
PAPER_FIGURES = {
    "paper_losses": Figure(
        "Losses at both learning rates",
        "Losses of the full models at the paper's two learning rates.",
        reads=("full_model",),
    ),
    "paper_quantiles": Figure(
        "The score at both learning rates",
        "Quantiles of the score against epoch at the paper's two learning rates, with intervals.",
        reads=("membership", "likelihoods"),
    ),
    "paper_score_histogram": Figure(
        "Distribution of the score at both learning rates",
        "Distributions of the score at the paper's two learning rates, with Johnson-SU fits.",
    ),
}


# What an experiment has whose models are trained here; whether it has measures depends on its analyses, and the rest on its data
# set.
EVERYTHING = frozenset({*READABLE, *REQUIRED} - {"measures", *OF_DEFINITIONS.values()})


def analyses_of(
    estimators: Estimators, there: Collection[str] = EVERYTHING, chosen: Collection[str] | None = None
) -> list[str]:
    """Names of the analyses of an experiment with these estimators: those that it can have, or the `chosen` ones of them.

    `there` is what the experiment has of READABLE and REQUIRED, but for its measures.
    """
    computed = _possible(ANALYSES, estimators, there, chosen)
    return _possible(ANALYSES, estimators, {*there, *measures_of(computed)}, chosen)


def figures_of(
    estimators: Estimators, there: Collection[str] = EVERYTHING, chosen: Collection[str] | None = None
) -> list[str]:
    """Names of the figures that it has, by the same arguments: those whose analyses it has, and what they require."""
    analyses = analyses_of(estimators, there, chosen)
    return _possible(FIGURES, estimators, {*there, *analyses, *measures_of(analyses)}, None)


def _possible(
    declared: Mapping[str, Analysis | Figure],
    estimators: Estimators,
    there: Collection[str],
    chosen: Collection[str] | None,
) -> list[str]:
    """An analysis may read those before it."""
    found: list[str] = []
    for name, entry in declared.items():
        is_chosen = (chosen is None or name in chosen) and entry.estimators(estimators)
        if is_chosen and {*entry.reads, *entry.requires} <= {*there, *found}:
            found.append(name)
    return found


def measures_of(analyses: Collection[str]) -> set[str]:
    """What there is to read of the measures of some analyses."""
    return {"measures"} if any(ANALYSES[name].measures for name in analyses) else set()
