"""Which training images does log p of a test image hang on, and which attribution method knows?

Every method's attribution is judged by the linear datamodeling score (engram.analyses.linear_datamodeling) on the models of a
half-split experiment, the judges. The full model, which is no judge, makes the attributions of a single model. Models of the
first repeats make the ensemble's, and no half is foretold by the models of its own repeat.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses import attribution, ekfac_influence, linear_datamodeling, projected_gradients
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.judged_images import JudgedImages
from engram.analyses.linear_datamodeling import Resamples
from engram.analyses.objective import why_no_gradients
from engram.files.artifacts import AXES, variable
from engram.randomness import generator
from engram.scores import intervals
from engram.scores.stage import Comparison, read_log_px

TEST_IMAGES = 500  # at most, a named draw
ENSEMBLE = 5  # repeats, at most, whose models make the ensemble
SHOWN, NEAREST = 3, 5  # test images whose most helpful training images are kept, and how many of these
ENOUGH = 100  # halves, below which figure and page say that there are few
BASELINES = ("pixel_similarity", "pixel_kernel")
METHODS = (*BASELINES, "gradient_dot", "tracin", "ekfac_influence", "trak_1", "trak")


class Outcome(NamedTuple):
    """What a method foretells, (halves, x), the training images most helpful to those shown, (shown, NEAREST), its seconds."""

    foretold: np.ndarray
    most_helpful: np.ndarray
    seconds: float = float("nan")


@dataclass(frozen=True)
class Benchmark:
    """The images, by their rows in the data set, and the judges: in_training (halves, n) and the repeat (halves,) of each."""

    given: Inputs
    train: np.ndarray
    tests: np.ndarray
    in_training: np.ndarray
    repeat: np.ndarray

    @classmethod
    def of(cls, given: Inputs, comparison: Comparison) -> "Benchmark":
        drawn = generator(given.seed, "influence", "test images").permutation(comparison.unseen)[:TEST_IMAGES]
        return cls(given, comparison.images, np.sort(drawn), comparison.is_in, comparison.repeat)

    def outcome(self, tau: Tensor, seconds: float) -> Outcome:
        """Of an attribution tau (n, x)."""
        values = tau.numpy()
        most_helpful = np.argsort(-values[:, :SHOWN], axis=0, kind="stable")[:NEAREST].T
        foretold = linear_datamodeling.forecast(values, self.in_training)
        return Outcome(foretold, self.train[most_helpful], seconds)

    def nothing(self) -> Outcome:
        """Of a method that there is not."""
        nobody = np.full((min(SHOWN, len(self.tests)), min(NEAREST, len(self.train))), -1)
        return Outcome(np.full((len(self.repeat), len(self.tests)), np.nan), nobody)

    @cached_property
    def images(self) -> JudgedImages:
        """The training images, then the test images."""
        rows = np.concatenate([self.train, self.tests])
        return JudgedImages.of(self.given.dataset, rows, self.given.seed, "gradients")

    def features(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Projected gradients of the training images and of the test images."""
        found = projected_gradients.features(model, self.images)
        return found[: len(self.train)], found[len(self.train) :]


def analyse(given: Inputs) -> Answer:
    """Linear datamodeling scores of every method by every estimator at the last scored epoch, and TRAK's self-influence."""
    comparison = Comparison.of(given.membership)
    benchmark = Benchmark.of(given, comparison)
    outcomes, lacking, self_influence = _outcomes(benchmark)
    log_px = [_log_px(given.last_likelihoods[estimator], comparison, benchmark.tests) for estimator in given.scores]
    variables = _axes(benchmark, list(given.scores)) | _of_methods(outcomes) | _scores(outcomes, log_px, benchmark)
    taken = {name: outcome.seconds for name, outcome in outcomes.items()}
    taken["trak_self_influence"] = taken["trak"]
    meaning = "TRAK's influence of the image on its own log p, mean over the ensemble"
    variables["trak_self_influence"] = variable(("sample",), self_influence, "1", meaning, may_be_undefined=True)
    return Answer(
        variables,
        {"epoch": given.epoch, "test_images": len(benchmark.tests), "features": projected_gradients.FEATURES},
        _summary(benchmark),
        lacking,
        {name: seconds for name, seconds in taken.items() if name not in lacking},
    )


