"""EK-FAC: against the exact inverse where gradients are products of independent parts, closed forms, and kronfluence."""

import numpy as np
import pytest
import torch
from torch import nn

from engram.analyses import ekfac
from engram.analyses.ekfac import DAMPING
from engram.analyses.gradients import Differentiated, Factors

IMAGES, PIXELS = 30, 4


def self_influence(model, x, at_once=7):
    """Of every image, by blocks of so many."""
    found = Differentiated.of(model, x, x.new_zeros(len(x), 0))

    def blocks():
        return (found(part, part.new_zeros(len(part), 0)).layers() for part in x.split(at_once))

    curvature = ekfac.fit(blocks)
    return torch.cat([sum(curvature[name].self_influence(part) for name, part in block) for block in blocks()])


class GaussianMean(nn.Module):
    """N(mean, variance I) of flat x: its gradient is (x - mean) / variance."""

    def __init__(self, x, variance):
        super().__init__()
        self.mean, self.variance = nn.Linear(1, x.shape[1], bias=False), variance
        self.mean.weight.data = x.mean(0)[:, None]

    def forward(self, x, noise):
        return -0.5 * (x - self.mean(x.new_ones(len(x), 1))).square().sum(1) / self.variance


def test_the_gaussian_mean_model_has_a_closed_form():
    """F = C / s^4 with C the covariance, so that g'F^-1 g is |x - mean|^2 / s^2 where C = s^2 I, and the damping's factor is 1.1.

    Over n it is the score of leaving out one image, M = (2n - 1) |x - mean|^2 / (2 s^2 (n - 1)^2), to first order in 1 / n.
    """
    generator, variance = torch.Generator().manual_seed(0), 0.3
    x = torch.randn(IMAGES, PIXELS, generator=generator, dtype=torch.float64)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T, correction=0))).T * variance**0.5 + 2
    distance = (x - x.mean(0)).square().sum(1)
    found = self_influence(GaussianMean(x, variance), x) * (1 + DAMPING)
    torch.testing.assert_close(found, distance / variance)
    left_out = torch.stack([torch.cat([x[:i], x[i + 1 :]]).mean(0) for i in range(IMAGES)])
    score = ((x - left_out).square().sum(1) - distance) / (2 * variance)
    torch.testing.assert_close(score, (2 * IMAGES - 1) * distance / (2 * variance * (IMAGES - 1) ** 2))
    torch.testing.assert_close(found / IMAGES, score, rtol=2 / IMAGES, atol=0)


def test_without_damping_it_is_the_squared_mahalanobis_distance_of_the_gaussian_mean_model(monkeypatch):
    monkeypatch.setattr(ekfac, "DAMPING", 0)
    generator = torch.Generator().manual_seed(1)
    x = (
        torch.randn(IMAGES, PIXELS, generator=generator, dtype=torch.float64)
        @ torch.diag(torch.tensor([1.0, 2, 3, 9])).double()
    )
    deviations = x - x.mean(0)
    expected = (deviations @ torch.linalg.inv(torch.cov(x.T, correction=0)) * deviations).sum(1)
    torch.testing.assert_close(self_influence(GaussianMean(x, 0.5), x), expected)


def test_of_independent_rows_and_columns_it_is_the_exact_damped_inverse():
    """With every row beside every column, the Fisher information is a Kronecker product."""
    generator = torch.Generator().manual_seed(2)
    rows, columns = (torch.randn(8, 1, size, generator=generator, dtype=torch.float64) for size in (3, 4))
    factors = Factors(rows.repeat_interleave(8, 0), columns.repeat(8, 1, 1))
    flat = factors.matrices().flatten(1)
    fisher = flat.T @ flat / len(flat)
    damped = fisher + DAMPING * fisher.diagonal().mean() * torch.eye(12)
    curvature = ekfac.fit(lambda: [[("layer", factors)]])["layer"]
    expected = torch.linalg.solve(damped, flat.T).T
    torch.testing.assert_close(curvature.preconditioned(factors.matrices()).flatten(1), expected)
    torch.testing.assert_close(curvature.self_influence(factors), (flat * expected).sum(1))


@pytest.mark.parametrize("places", [1, 6])
def test_by_the_definition_in_numpy(places):
    rng = np.random.default_rng(places)
    rows, columns = (rng.normal(size=(20, places, size)) for size in (3, 2))
    gradients = np.einsum("ntr,ntc->nrc", rows, columns)
    u, v = (np.linalg.eigh(np.einsum("ntr,nts->rs", part, part))[1] for part in (rows, columns))
    squares = (u.T @ gradients @ v) ** 2
    eigenvalues = squares.mean(0)
    expected = (squares / (eigenvalues + 0.1 * eigenvalues.mean())).sum((1, 2))
    factors = Factors(torch.from_numpy(rows), torch.from_numpy(columns))
    blocks = [
        [("a", Factors(factors.rows[:13], factors.columns[:13]))],
        [("a", Factors(factors.rows[13:], factors.columns[13:]))],
    ]
    curvature = ekfac.fit(lambda: iter(blocks))["a"]
    np.testing.assert_allclose(curvature.self_influence(factors), expected, rtol=1e-10)
    preconditioned = curvature.preconditioned(factors.matrices())
    np.testing.assert_allclose((preconditioned * factors.matrices()).sum((1, 2)), expected, rtol=1e-10)


def test_a_layer_that_the_objective_ignores_adds_nothing():
    nothing = Factors(torch.zeros(5, 1, 2), torch.ones(5, 1, 3))
    assert ekfac.fit(lambda: [[("layer", nothing)]])["layer"].self_influence(nothing).tolist() == [0] * 5


@pytest.mark.filterwarnings("ignore")
def test_it_equals_kronfluence(tmp_path):
    """Of a convolution, a linear layer with a bias and one without, by the empirical Fisher and the same damping."""
    analyzer = pytest.importorskip("kronfluence.analyzer", reason="kronfluence is not installed")
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 3, 3, 2, 1)
            self.hidden, self.last = nn.Linear(27, 6), nn.Linear(6, 36, bias=False)

        def forward(self, x, noise):
            encoded = torch.tanh(self.hidden(torch.tanh(self.convolution(x)).flatten(1)))
            return -(self.last(encoded) - x.flatten(1)).square().sum(1)

    class Objective(Task):
        def compute_train_loss(self, batch, model, sample=False):
            return -model(*batch).sum()

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(60, 1, 6, 6)
    expected = self_influence(model, x, at_once=25)
    data, task = torch.utils.data.TensorDataset(x, torch.zeros(60, 0)), Objective()
    theirs = analyzer.Analyzer(
        "test", analyzer.prepare_model(model, task), task, cpu=True, output_dir=str(tmp_path), disable_tqdm=True
    )
    empirical = FactorArguments(strategy="ekfac", use_empirical_fisher=True)
    theirs.fit_all_factors("factors", data, factor_args=empirical, per_device_batch_size=20)
    theirs.compute_self_scores(
        "scores", "factors", data, score_args=ScoreArguments(damping_factor=None), per_device_train_batch_size=20
    )
    found = theirs.load_self_scores("scores")["all_modules"].flatten()
    torch.testing.assert_close(expected, found, rtol=1e-5, atol=0)
