"""A pack trains each of its models as plain PyTorch would train it alone: weights, and what batch norm remembers.

In float64, where rounding stays far below what any mistake would do.
"""

import copy

import pytest
import torch

import graph_stand_in
from engram.models import build
from engram.training.lockstep import Pack

CPU, LATENT_DIM = torch.device("cpu"), 3
KINDS = {
    "bernoulli_mlp_vae": ((1, 4, 4), {"hidden": (8, 6)}),
    "gaussian_conv_vae": ((1, 32, 32), {"features": 2}),
    "gaussian_conv_vae_scalar_variance": ((1, 32, 32), {"features": 2}),
}


@pytest.fixture(params=KINDS)
def models(request):
    shape, settings = KINDS[request.param]
    torch.manual_seed(0)
    return [build(request.param, shape, latent_dim=LATENT_DIM, **settings).double() for _ in range(3)]


def batches(models, steps, members=3, size=5):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(steps, members, size, *models[0].image_shape, generator=rng).round().double()
    return list(zip(x, torch.randn(steps, members, size, LATENT_DIM, generator=rng).double(), strict=True))


def train_plainly(model, data, index, rate=0.01):
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for x, noise in data:
        optimizer.zero_grad()
        (-model(x[index], noise[index]).sum()).backward()
        optimizer.step()
    return model.state_dict()


def close(a, b):
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], atol=1e-9, rtol=1e-9) for name in b)


def test_a_pack_equals_plain_training_of_each_model(models):
    data = batches(models, 20)
    plain = [train_plainly(model, data, index) for index, model in enumerate(models)]
    pack = Pack(copy.deepcopy(models), 0.01, CPU)
    for x, noise in data:
        pack.step([0, 1, 2], x, noise)
    assert all(close(pack.state(index), plain[index]) for index in range(3))
    assert not close(plain[0], plain[1])


def test_a_pack_of_one_equals_plain_training_too(models):
    data = batches(models, 20)
    pack = Pack([copy.deepcopy(models[1])], 0.01, CPU)
    for x, noise in data:
        pack.step([0], x[1:2], noise[1:2])
    assert close(pack.state(0), train_plainly(models[1], data, 1))


@pytest.mark.parametrize("few", [[0, 2], [2]])
def test_a_model_that_sits_out_a_step_is_not_moved_by_it(models, few):
    data = batches(models, 6)
    pack = Pack(copy.deepcopy(models), 0.01, CPU)
    for step, (x, noise) in enumerate(data):
        members = [0, 1, 2] if step < 3 else few
        pack.step(members, x[members], noise[members])
    assert close(pack.state(1), train_plainly(models[1], data[:3], 1))
    assert close(pack.state(2), train_plainly(models[2], data, 2))


def test_batch_norm_remembers_every_step_of_its_own_model_and_no_evaluation():
    torch.manual_seed(0)
    models = [build("gaussian_conv_vae", (1, 32, 32), latent_dim=LATENT_DIM, features=2).double() for _ in range(3)]
    pack, data = Pack(models, 0.01, CPU), batches(models, 7)
    for members, (x, noise) in zip([[0, 1, 2], [1, 2], [2], [0, 1, 2], [1], [1], [1, 2]], data, strict=True):
        pack.step(members, x[members], noise[members])
        pack.evaluate(0, x[0], noise[0])
    counts = {name: value.tolist() for name, value in pack.buffers.items() if name.endswith("num_batches_tracked")}
    assert len(counts) == 7 and all(count == [2, 6, 5] for count in counts.values())
    means = pack.buffers["encoder.3.running_mean"]
    assert len({tuple(row) for row in means.tolist()}) == 3 and (means != 0).all()


def test_the_loss_is_the_summed_negative_elbo_before_the_step(models):
    (x, noise) = batches(models, 1)[0]
    expected = [-copy.deepcopy(model)(x[i], noise[i]).sum().item() for i, model in enumerate(models)]
    assert Pack(models, 0.01, CPU).step([0, 1, 2], x, noise).tolist() == pytest.approx(expected, rel=1e-5)


def test_evaluation_gives_each_models_own_elbo_as_in_evaluation(models):
    (first, (x, noise)) = batches(models, 2)
    pack = Pack(models, 0.01, CPU)
    pack.step([0, 1, 2], *first)
    model = copy.deepcopy(models[1])
    model.load_state_dict(pack.state(1))
    torch.testing.assert_close(pack.evaluate(1, x[0], noise[0]), model.eval()(x[0], noise[0]))


def test_a_restored_state_goes_on_with_the_same_bits(models):
    data = batches(models, 10)
    whole, first, second = (Pack(copy.deepcopy(models), 0.01, CPU) for _ in range(3))
    for x, noise in data:
        whole.step([0, 1, 2], x, noise)
    for x, noise in data[:4]:
        first.step([0, 1, 2], x, noise)
    second.load_training_state({name: value.copy() for name, value in first.training_state().items()})
    for x, noise in data[4:]:
        second.step([0, 1, 2], x, noise)
    assert all(torch.equal(value, whole.state(1)[name]) for name, value in second.state(1).items())


@pytest.mark.parametrize("members", [3, 1])
def test_replayed_steps_change_weights_moments_and_batch_norm_as_plain_steps_do(models, monkeypatch, members):
    graphs = graph_stand_in.install(monkeypatch)
    plain, replayed = (Pack(copy.deepcopy(models[:members]), 0.01, CPU) for _ in range(2))
    for x, noise in batches(models, 12, members):
        expected = plain.step(range(members), x, noise)
        assert torch.equal(replayed._replayed(x, noise), expected)
    assert len(graphs) == 1 and replayed._replayed.usable
    state, wanted = replayed.training_state(), plain.training_state()
    assert all((state[name] == wanted[name]).all() for name in wanted)
