"""What the benchmarks of other families compute from measurements, against answers known without them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import diffusion_bound
import families

from engram.models.diffusion import DiffusionModel, alpha_and_sigma


class Normal(DiffusionModel):
    """Knows that pixels are normal with these variances, about 0."""

    def __init__(self, variances, gamma_0=-13.3, gamma_1=12.0):
        super().__init__((1, 1, len(variances)), gamma_0, gamma_1, steps=10)
        self.variances = torch.tensor(variances)

    def predict_noise(self, z, gamma):
        alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in alpha_and_sigma(gamma))
        return sigma * z / (alpha**2 * self.variances + sigma**2)


def test_the_density_by_the_probability_flow_is_that_of_a_normal():
    model = Normal([0.5, 0.05, 1e-3])
    alpha, sigma = (float(part) for part in alpha_and_sigma(torch.tensor(model.gamma_0)))
    z = torch.tensor([0.3, -0.2, 0.02]).reshape(1, 1, 1, 3)
    variance = alpha**2 * np.array([0.5, 0.05, 1e-3]) + sigma**2
    expected = -0.5 * np.sum(z.flatten().numpy() ** 2 / variance + np.log(2 * np.pi * variance))
    value, evaluations = diffusion_bound.log_density(model, z)
    assert value == pytest.approx(expected, abs=2e-3) and evaluations < 500


@pytest.mark.parametrize("name", diffusion_bound.WAYS)
def test_every_way_to_draw_t_has_the_mean_of_a_function_over_time(name):
    model, first = Normal([1.0]), torch.rand(200, generator=torch.Generator().manual_seed(0))
    t, weight = diffusion_bound.WAYS[name](first, 100, model)
    assert t.shape == weight.shape == (200, 100) and float(t.min()) >= 0 and float(t.max()) <= 1
    tolerance = 0.003 if name == "evenly spaced" else 0.02
    assert float((weight * t**2).mean()) == pytest.approx(1 / 3, abs=tolerance)


def test_common_noise_leaves_no_difference_between_equal_models_and_fresh_noise_does():
    model, x = Normal([0.5, 0.05]), torch.zeros(3, 1, 1, 2)
    both = [
        diffusion_bound.difference([model, model], x, 10, diffusion_bound.evenly_spaced, 1, c) for c in (True, False)
    ]
    assert float(both[0].abs().max()) == 0 and float(both[1].abs().min()) > 0


def test_distances_from_the_mean_of_the_others_of_a_class():
    images = np.array([[0.0, 0], [2, 0], [4, 0], [9, 9]])
    distance = families.distance_from_class_mean(images, np.array([1, 1, 1, 7]))
    np.testing.assert_array_equal(distance, [3, 0, 3, np.nan])


def test_the_ceiling_is_what_two_noisy_scores_of_the_same_truth_show(rng):
    truth = rng.normal(size=20_000)
    halves = truth + rng.normal(size=(2, 2, 20_000)) * np.array([0.5, 1.0])[:, None, None]
    reliability = [np.corrcoef(*of_score)[0, 1] for of_score in halves]
    assert families.ceiling(*reliability) == pytest.approx(np.corrcoef(*halves.mean(1))[0, 1], abs=0.02)


def experiment(score, images, label):
    scores = xr.Dataset(
        {"score": (("epoch", "sample"), score), "null_quantiles": ("quantile", [0.1, 2.0])},
        {"epoch": [5, 10], "sample": np.arange(score.shape[1]), "quantile": [0.5, 0.95]},
        {"number_memorized_fdr05": 7, "split_half_reliability": 0.5},
    )
    dataset = xr.Dataset({"images": (("sample", "pixel"), images), "label": ("sample", label)})
    return families.Scored("mine", scores, dataset)


def test_the_tables_say_which_images_are_memorized(rng):
    images, label = rng.integers(0, 256, (60, 9)).astype(np.uint8), np.repeat([0, 1], 30)
    distance = families.distance_from_class_mean(images / 255, label)
    mine = experiment(np.array([distance, -distance]), images, label)
    assert [round(each.estimate, 6) for each in families.atypical(mine)] == [1, -1]
    correlation, ceiling = families.between(mine, mine)
    assert correlation.estimate == pytest.approx(1) and ceiling == pytest.approx(2 / 3)
    rows = families.amounts(mine)
    assert rows[0].endswith("| | | |") and rows[1].endswith("| 0.1, 2.0 | 7 of 60 | 0.50 |")
    families.draw([mine, mine])
