"""Models fitted in closed form: their log p, and what they memorize, are those of formulas that need no model.

Leave one image of n out, fit to the others, and compare log p of that image under both densities.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity

from engram.errors import UserError
from engram.models import build
from engram.models.observations import to_pixels

SHAPE, D, N = (1, 2, 2), 4, 40


@pytest.fixture
def x(rng) -> torch.Tensor:
    mixed = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D)
    return torch.from_numpy(mixed).reshape(N, *SHAPE)


def fitted(x, name, **settings):
    model = build(name, tuple(x.shape[1:]), **settings)
    model.fit(x)
    return model


def memorized(x, name, **settings) -> np.ndarray:
    """log p of each image under the model of all minus that under the model of the others."""
    together = fitted(x, name, **settings).log_prob(x)
    others = [torch.arange(len(x)) != i for i in range(len(x))]
    apart = [fitted(x[rest], name, **settings).log_prob(x[i : i + 1]) for i, rest in enumerate(others)]
    return (together - torch.cat(apart)).numpy()


def test_a_normal_of_known_variance_memorizes_by_the_distance_from_the_mean(x):
    rows, variance = x.flatten(1).numpy(), 0.7
    distance = ((rows - rows.mean(0)) ** 2).sum(1)
    expected = (2 * N - 1) * distance / (2 * variance * (N - 1) ** 2)
    np.testing.assert_allclose(
        memorized(x, "gaussian", covariance="spherical", variance=variance), expected, atol=1e-11
    )


def test_a_fitted_normal_memorizes_by_the_mahalanobis_distance(x):
    rows = x.flatten(1).numpy()
    deviations = rows - rows.mean(0)
    h = (deviations @ np.linalg.inv(np.cov(rows.T, bias=True)) * deviations).sum(1)
    left = 1 - h / (N - 1)
    expected = 0.5 * (D * np.log(N / (N - 1)) + np.log(left)) + 0.5 * (N / (N - 1)) * h / left - h / 2
    np.testing.assert_allclose(memorized(x, "gaussian", least_variance=1e-9), expected, atol=1e-9)


@pytest.mark.parametrize("bandwidth", [0.05, 1.0, 20.0])
def test_a_kernel_density_memorizes_by_the_height_of_its_kernel(x, bandwidth):
    height = (2 * math.pi * bandwidth**2) ** (-D / 2)
    rows = x.flatten(1).numpy()
    others = [
        KernelDensity(bandwidth=bandwidth).fit(np.delete(rows, i, 0)).score_samples(rows[[i]])[0] for i in range(N)
    ]
    expected = np.logaddexp(math.log((N - 1) / N), math.log(height / N) - np.array(others))
    np.testing.assert_allclose(memorized(x, "kernel_density", bandwidth=bandwidth), expected, atol=1e-10)
    assert (expected >= math.log((N - 1) / N)).all()


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_normals_log_p_is_scipys(x, covariance):
    model, rows = fitted(x, "gaussian", covariance=covariance, least_variance=1e-9), x.flatten(1).numpy()
    matrix = np.cov(rows.T, bias=True)
    matrix = np.diag(np.diag(matrix)) if covariance == "diagonal" else matrix
    np.testing.assert_allclose(model.log_prob(x), multivariate_normal(rows.mean(0), matrix).logpdf(rows), rtol=1e-10)


def test_no_variance_is_below_the_least_one(x):
    flat = torch.cat([x[..., :1], torch.zeros_like(x[..., 1:])], -1)  # two of four pixels never change
    for name in ("full", "diagonal"):
        model = fitted(flat, "gaussian", covariance=name, least_variance=0.01)
        assert model.variances.min() == 0.01 and (model.variances > 0.01).sum() == 2
        assert model.log_prob(flat).isfinite().all()


@pytest.mark.parametrize("latent_dim", [1, 2, 3])
def test_ppca_is_the_maximum_likelihood_solution_of_its_covariance(x, latent_dim):
    model, rows = fitted(x, "ppca", latent_dim=latent_dim, least_variance=1e-9), x.flatten(1).numpy()
    variances, axes = np.linalg.eigh(np.cov(rows.T, bias=True))
    noise = variances[:-latent_dim].mean()
    weight = axes[:, -latent_dim:] * np.sqrt(variances[-latent_dim:] - noise)
    covariance = weight @ weight.T + noise * np.eye(D)
    log_px = multivariate_normal(rows.mean(0), covariance).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(x), log_px, rtol=1e-10)
    kept = np.log(variances[-latent_dim:]).sum() + (D - latent_dim) * np.log(noise)
    assert log_px.mean() == pytest.approx(-0.5 * (D * math.log(2 * math.pi) + kept + D))
    # scikit-learn divides by n - 1: the same density where the data are n / (n - 1) as wide.
    wider = rows.mean(0) + (rows - rows.mean(0)) * math.sqrt((N - 1) / N)
    np.testing.assert_allclose(PCA(latent_dim).fit(wider).score_samples(rows), log_px, rtol=0.03)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gaussian", {}),
        ("gaussian", {"covariance": "diagonal"}),
        ("gaussian", {"covariance": "spherical", "variance": 2.0}),
        ("ppca", {"latent_dim": 2}),
        ("kernel_density", {"bandwidth": 0.5}),
    ],
)
def test_samples_have_the_densitys_moments(x, name, settings):
    model, rows = fitted(x, name, **settings), x.flatten(1)
    drawn = model.sample(200_000, observation=True, generator=torch.Generator().manual_seed(0))
    covariance = torch.cov(rows.T, correction=0)
    expected = {
        "gaussian": {"diagonal": covariance.diagonal().diag(), "spherical": 2 * torch.eye(D), "full": covariance},
        "kernel_density": covariance + 0.25 * torch.eye(D),
    }
    expected = expected["gaussian"][settings.get("covariance", "full")] if name == "gaussian" else expected.get(name)
    assert drawn.shape == (200_000, *SHAPE)
    torch.testing.assert_close(drawn.flatten(1).mean(0), rows.mean(0), atol=0.05, rtol=0)
    if expected is not None:
        torch.testing.assert_close(torch.cov(drawn.flatten(1).T), expected.double(), atol=0.1, rtol=0.03)
    # The mean log p of a model's own samples is minus its entropy; that of another density's would be lower.
    if name in ("gaussian", "ppca"):
        entropy = (
            0.5 * D * math.log(2 * math.pi * math.e) + 0.5 * torch.linalg.slogdet(torch.cov(drawn.flatten(1).T))[1]
        )
        assert float(model.log_prob(drawn).mean()) == pytest.approx(-float(entropy), abs=0.02)
    means = model.sample(5, generator=torch.Generator().manual_seed(0))
    assert means.shape == (5, *SHAPE) and ((means >= 0) & (means <= 1)).all()


def test_pictures_of_a_kernel_density_are_its_draws_in_grey(x):
    model = fitted(x, "kernel_density", bandwidth=1e-6)
    pictures = model.sample(50, generator=torch.Generator().manual_seed(1))
    grey = to_pixels(x, "logit")
    nearest = (pictures[:, None] - grey[None]).abs().amax((2, 3, 4)).amin(1)
    assert nearest.max() < 1e-5


def test_a_flow_of_two_numbers_integrates_to_one_and_its_samples_follow_it():
    pytest.importorskip("zuko", reason="the extra `flows` is not installed")
    torch.manual_seed(0)
    model = build("flow", (1, 1, 2), transforms=3, hidden=(8,)).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    axis = torch.linspace(-25, 25, 1251, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).reshape(-1, 1, 1, 2)
    with torch.no_grad():
        density = model.log_prob(grid).exp().reshape(1251, 1251)
    assert float(density.sum()) * 0.04**2 == pytest.approx(1, abs=1e-3)
    drawn = model.sample(100_000, observation=True, generator=torch.Generator().manual_seed(0)).flatten(1)
    expected = torch.stack([(density.sum(1) * axis).sum(), (density.sum(0) * axis).sum()]) * 0.04**2
    torch.testing.assert_close(drawn.mean(0).double(), expected, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("gaussian", {"covariance": "half"}, "covariance is 'half'; choose full, diagonal, spherical"),
        ("gaussian", {"least_variance": 0.0}, "must be above 0"),
        ("ppca", {"latent_dim": 4}, "images of 4 pixels take 1 to 3"),
        ("kernel_density", {"bandwidth": -1.0}, "bandwidth is -1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, words):
    with pytest.raises(UserError, match=words):
        build(name, SHAPE, **settings)
