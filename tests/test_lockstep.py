"""A pack trains each of its models as plain PyTorch would train it alone."""

import copy

import pytest
import torch

from engram.lockstep import Pack
from engram.models import build

SHAPE, CPU = (1, 4, 4), torch.device("cpu")


@pytest.fixture
def models():
    torch.manual_seed(0)
    return [build("bernoulli_mlp_vae", SHAPE, latent_dim=3, hidden=(8, 6)) for _ in range(3)]


def batches(steps, members=3, size=5):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(steps, members, size, *SHAPE, generator=rng).round()
    return list(zip(x, torch.randn(steps, members, size, 3, generator=rng), strict=True))


def train_plainly(model, data, index, rate=0.01):
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for x, noise in data:
        optimizer.zero_grad()
        (-model(x[index], noise[index]).sum()).backward()
        optimizer.step()
    return model.state_dict()


def close(a, b):
    return all(torch.allclose(a[name], b[name], atol=2e-5) for name in b)


def test_a_pack_equals_plain_training_of_each_model(models):
    data = batches(20)
    plain = [train_plainly(model, data, index) for index, model in enumerate(models)]
    pack = Pack(copy.deepcopy(models), 0.01, CPU)
    for x, noise in data:
        pack.step([0, 1, 2], x, noise)
    assert all(close(pack.state(index), plain[index]) for index in range(3))
    assert not close(plain[0], plain[1])


def test_a_model_that_sits_out_a_step_is_not_moved_by_it(models):
    data = batches(6)
    pack = Pack(copy.deepcopy(models), 0.01, CPU)
    for step, (x, noise) in enumerate(data):
        members = [0, 1, 2] if step < 3 else [0, 2]
        pack.step(members, x[members], noise[members])
    assert close(pack.state(1), train_plainly(models[1], data[:3], 1))
    assert close(pack.state(2), train_plainly(models[2], data, 2))


def test_the_loss_is_the_summed_negative_elbo_before_the_step(models):
    (x, noise) = batches(1)[0]
    expected = [-model(x[i], noise[i]).sum().item() for i, model in enumerate(models)]
    assert Pack(models, 0.01, CPU).step([0, 1, 2], x, noise).tolist() == pytest.approx(expected, rel=1e-5)


def test_evaluation_gives_each_models_own_elbo(models):
    (x, noise) = batches(1)[0]
    expected = models[1](x[0], noise[0])
    assert torch.allclose(Pack(models, 0.01, CPU).evaluate(1, x[0], noise[0]), expected)


def test_a_restored_state_goes_on_with_the_same_bits(models):
    data = batches(10)
    whole, first, second = (Pack(copy.deepcopy(models), 0.01, CPU) for _ in range(3))
    for x, noise in data:
        whole.step([0, 1, 2], x, noise)
    for x, noise in data[:4]:
        first.step([0, 1, 2], x, noise)
    second.load_training_state({name: value.copy() for name, value in first.training_state().items()})
    for x, noise in data[4:]:
        second.step([0, 1, 2], x, noise)
    assert all(torch.equal(value, whole.state(1)[name]) for name, value in second.state(1).items())
