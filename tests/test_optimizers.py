"""Steps, schedules and averages are those of torch's own optimizers, schedulers and AveragedModel, in float64."""

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engram.errors import UserError
from engram.models import build
from engram.training.lockstep import Pack
from engram.training.optimizers import Optimizer
from engram.training.plan import Plan
from engram.training.schedules import kl_weight, learning_rate
from engram.training.state import StateFolder
from engram.training.training import Training

CPU, STEPS, BATCH = torch.device("cpu"), 12, 5
OURS_AND_TORCHS = {  # plain Adam: tests/test_lockstep.py
    "adam": (Optimizer(weight_decay=0.3), torch.optim.Adam, {"weight_decay": 0.3}),
    "adamw": (Optimizer("adamw", weight_decay=0.3), torch.optim.AdamW, {"weight_decay": 0.3}),
    "sgd": (Optimizer("sgd"), torch.optim.SGD, {}),
    "sgd with momentum": (
        Optimizer("sgd", weight_decay=0.1, momentum=0.9),
        torch.optim.SGD,
        {"weight_decay": 0.1, "momentum": 0.9},
    ),
}


@pytest.fixture
def models():
    torch.manual_seed(0)
    return [build("bernoulli_mlp_vae", (1, 3, 3), latent_dim=2, hidden=(8, 6)).double() for _ in range(3)]


@pytest.fixture
def data():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(STEPS, 3, BATCH, 1, 3, 3, generator=rng).round().double()
    return list(zip(x, torch.randn(STEPS, 3, BATCH, 2, generator=rng).double(), strict=True))


def plainly(model, data, index, optimizer, after_backward=lambda model: None, after_step=lambda model: None):
    """Plain PyTorch: the mean of -ELBO over the batch, backward, step."""
    for x, noise in data:
        optimizer.zero_grad()
        (-model(x[index], noise[index])).mean().backward()
        after_backward(model)
        optimizer.step()
        after_step(model)
    return dict(model.named_parameters())


def packed(models, data, optimizer, learning_rate=0.01):
    pack = Pack(copy.deepcopy(models), learning_rate, CPU, optimizer)
    for x, noise in data:
        pack.step([0, 1, 2], x, noise)
    return pack


def close(ours, plain):
    return all(torch.allclose(ours[name], value, rtol=1e-6, atol=1e-7) for name, value in plain.items())


@pytest.mark.parametrize("name", OURS_AND_TORCHS)
def test_an_optimizer_steps_as_torchs_does_on_the_mean_loss(models, data, name):
    optimizer, torchs, settings = OURS_AND_TORCHS[name]
    pack, moved = packed(models, data, optimizer), copy.deepcopy(models)
    for index, model in enumerate(moved):
        assert close(pack.state(index), plainly(model, data, index, torchs(model.parameters(), lr=0.01, **settings)))
    assert not close(pack.state(0), dict(models[0].named_parameters()))


@pytest.mark.parametrize("most", [0.01, 1e6])
def test_clipping_is_that_of_clip_grad_norm(models, data, most):
    pack = packed(models, data, Optimizer("sgd", gradient_clipping=most), 0.1)

    def clip(model):
        torch.nn.utils.clip_grad_norm_(model.parameters(), most)

    for index, model in enumerate(models):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        assert close(pack.state(index), plainly(model, data, index, optimizer, after_backward=clip))


def test_averages_are_those_of_torchs_averaged_model_and_are_what_is_kept(models, data):
    pack = packed(models, data, Optimizer("sgd", ema_decay=0.8), 0.1)
    for index, model in enumerate(models):
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8))
        plain = plainly(
            model, data, index, torch.optim.SGD(model.parameters(), lr=0.1), after_step=averaged.update_parameters
        )
        assert close(pack.state(index), dict(averaged.module.named_parameters()))
        assert not close(pack.state(index), plain)
        x, noise = data[0][0][0], data[0][1][0]
        torch.testing.assert_close(pack.evaluate(index, x, noise), averaged.module(x, noise).detach())


def test_a_model_that_sits_out_a_step_keeps_its_average(models, data):
    pack = packed(models, data[:3], Optimizer("sgd", ema_decay=0.8), 0.1)
    before = {name: value.clone() for name, value in pack.state(1).items()}
    pack.step([0, 2], *(part[[0, 2]] for part in data[3]))
    assert close(pack.state(1), before)


@pytest.mark.parametrize("progress", [0, 0.125, 0.5, 0.875, 1])
def test_a_schedule_follows_torchs_from_the_first_step_to_the_last(progress):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    schedulers = {
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8),
        "linear": torch.optim.lr_scheduler.LinearLR(
            torch.optim.SGD([weight], lr=0.3), start_factor=1, end_factor=0, total_iters=8
        ),
    }
    for name, scheduler in schedulers.items():
        for _ in range(int(8 * progress)):
            scheduler.optimizer.step()
            scheduler.step()
        assert learning_rate(name, 0.3, progress) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
    assert learning_rate("constant", 0.3, progress) == 0.3


def test_the_divergences_weight_rises_to_one_and_stays_there():
    assert [kl_weight(epochs, 4) for epochs in (0, 1, 4, 9)] == [0, 0.25, 1, 1]


def images():
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (23, 9), generator=rng, dtype=torch.uint8)


def plan(**changes):
    settings = {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": (8, 6)}
    rows = [torch.arange(20).numpy(), torch.arange(3, 23).numpy()]
    held_out = [torch.arange(20, 23).numpy(), torch.arange(3).numpy()]
    fixed = ("e", "repeat-00", settings, (1, 3, 3), 2, 8, 0.1, [2], 42, [0, 1], rows, held_out)
    return Plan(*fixed, **changes)


def test_a_training_sets_the_rates_of_every_step_by_how_much_has_been_seen(monkeypatch, tmp_path):
    rates = []
    set_rates = Pack.set_rates
    monkeypatch.setattr(Pack, "set_rates", lambda self, *given: (rates.append((self, *given)), set_rates(self, *given)))
    Training(plan(learning_rate_schedule="linear", kl_warm_up=1), images()).run(StateFolder(tmp_path, "f"))
    first = [given[1:] for given in rates if given[0] is rates[0][0]]
    # 20 images in batches of 8 for two epochs: steps begin after 0, 8, 16, 20, 28 and 36 of 40 images.
    shares = [0, 0.2, 0.4, 0.5, 0.7, 0.9]
    assert [rate for rate, _ in first] == pytest.approx([0.1 * (1 - share) for share in shares])
    assert [weight for _, weight in first] == pytest.approx([0, 0.4, 0.8, 1, 1, 1])


def test_the_objective_of_a_model_that_warms_up_counts_the_divergence_for_its_weight(models, data):
    model, (x, noise) = models[0], (part[0] for part in data[0])
    mean, log_variance = model.encode(x)
    z = mean + torch.exp(log_variance / 2) * noise
    normal = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).sum(1)
    expected = model.log_prob_given_latent(x, z) - 0.3 * divergence
    torch.testing.assert_close(model(x, noise, kl_weight=0.3), expected)


def test_a_model_without_a_weight_for_the_divergence_cannot_warm_up():
    class Flow(torch.nn.Linear):
        def forward(self, x, noise):
            return x

    trained = Training(plan(), images())
    trained.plan = plan(kl_warm_up=3)
    with pytest.raises(UserError, match=r"kl_warm_up is 3, but the forward\(x, noise\) of Flow takes no kl_weight"):
        trained._require_warm_up(Flow(1, 1))
