"""Unusual models of one's own, all of them right: they train, resume with the same bits, are stored, loaded and scored."""

import numpy as np
import pytest
import torch
from torch import nn

import right_models
from engram.errors import UserError
from engram.likelihood.estimation import estimate, estimate_to_precision, noise_of_sample
from engram.models import build, observations
from engram.models.protocols import noise_shape
from engram.training import batches, trained, training
from engram.training.plan import Plan
from engram.training.state import StateFolder
from engram.training.training import Training
from interrupted import kill_at_turn

SHAPE, PIXELS, N = (1, 3, 3), 9, 43
NAMES = [model.__name__ for model in right_models.RIGHT]
RANDOM, BRANCHING = {"Dropout", "Sampling"}, {"Branching", "SometimesReached"}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def images() -> torch.Tensor:
    rng = np.random.default_rng(0)
    prototypes = np.array([[255], [0]]) * (np.arange(PIXELS) % 2 == [[0], [1]])
    return torch.from_numpy((0.9 * prototypes[np.arange(N) % 2] + rng.integers(0, 26, (N, PIXELS))).astype(np.uint8))


def plan(name: str, **changes) -> Plan:
    fold_of = np.arange(N) % 3
    return Plan(
        experiment="e",
        repeat="repeat-00",
        model={"name": f"right_models:{name}"},
        image_shape=SHAPE,
        epochs=2,
        batch_size=5,
        learning_rate=0.01,
        scored_epochs=[1, 2],
        seed=42,
        folds=[0, 1, 2],
        trained_on=[np.flatnonzero(fold_of != fold) for fold in range(3)],
        held_out=[np.flatnonzero(fold_of == fold) for fold in range(3)],
        **changes,
    )


def run(plan: Plan, path) -> tuple[Training, StateFolder]:
    folder = StateFolder(path, "f")
    path.mkdir()
    state = Training(plan, images())
    state.run(folder)
    return state, folder


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_it_trains_to_lower_losses_and_twice_to_the_same_bits(name, tmp_path):
    state, folder = run(plan(name, kl_warm_up=1 if name == "WarmedUp" else 0), tmp_path / "a")
    again, same_folder = run(plan(name, kl_warm_up=1 if name == "WarmedUp" else 0), tmp_path / "b")
    assert (state.losses.train[1] < state.losses.train[0]).all()
    assert np.array_equal(state.losses.train, again.losses.train)
    assert same(folder.load("epoch-2"), same_folder.load("epoch-2"))


@pytest.mark.parametrize("name", NAMES)
def test_it_resumes_with_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 3)
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    options = {"ema_decay": 0.9, "learning_rate_schedule": "cosine", "gradient_clipping": 1.0}
    state, folder = run(plan(name, **options), tmp_path / "whole")
    kill_at_turn(monkeypatch, 4, lambda: run(plan(name, **options), tmp_path / "killed"))
    resumed = Training(plan(name, **options), images())
    resumed.run(StateFolder(tmp_path / "killed", "f"))
    assert np.array_equal(resumed.losses.train, state.losses.train)
    for epoch in (1, 2):
        assert same(StateFolder(tmp_path / "killed", "f").load(f"epoch-{epoch}"), folder.load(f"epoch-{epoch}"))


