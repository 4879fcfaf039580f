"""What estimates are worth, said in shares and in sentences."""

import numpy as np
import pytest
import torch

from engram.likelihood.estimation import estimate
from engram.likelihood.importance import summarize
from engram.likelihood.quality import Quality
from engram.models import build

NAN = np.full(100, np.nan)


def quality(fell_back=0, few=0, k=NAN):
    return Quality.of(np.arange(100) < fell_back, np.where(np.arange(100) < few, 1.2, 9.0), k)


def test_good_estimates_are_not_spoken_of():
    assert quality().warnings() == [] and quality(fell_back=1, few=5).warnings() == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"fell_back": 7}, "7 % of the estimates of log p got the model's own proposal"),
        ({"few": 31}, "31 % of the estimates of log p rest on fewer than 2 effective samples"),
        ({"k": np.repeat([0.3, 0.9], [40, 60])}, "60 % of the estimates of log p have a Pareto k above 0.7"),
    ],
)
def test_a_reader_is_told_of_a_share_that_is_bad(bad, words):
    (said,) = quality(**bad).warnings()
    assert said.startswith(words)


def test_shares_of_what_is_not_defined_are_not_given():
    assert np.isnan(quality().share_unreliable_k) and quality().rows()["Pareto k above 0.7"] == "-"
    assert quality(k=np.where(np.arange(100) < 50, np.nan, 0.8)).share_unreliable_k == 1


def test_weights_with_a_heavy_tail_are_found_and_light_ones_are_not():
    # w = u^-k with u uniform has a Pareto tail of shape k: infinite variance from 1/2 on, infinite mean from 1 on.
    u = torch.rand(200, 1000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k, is_bad in ((0.2, False), (1.2, True)):
        estimates = summarize(-k * u.log(), torch.zeros(200, dtype=torch.bool))
        judged = Quality.of(
            estimates.fell_back.numpy(), estimates.effective_samples.numpy(), estimates.pareto_k.numpy()
        )
        assert (judged.share_unreliable_k > 0.5) == is_bad
        assert any("Pareto" in sentence for sentence in judged.warnings()) == is_bad


def test_it_is_kept_in_attributes():
    judged = quality(fell_back=7, few=3, k=np.full(100, 0.5))
    assert Quality.read(judged.attributes() | {"statistic": "mean_log"}) == judged
    assert Quality.read({"statistic": "mean_log"}) is None


def test_an_exact_log_p_has_no_samples_to_doubt():
    model = build("right_models:Flow", (1, 2, 2))
    estimates = estimate(model, torch.zeros(5, 1, 2, 2))
    worth = Quality.of(*(getattr(estimates, name).numpy() for name in ("fell_back", "effective_samples", "pareto_k")))
    assert worth.warnings() == []
    assert worth.rows()["effective samples, median"] == worth.rows()["effective samples below 2"] == "-"
