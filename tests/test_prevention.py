"""Prevention during sampling, on mixtures of normals that copy a known share of their samples: each a closed form."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.text import Text

from engram.analyses import prevention, prevention_ways, trade_off
from engram.analyses.inputs import Inputs
from engram.analyses.trade_off import Sets
from engram.config_given import has
from engram.figures.prevention import prevention as draw
from engram.geometry.flipd import flipd, flipd_and_gradient, signs
from engram.models.diffusion import DiffusionModel, alpha_and_sigma, ddim_step
from engram.prevention.dimension import PROBES, anywhere, kept, upwards
from engram.prevention.embedding import lowered, moved_at_random
from engram.prevention.sampling import sampled
from synthetic import Sampler, answered

GAMMAS = torch.linspace(5, -13.3, 26, dtype=torch.float64)
SHAPE, PIXELS, BROAD, TIGHT = (1, 6, 6), 36, 0.3**2, 1e-6


class Mixture(DiffusionModel):
    """Half of the images are copies of `points` (k, *image_shape) and half are normal of variance BROAD; its noise is known."""

    forward = property()  # as if there were none: it is fitted, not trained

    def __init__(self, points):
        super().__init__(tuple(points.shape[1:]), gamma_0=-13.3, gamma_1=5.0, steps=25)
        k = len(points)
        self.register_buffer("mean", torch.cat([points.flatten(1), torch.zeros_like(points[:1]).flatten(1)]).double())
        self.register_buffer("variance", torch.tensor([TIGHT] * k + [BROAD], dtype=torch.float64))
        self.register_buffer("weight", torch.tensor([0.5 / k] * k + [0.5], dtype=torch.float64))

    def predict_noise(self, z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[0])
        variance = alpha**2 * self.variance + sigma**2
        apart = z.flatten(1)[:, None] - alpha * self.mean
        log_density = -0.5 * apart.square().sum(2) / variance - 0.5 * apart.shape[2] * variance.log()
        posterior = torch.softmax(log_density + self.weight.log(), 1)
        return sigma * (posterior / variance)[:, None].matmul(apart).reshape(z.shape)


def normals(n, seed, shape=SHAPE):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def points():
    return BROAD**0.5 * normals(8, 0)


@pytest.fixture(scope="module")
def model(points):
    return Mixture(points)


def is_copy(x, points):
    return (x.flatten(1)[:, None] - points.flatten(1)).norm(dim=2).amin(1) < 0.1 * BROAD**0.5 * PIXELS**0.5


def test_without_change_it_is_ddim(model):
    z = normals(5, 1)
    known = z
    for gamma_t, gamma_s in pairwise(GAMMAS):
        known = ddim_step(known, model.predict_noise(known, gamma_t.expand(5)), gamma_t, gamma_s)
    x = sampled(model.predict_noise, z, GAMMAS)
    assert torch.allclose(x, known / alpha_and_sigma(GAMMAS[-1])[0], atol=1e-2)  # up to the noise at the last gamma
    assert torch.allclose(sampled(model.predict_noise, z, GAMMAS, lambda x, step: x), x)


def test_the_gradient_of_dimension_of_a_normal_distribution():
    """LID at x is a constant plus sigma^2 alpha^2 sum x^2 / (alpha^2 variance + sigma^2)^2 (methods.md O10)."""
    variance, x = torch.linspace(0.01, 2, PIXELS, dtype=torch.float64).reshape(SHAPE), normals(4, 2)

    def predict(z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[0])
        return sigma * z / (alpha**2 * variance + sigma**2)

    alpha, sigma = alpha_and_sigma(torch.tensor(-2.0, dtype=torch.float64))
    total = alpha**2 * variance + sigma**2
    dimension, gradient = flipd_and_gradient(predict, x, -2.0, signs((1, *x.shape), torch.Generator(), x))
    known = (alpha**2 * variance / total + sigma**2 * alpha**2 * x**2 / total**2).flatten(1).sum(1)
    assert torch.allclose(dimension, known)
    assert torch.allclose(gradient, 2 * sigma**2 * alpha**2 * x / total**2)


def test_the_gradient_of_a_mixture_is_that_of_flipd(model, points):
    """By central differences, on the way from a copy to the broad part, where the trace varies, too; the trace is exact."""
    x = 0.7 * points[:2] + 0.3 * points[2:4]
    axes = PIXELS**0.5 * torch.eye(PIXELS, dtype=torch.float64).reshape(PIXELS, 1, *SHAPE).expand(-1, 2, -1, -1, -1)
    dimension, gradient = flipd_and_gradient(model.predict_noise, x, -1.5, axes)
    direction, h = normals(2, 3), 1e-5
    higher, value, lower = (flipd(model.predict_noise, x + step * direction, -1.5).value for step in (h, 0, -h))
    assert torch.allclose(dimension, value)
    assert torch.allclose((gradient * direction).flatten(1).sum(1), (higher - lower) / (2 * h), rtol=1e-5)


def test_rejection_removes_the_copies_and_keeps_the_others(model, points):
    x = sampled(model.predict_noise, normals(200, 4), GAMMAS)
    copies = is_copy(x, points)
    assert 60 < copies.sum() < 140
    of_broad = flipd(
        model.predict_noise, BROAD**0.5 * normals(100, 5), -6.2, signs((2, 100, *SHAPE), torch.Generator(), x)
    )
    dimension = flipd(model.predict_noise, x, -6.2, signs((2, *x.shape), torch.Generator(), x)).value
    assert torch.equal(kept(dimension, PIXELS / 2), ~copies)
    by_quantile = kept(dimension, float(of_broad.value.quantile(0.05)))
    assert not (by_quantile & copies).any()
    assert (by_quantile & ~copies).sum() > 0.8 * (~copies).sum()


def thresholds_of(model):
    """The 5 % quantile of LID of fresh images of the broad part, at steps of gamma from 0 to -6.2."""
    x = BROAD**0.5 * normals(200, 6)
    steps = [step for step, gamma in enumerate(GAMMAS.tolist()) if -6.2 <= gamma <= 0]
    return {
        step: float(
            flipd(
                model.predict_noise, x, float(GAMMAS[step]), signs((2, *x.shape), torch.Generator(), x)
            ).value.quantile(0.05)
        )
        for step in steps
    }


def test_guidance_by_dimension_prevents_what_as_long_random_steps_do_not(model, points):
    z, thresholds, predict = normals(200, 7), thresholds_of(model), model.predict_noise
    without = is_copy(sampled(predict, z, GAMMAS), points)
    changes = [way(predict, GAMMAS, thresholds, 0.15, torch.Generator().manual_seed(0)) for way in (upwards, anywhere)]
    moved, at_random = (sampled(predict, z, GAMMAS, change) for change in changes)
    assert is_copy(moved, points)[without].float().mean() < 0.1
    assert is_copy(at_random, points)[without].float().mean() > 0.8
    # What was no copy is none now, and still as the broad part is, if not quite: an image predicted from noise lies nearer to the
    # middle than real ones, its LID is lower, and so it moves, too.
    assert not is_copy(moved, points)[~without].any()
    assert 0.8 * BROAD < moved[~without].square().mean() < 1.5 * BROAD


@pytest.mark.parametrize("way", [upwards, anywhere])
def test_a_threshold_of_as_many_probes_moves_the_share_of_real_images_that_it_states(way):
    """Of a normal distribution of rank 20 in turned axes, whose LIDs of few probes scatter widely. One in twenty."""
    turn = torch.linalg.qr(normals(PIXELS, 11).flatten(1).double()[:, :PIXELS])[0]
    variances = torch.cat([torch.ones(20), torch.full((PIXELS - 20,), 1e-6)]).double()

    def predict(z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[:, None])
        straight = z.flatten(1) @ turn
        return (sigma * straight / (alpha**2 * variances + sigma**2) @ turn.T).reshape(z.shape)

    x = ((variances.sqrt() * normals(4000, 12).flatten(1).double()) @ turn.T).reshape(-1, *SHAPE)
    step = 18
    probes = signs((PROBES, 2000, *SHAPE), torch.Generator().manual_seed(1), x)
    threshold = float(flipd(predict, x[:2000], float(GAMMAS[step]), probes).value.quantile(0.05))
    change = way(predict, GAMMAS, {step: threshold}, 0.1, torch.Generator().manual_seed(2))
    moves = (change(x[2000:], step) != x[2000:]).flatten(1).any(1)
    assert float(moves.double().mean()) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("way", [upwards, anywhere])
def test_only_images_of_low_dimension_move_and_as_far_as_the_strength_says(way, model, points):
    x, step = torch.cat([points[:2] + 1e-4, BROAD**0.5 * normals(2, 8)]), 12
    change = way(model.predict_noise, GAMMAS, {step: PIXELS / 2}, 0.3, torch.Generator().manual_seed(0))
    far = (change(x, step) - x).flatten(1).norm(dim=1)
    distance = 0.3 * float((GAMMAS[step] / 2).exp()) * PIXELS**0.5
    assert far.tolist() == pytest.approx([distance, distance, 0, 0])
    assert torch.equal(change(x, step + 1), x)


def of_embedding(z, gamma, embedding):
    return z + embedding


def as_it_is(z, gamma):
    return z


def test_an_embedding_is_moved_until_its_norm_is_at_the_threshold():
    """The norm is |embedding|, whose gradient never changes here: Adam goes by its rate, 0.05, in every step."""
    z, embedding = torch.zeros(3, 1), torch.tensor([[1.0], [-0.7], [0.4]])
    found = lowered(of_embedding, as_it_is, z, 1.0, embedding, threshold=0.52)
    assert found.steps.tolist() == [10, 4, 0]
    assert found.norm.tolist() == pytest.approx([0.5, 0.5, 0.4], abs=1e-5)
    assert found.embedding.flatten().tolist() == pytest.approx([0.5, -0.5, 0.4], abs=1e-5)
    assert embedding.flatten().tolist() == pytest.approx([1.0, -0.7, 0.4])  # it is left as it was


def test_an_embedding_that_does_not_get_there_is_left_where_it_is():
    found = lowered(of_embedding, as_it_is, torch.zeros(1, 1), 1.0, torch.ones(1, 1), threshold=0.1, most_steps=3)
    assert found.steps.tolist() == [3]
    assert found.norm.tolist() == pytest.approx([0.85])


def test_each_embedding_goes_alone():
    z, embedding = normals(4, 9, (3,)), normals(4, 10, (2, 3))

    def predict(z, gamma, embedding):
        return (embedding[:, 0] * z).sin() + embedding[:, 1]

    together = lowered(predict, as_it_is, z, 1.0, embedding, threshold=0.3)
    for row in range(4):
        alone = lowered(predict, as_it_is, z[[row]], 1.0, embedding[[row]], threshold=0.3)
        assert torch.allclose(together.embedding[[row]], alone.embedding)
    assert (together.norm <= 0.3).all() and len({*together.steps.tolist()}) > 1


def test_an_embedding_moved_at_random_goes_as_far_as_it_should():
    embedding, distance = normals(3, 11, (2, 5)), torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    moved = moved_at_random(embedding, distance, torch.Generator().manual_seed(0))
    assert (moved - embedding).flatten(1).norm(dim=1).tolist() == pytest.approx(distance.tolist())


@pytest.fixture(scope="module")
def unet():
    pytest.importorskip("diffusers", reason="the U-Net is diffusers'")
    from engram.models.unet_diffusion import UNetDiffusion

    torch.manual_seed(0)
    model = UNetDiffusion((1, 4, 4), channels=(4, 8), classes=3).eval()
    model.unet.class_embedding.weight.data *= 5  # an untrained network says little of the class
    return model.requires_grad_(False)


def test_class_embeddings_of_a_unet_are_those_of_its_table(unet):
    from engram.prevention.class_embedding import class_embeddings, given_embedding

    z, gamma, label = torch.randn(5, 1, 4, 4), torch.full((5,), 1.0), torch.tensor([2, 0, 1, 1, 2])
    embedding, predict = class_embeddings(unet, label), given_embedding(unet)
    assert torch.allclose(predict(z, gamma, embedding), unet.predict_noise(z, gamma, label), atol=1e-6)
    swapped = predict(z, gamma, embedding.flip(0))
    assert torch.allclose(swapped, unet.predict_noise(z, gamma, label.flip(0)), atol=1e-6)
    before = lowered(predict, unet.predict_noise, z, 5.0, embedding, threshold=1e9)
    after = lowered(predict, unet.predict_noise, z, 5.0, embedding, threshold=0.0, most_steps=20)
    assert (after.norm < before.norm).all() and before.steps.tolist() == [0] * 5 and after.steps.tolist() == [20] * 5
    known = (unet.predict_noise(z, gamma + 4, label) - unet.predict_noise(z, gamma + 4)).flatten(1).norm(dim=1)
    assert torch.allclose(before.norm, known, atol=1e-6)


def test_the_trade_off_of_a_hand_case(monkeypatch):
    """On a line: training images 0, 10 and a copy of 10; held out 2 and 6."""
    monkeypatch.setattr(trade_off, "SET", 2)
    training, held_out = np.array([[0.0], [10], [10.1]]), np.array([[2.0], [6]])
    samples = np.array([[1.0], [4], [9], [3]])
    found = trade_off.judged(samples, Sets(training, held_out, np.array([0, 1, 1])))
    assert found.ratio == pytest.approx([1 / 9, 4 / 6, 1 / 9, 3 / 7])
    assert found.owner.tolist() == [0, 0, 1, 0] and found.distance.tolist() == pytest.approx([1, 2, 3, 1])
    numbers = trade_off.trade_off(found, held_out)
    assert numbers.copies.estimate == 500 and numbers.near_copies.estimate == 750
    assert 100 < numbers.copies.low < 500 < numbers.copies.high < 900
    assert numbers.distance.estimate == pytest.approx(7 / 4)
    # 2 and 6 are 1 and 2 from {1, 4}, 1 and 3 from {9, 3}.
    assert numbers.coverage.estimate == pytest.approx((1.5 + 2) / 2)
    one = trade_off.trade_off(found.some(np.array([True, False, False, False])), held_out)
    assert one.copies.estimate == 1000 and np.isnan(one.coverage.estimate) and np.isnan(one.distance.low)
    nothing = trade_off.trade_off(found.some(np.zeros(4, bool)), held_out)
    assert np.isnan([each.estimate for each in nothing]).all()


def dataset_of(points, held_out):
    """Of the points, and as many others, to train on; held-out images come from the broad part."""
    x = torch.cat([points, BROAD**0.5 * normals(len(points), 20), BROAD**0.5 * normals(held_out, 21)])
    images = (255 * (x.clamp(-1, 1) + 1) / 2).round().byte().flatten(1).numpy()
    split = (np.arange(len(images)) >= 2 * len(points)).astype(np.int8)
    variables = {"images": (("sample", "pixel"), images), "split": (("sample",), split)}
    variables["label"] = (("sample",), np.zeros(len(images), np.int16))
    return xr.Dataset(variables, attrs={"image_shape": SHAPE, "dataset": "normals", "dataset_sha256": "0"})


def asked(dataset, model, features=None) -> Inputs:
    scores = {"exact": xr.Dataset({"epoch": (("epoch",), [1])})}
    return Inputs("normals", 1, scores, dataset, lambda epoch: model, features=features)


@pytest.fixture(scope="module")
def found(points):
    """The analysis of a mixture, of few samples, as its artifact holds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prevention, "SAMPLES", 200)
        patch.setattr(prevention, "CHANGED", 100)
        patch.setattr(prevention, "STRENGTHS", (0.05, 0.15))
        patch.setattr(prevention, "WITH_DIMENSION", 50)
        patch.setattr(prevention_ways, "PROBES", 2)
        answer = prevention.analyse(asked(dataset_of(points, 240), Mixture(points)))
    return answered(answer).assign_attrs(lacking=json.dumps(dict(answer.lacking)))