def test_what_is_stored_and_loaded_is_the_trained_model_and_has_a_log_p(name, tmp_path):
    state, folder = run(plan(name), tmp_path / "state")
    trained.write(tmp_path / "models.h5", state, folder, {"experiment": "e"})
    model = trained.load_model(tmp_path / "models.h5", epoch=2, index=1)
    x, noise = state.batches.of_block(1, np.arange(10), 0, 0)
    with torch.no_grad():
        assert torch.equal(model(x, noise), state.packs[1].evaluate(0, x, noise))
    estimates = estimate(model, x, "encoder", samples=8)
    assert estimates.log_px.isfinite().all() and not estimates.fell_back.any()
    assert estimates.log_px.dtype == observations.precision(model) == x.dtype


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's, of operations that vmap takes one by one
@pytest.mark.parametrize("name", sorted(set(NAMES) - RANDOM - BRANCHING))
def test_models_advanced_as_one_are_those_advanced_by_turns(name, tmp_path, monkeypatch):
    separate, _ = run(plan(name), tmp_path / "a")
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    joint, _ = run(plan(name), tmp_path / "b")
    assert (len(separate.packs), len(joint.packs)) == (3, 1)
    np.testing.assert_allclose(joint.losses.train, separate.losses.train, rtol=1e-4)


def test_models_that_vmap_cannot_take_are_trained_by_turns_and_that_is_said(tmp_path, monkeypatch, caplog):
    _, folder = run(plan("Branching"), tmp_path / "a")
    assert not caplog.text
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    by_turns, same_folder = run(plan("Branching"), tmp_path / "b")
    assert len(by_turns.packs) == 3 and same(folder.load("epoch-2"), same_folder.load("epoch-2"))
    assert "trained one at a time" in caplog.text and "data-dependent control flow" in caplog.text
    assert caplog.text.count("\n") == 1


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_randomness_inside_differs_between_models_advanced_as_one_and_is_the_same_again(name, monkeypatch):
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    drawn = []

    def objectives() -> torch.Tensor:
        state = Training(plan(name), images())
        (pack,) = state.packs
        for values in pack.parameters.values():
            values.data[:] = values.data[0].clone()  # three equal models, on the same x and noise
        x, noise = (part.expand(3, *part.shape) for part in state.batches.of_block(0, np.arange(20), 0, 0))
        with training.inside_models(x.device, 42, "a name"):
            return pack.step([0, 1, 2], x, noise).clone()

    drawn = [objectives() for _ in range(2)]
    assert len(set(drawn[0].tolist())) == 3 and torch.equal(*drawn)


def test_a_parameter_that_some_batches_do_not_reach_is_trained_by_those_that_do(tmp_path):
    state, _ = run(plan("SometimesReached"), tmp_path / "a")
    assert all(pack.state(0)["of_bright"].any() for pack in state.packs)