def _outcomes(benchmark: Benchmark) -> tuple[dict[str, Outcome], dict[str, str], np.ndarray]:
    """Of every method; why some are lacking; and the self-influence of every training image."""
    full = benchmark.given.full_model(benchmark.given.epoch)
    outcomes, reason = of_pixels(benchmark), why_no_gradients(full, benchmark.images)
    lacking = dict.fromkeys([*METHODS[len(BASELINES) :], "trak_self_influence"], reason) if reason else {}
    self_influence = np.full(len(benchmark.train), np.nan)
    if reason is None:
        of_ensemble, self_influence = of_the_ensemble(benchmark)
        outcomes |= of_the_full_model(benchmark) | {"trak": of_ensemble}
        reason = ekfac_influence.why_not(full, benchmark.images)
        if reason is None:
            outcomes["ekfac_influence"] = of_ekfac(benchmark, full)
        else:
            lacking["ekfac_influence"] = reason
    if not len(benchmark.tests):
        lacking |= dict.fromkeys(METHODS, "the data set has no test images")
    return {name: outcomes.get(name) or benchmark.nothing() for name in METHODS}, lacking, self_influence


def of_pixels(benchmark: Benchmark) -> dict[str, Outcome]:
    """The baselines, which train nothing."""
    pixels, n, outcomes = torch.from_numpy(benchmark.images.images), len(benchmark.train), {}
    for name in BASELINES:
        started = time.perf_counter()
        tau = getattr(attribution, name)(pixels[:n], pixels[n:])
        outcomes[name] = benchmark.outcome(tau, time.perf_counter() - started)
    return outcomes


def of_the_full_model(benchmark: Benchmark) -> dict[str, Outcome]:
    """Products of its gradients after the last scored epoch, their sum over all scored epochs, and TRAK with one model."""
    started, traced = time.perf_counter(), torch.zeros(len(benchmark.train), len(benchmark.tests))
    for epoch in benchmark.given.first["epoch"].values:
        began = time.perf_counter()
        found = benchmark.features(benchmark.given.full_model(int(epoch)))
        products = attribution.gradient_dot(*found)
        traced += products
    last, for_all = time.perf_counter() - began, time.perf_counter() - started
    by_one = attribution.trak(*found)
    return {
        "gradient_dot": benchmark.outcome(products, last),
        "tracin": benchmark.outcome(traced, for_all),
        "trak_1": benchmark.outcome(by_one, last + time.perf_counter() - started - for_all),
    }


def of_ekfac(benchmark: Benchmark, full: nn.Module) -> Outcome:
    """Influence on the full model, by EK-FAC."""
    started = time.perf_counter()
    tau = ekfac_influence.influence(full, benchmark.images, len(benchmark.train))
    return benchmark.outcome(tau, time.perf_counter() - started)


def of_the_ensemble(benchmark: Benchmark) -> tuple[Outcome, np.ndarray]:
    """TRAK, mean over the models of the first repeats, and the self-influence of every training image, (n,)."""
    started, given = time.perf_counter(), benchmark.given
    total, self_influence = torch.zeros(len(benchmark.train), len(benchmark.tests)), torch.zeros(len(benchmark.train))
    forecasts, of_model = [], []
    for number, load in zip(np.unique(benchmark.repeat)[:ENSEMBLE], given.models, strict=False):
        for model in load(given.epoch):
            train, test = benchmark.features(model)
            tau = attribution.trak(train, test)
            total += tau
            self_influence += attribution.self_influence(train)
            forecasts.append(linear_datamodeling.forecast(tau.numpy(), benchmark.in_training))
            of_model.append(number)
    whole = benchmark.outcome(total, time.perf_counter() - started)
    foretold = linear_datamodeling.of_other_repeats(np.array(forecasts), np.array(of_model), benchmark.repeat)
    return whole._replace(foretold=foretold), (self_influence / len(of_model)).numpy()