def of(found, way, name="copies"):
    """A number of a way, by strength."""
    rows = found.isel(setting=found["way"].values == way)
    return dict(zip(rows["strength"].values.tolist(), rows[name].values.tolist(), strict=True))


def test_the_analysis_counts_copies_with_and_without_prevention(found):
    assert of(found, "none")[0.0] == pytest.approx(500, abs=150)
    assert of(found, "real images") == {0.0: 0.0} and of(found, "real images", "kept") == {0.0: 120}
    rejected, at_random = of(found, "rejection"), of(found, "rejection at random")
    assert rejected[0.75] == 0 and rejected[0.25] < rejected[0.1] < of(found, "none")[0.0]
    assert of(found, "rejection", "kept") == of(found, "rejection at random", "kept")
    assert all(copies > 300 for copies in at_random.values())
    assert of(found, "rejection by held-out images")[0.05] == 0
    assert of(found, "rejection by held-out images", "kept")[0.05] > 60
    guided, steps_at_random = of(found, "guidance"), of(found, "guidance at random")
    assert guided[0.15] < 100 < guided[0.05] and min(steps_at_random.values()) > 350
    assert "embedding" not in found["way"].values


def test_the_same_noise_is_shown_under_every_way(found, points):
    rows = found["shown_row"].values.tolist()
    assert rows == ["nearest training image", "no prevention", "guidance 0.05", "guidance 0.15"]
    training, without = found["picture"].values[:2].astype(float)
    assert np.abs(training - without).mean() < 2  # grey levels: all that are shown are copies
    assert np.isnan(found["shown_ratio"].values[0]).all() and (found["shown_ratio"].values[1] < 1 / 3).all()
    copies = found["ratio"].values < 1 / 3
    assert of(found, "none")[0.0] == 1000 * copies.mean()
    assert found["dimension"].values[copies].max() < found["dimension"].values[~copies].min()


