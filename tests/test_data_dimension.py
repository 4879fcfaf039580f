"""Dimension of data: scikit-dimension's values, manifolds of known dimension, and how often standard errors cover the truth."""

import numpy as np
import pytest

from engram.geometry import data_dimension
from engram.geometry.data_dimension import (
    centred_grams,
    local_two_nn,
    maximum_likelihood,
    pooled,
    principal_components,
    simplex_skewness,
    two_nn,
    two_nn_maximum_likelihood,
)
from engram.geometry.nearest import nearest_different


def ball(rng, n, dimension, ambient):
    """Evenly in a ball of some dimensions, which lies askew in more."""
    direction = rng.normal(size=(n, dimension))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = direction * rng.random((n, 1)) ** (1 / dimension)
    return points @ np.linalg.qr(rng.normal(size=(ambient, dimension)))[0].T


def sphere(rng, n, dimension, ambient):
    points = rng.normal(size=(n, dimension + 1))
    return np.pad(points / np.linalg.norm(points, axis=1, keepdims=True), ((0, 0), (0, ambient - dimension - 1)))


def shapes(points, k=100):
    grams = list(centred_grams(points, nearest_different(points, k).index))
    skewness = [simplex_skewness(gram) for gram in grams]
    values = np.concatenate([each.value for each in skewness]), np.concatenate([each.standard_error for each in skewness])
    return *values, np.concatenate([principal_components(gram) for gram in grams])


# What scikit-dimension 0.5.0 says of its own hyperBall(n=1000, d=5, random_state=0) in ten dimensions, and of hyperSphere(1000, 5).
BALL = {"mle": 4.4965, "two_nn": 4.6418, "two_nn_mle": 4.6836, "ess": 4.7208, "pca": 5}
SPHERE = {"mle": 4.7505, "two_nn": 4.7483, "ess": 5.2719}


@pytest.mark.parametrize("name, known", [("hyperBall", BALL), ("hyperSphere", SPHERE)])
def test_values_are_those_of_scikit_dimension(name, known):
    skdim = pytest.importorskip("skdim", reason="needs the extra geometry")
    points = getattr(skdim.datasets, name)(n=1000, d=5, random_state=0)
    points = np.hstack([points, np.zeros((1000, 10 - points.shape[1]))])
    nearest = nearest_different(points, 100)
    skewness, _, components = shapes(points)
    distance = nearest.distance[:, :20]
    found = {
        "mle": pooled(maximum_likelihood(distance).value),
        "two_nn": two_nn(nearest.distance),
        "two_nn_mle": two_nn_maximum_likelihood(nearest.distance),
        "ess": skewness.mean(),
        "pca": np.median(components),
    }
    for estimator, value in known.items():
        assert found[estimator] == pytest.approx(value, abs=5e-5)
    theirs = skdim.id.MLE().fit_transform_pw(points, n_neighbors=20) if hasattr(skdim.id.MLE, "fit_transform_pw") else None
    assert theirs is None or len(theirs)
    assert two_nn(nearest.distance) == pytest.approx(skdim.id.TwoNN().fit(points).dimension_, rel=1e-12)
    few = slice(0, 150)
    some = points[few]
    theirs = skdim.id.ESS(random_state=0).fit(some).dimension_pw_
    np.testing.assert_allclose(shapes(some)[0], theirs, rtol=1e-9)
    theirs = skdim.id.lPCA().fit_pw(some, n_neighbors=100).dimension_pw_
    np.testing.assert_array_equal(shapes(some)[2], theirs)