def test_randomness_inside_takes_nothing_from_torchs_generator(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(plan("Dropout"), tmp_path / "a")
    assert torch.equal(torch.rand(3), expected)


def test_frozen_weights_stay_as_they_were_and_tied_ones_stay_tied(tmp_path):
    frozen, _ = run(plan("Frozen"), tmp_path / "a")
    first = frozen._initial_model(0)
    assert torch.equal(frozen.packs[0].state(0)["into.weight"], first.into.weight)
    assert not torch.equal(frozen.packs[0].state(0)["posterior.weight"], first.posterior.weight)
    tied, folder = run(plan("Tied"), tmp_path / "b")
    trained.write(tmp_path / "models.h5", tied, folder, {"experiment": "e"})
    model = trained.load_model(tmp_path / "models.h5", epoch=2)
    assert model.other.bias is model.out.bias and not torch.equal(model.out.bias, tied._initial_model(0).out.bias)
    assert {"other.bias", "out.bias"} & set(folder.load("epoch-2")) == {"out.bias"}


def test_a_hierarchys_own_proposal_gives_the_closed_form_of_its_log_p():
    """x = z1 + noise, z1 = a z2 + noise, z2 ~ N(0, 1), all of one pixel: x ~ N(0, a^2 + s1^2 + s2^2)."""

    class Linear(nn.Module):
        latent_dim, observation, a, s1, s2 = 2, "real", 1.5, 0.7, 0.5

        def __init__(self, misfit: float):
            super().__init__()
            self.misfit = misfit

        def propose(self, x):
            self.x = x.flatten()
            return self

        def draw(self, noise):
            normal, (first, second) = torch.distributions.Normal, noise.transpose(0, 1).unbind(-1)
            prior = self.a**2 + self.s1**2
            total = prior + self.s2**2
            below = normal(self.x * prior / total, self.misfit * (prior * self.s2**2 / total) ** 0.5)
            z1 = below.mean + below.stddev * first
            above = normal(z1 * self.a / prior, self.misfit * self.s1 / prior**0.5)
            z2 = above.mean + above.stddev * second
            joint = normal(0, 1).log_prob(z2) + normal(self.a * z2, self.s1).log_prob(z1)
            return torch.stack([z1, z2], -1), joint - below.log_prob(z1) - above.log_prob(z2)

        def log_prob_given_latent(self, x, z):
            return torch.distributions.Normal(z[..., 0], self.s2).log_prob(x.flatten())

    x = torch.linspace(-4, 4, 9).double().reshape(9, 1, 1, 1)
    deviation = (Linear.a**2 + Linear.s1**2 + Linear.s2**2) ** 0.5
    exact = torch.distributions.Normal(0, deviation).log_prob(x.flatten())
    perfect = estimate(Linear(1.0), x, "encoder", samples=4)
    torch.testing.assert_close(perfect.log_px, exact, rtol=1e-7, atol=1e-7)
    rough = estimate(Linear(1.3), x, "encoder", samples=4000)
    assert ((rough.log_px - exact).abs() < 5 * rough.standard_error).all() and (rough.standard_error > 0).all()
    finer = estimate_to_precision(Linear(1.3), x, 0.02, 4096, "encoder", samples=16)
    assert (finer.standard_error <= 0.02).all() and ((finer.log_px - exact).abs() < 5 * 0.02).all()
    assert estimate(Linear(1.3), x, "laplace").fell_back.all()


def test_a_bound_is_the_mean_of_its_samples_with_the_standard_error_of_a_mean():
    model = build("right_models:Bounded", SHAPE)
    x = (torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    noise = torch.randn(4, 50, 2, 1, generator=torch.Generator().manual_seed(1))
    estimates = estimate(model, x, samples=50, noise=noise)
    elbo = np.array([[model.vae(x[[i]], noise[i, [s], :, 0]).item() for s in range(50)] for i in range(4)])
    np.testing.assert_allclose(estimates.log_px, elbo.mean(1), rtol=1e-5)
    np.testing.assert_allclose(estimates.standard_error, elbo.std(1, ddof=1) / 50**0.5, rtol=1e-4)
    assert noise_of_sample(model, x) == (2, 1) and (estimates.samples == 50).all()
    assert torch.isinf(estimate(model, x, samples=1).standard_error).all()


def test_an_exact_model_is_asked_for_its_own_log_p_in_pixel_space():
    model = build("right_models:Flow", SHAPE)
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    estimates = estimate(model, x)
    standard = torch.distributions.Normal(0, 1).log_prob(x.flatten(1)).sum(1)
    torch.testing.assert_close(estimates.log_px, standard + observations.log_pixel_volume(x, "logit"))
    assert (estimates.standard_error == 0).all() and noise_of_sample(model, x) == noise_shape(model) == (0,)


def test_what_a_model_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "lacking_models.py").write_text(
        "from torch import nn\nclass Network(nn.Module):\n    def __init__(self, image_shape):\n        super().__init__()\n"
        "class Broken(Network):\n    def __init__(self, image_shape):\n        super().__init__(image_shape)\n        1 / 0\n"
        "def function(image_shape): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, words in {
        "Network": r"lacks observation = .* and forward\(x, noise\); see docs/own_model.md",
        "Broken": "lacking_models.py, line 8, in __init__: ZeroDivisionError: division by zero",
        "function": "is no subclass of torch.nn.Module",
        "Networks": "could not be imported",
    }.items():
        with pytest.raises(UserError, match=words):
            build(f"lacking_models:{name}", SHAPE)