def test_the_figure_shows_it(found, points):
    words = {text.get_text() for text in draw(found, dataset_of(points, 2)).findobj(Text)}
    assert {"guidance at random", "no prevention", "copies per 1,000 samples"} <= words
    assert any("kept)" in word for word in words)


def test_what_it_cannot_have_is_said(points, tmp_path):
    model, dataset = Mixture(points), dataset_of(points, 20)
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(dataset.sizes["sample"], 3)))
    narrow = Mixture(points)
    narrow.gamma_0 = -4.0
    cases = [
        ("a model that predicts noise", asked(dataset, Sampler(np.zeros((1, *SHAPE), np.float32)))),
        ("gamma from -4.3 to 0.0; this one learned -4 to 5", asked(dataset, narrow)),
        ("features come from the file", asked(dataset, model, str(tmp_path / "features.npy"))),
        ("fewer than two test images", asked(dataset_of(points, 1), model)),
        (
            "copies of one another",
            asked(dataset_of(points[:1].expand(3, *SHAPE) * 0, 20).isel(sample=[0, 1, 2, *range(6, 26)]), model),
        ),
    ]
    for words, given in cases:
        answer = prevention.analyse(given)
        assert words in answer.lacking["prevention"]
        found = answered(answer).assign_attrs(lacking=json.dumps(dict(answer.lacking)))
        assert found.sizes["setting"] == 0
        assert "No prevention:" in draw(found, dataset).findobj(Text)[0].get_text()