def _log_px(paths: list, comparison: Comparison, tests: np.ndarray) -> np.ndarray:
    """log p of the test images, mean over draws: (halves, x), nats."""
    return read_log_px(paths, comparison, tests).mean(axis=1, dtype=np.float64)


def _axes(benchmark: Benchmark, estimators: list[str]) -> dict[str, tuple]:
    return {
        "sample": variable(("sample",), benchmark.train, "1", AXES["sample"]),
        "estimator": variable(("estimator",), estimators, "1", "estimator of log p"),
        "attribution": variable(("attribution",), list(METHODS), "1", "attribution method"),
        "test_image": variable(("test_image",), benchmark.tests, "1", "index of the test image in the data set"),
    }


def _of_methods(outcomes: Mapping[str, Outcome]) -> dict[str, tuple]:
    """What does not hang on the estimator."""
    helpful = [outcome.most_helpful for outcome in outcomes.values()]
    meaning = "indices of the training images with the largest attribution to the first test images"
    return {"most_helpful": variable(("attribution", "shown", "place"), helpful, "1", meaning)}


def _scores(outcomes: Mapping[str, Outcome], log_px: list[np.ndarray], benchmark: Benchmark) -> dict[str, tuple]:
    """Of every estimator's log_px (halves, x): the methods' scores, by how much they beat the better baseline, and the limits."""
    rng = generator(benchmark.given.seed, "influence", "resamples")
    resamples = Resamples.of(benchmark.repeat, len(benchmark.tests), rng)
    judged = [_judged(outcomes, values, benchmark, resamples) for values in log_px]
    of_all = {key: [of_estimator[key] for of_estimator in judged] for key in judged[0]}
    axes, of_image = ("estimator", "attribution"), ("estimator", "attribution", "test_image")
    score, best = "linear datamodeling score", "the better baseline's"
    return {
        "correlation": variable(of_image, of_all["correlation"], "1", "Spearman's correlation over halves", True),
        **intervals.variables("linear_datamodeling_score", of_all["score"], score, axes),
        **intervals.variables("above_baseline", of_all["above"], f"{score} minus {best}", axes),
        **intervals.variables("ceiling", of_all["ceiling"], f"{score} of a perfect attribution"),
        **intervals.variables("regression", of_all["regression"], f"{score} of a regression on the other halves"),
    }


def _judged(
    outcomes: Mapping[str, Outcome], log_px: np.ndarray, benchmark: Benchmark, resamples: Resamples
) -> dict[str, object]:
    def judge(foretold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = linear_datamodeling.correlations(foretold, log_px, resamples.halves)
        return found[0], resamples.over_images(found)

    correlation, scores = zip(*(judge(outcome.foretold) for outcome in outcomes.values()), strict=True)
    baseline = max(scores[: len(BASELINES)], key=lambda of_resamples: of_resamples[0])
    _, by_regression = judge(linear_datamodeling.regression(log_px, benchmark.in_training, benchmark.repeat))
    interval, highest = resamples.interval, linear_datamodeling.ceiling(log_px, benchmark.repeat, resamples)
    return {
        "correlation": correlation,
        "score": [interval(of_resamples) for of_resamples in scores],
        "above": [interval(of_resamples - baseline) for of_resamples in scores],
        "ceiling": interval(highest),
        "regression": interval(by_regression),
    }


def _summary(benchmark: Benchmark) -> dict[str, float]:
    """Numbers that the figure and the page state."""
    return {
        "halves": len(benchmark.repeat),
        "halves_asked_for": ENOUGH,
        "models_in_ensemble": int(np.isin(benchmark.repeat, np.unique(benchmark.repeat)[:ENSEMBLE]).sum()),
        "gradient_draws": projected_gradients.DRAWS,
        "damping": attribution.DAMPING,
    }