def test_a_unet_with_classes_has_ways_by_its_embeddings(unet, monkeypatch):
    source = prevention_ways.Source(unet, (1, 4, 4), 1, "classes")
    assert (
        source.has_embeddings and not prevention_ways.Source(Mixture(normals(1, 0)), SHAPE, 1, "normals").has_embeddings
    )
    assert source.label(1000)[:300].tolist() == source.label(300).tolist() and {*source.label(300)} == {0, 1, 2}
    monkeypatch.setattr(prevention_ways, "STEPS", 3)
    ways = dict(zip(["plain", "without"], [prevention_ways.plain, prevention_ways.without_class], strict=True))
    norm = 0.5 * source.guidance_norm(4)
    ways |= {"moved": prevention_ways.embedded(norm), "as far": prevention_ways.embedded_at_random(norm)}
    ways["not moved"] = prevention_ways.embedded(1e9)
    pictures = {name: source.images(4, name, way) for name, way in ways.items()}
    assert np.abs(pictures["plain"].astype(int) - pictures["not moved"]).max() <= 1
    for one, other in pairwise(("plain", "without", "moved", "as far")):
        assert (pictures[one] != pictures[other]).any()


@pytest.mark.parametrize(
    ("name", "there"), [("unet_diffusion", True), ("flow", False), ("ppca", False), ("my_model:Own", True)]
)
def test_experiments_of_other_families_go_without(name, there):
    experiment = {"model": {"name": name}, "membership": {"design": "k_fold", "repeats": 2}, "training": {}}
    assert ("denoiser" in has(experiment, {})) == there
