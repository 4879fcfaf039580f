"""What runs on a GPU keeps its tensors there: tried on torch's device "meta", whose tensors have shapes but no values.

There nothing can be read back, and the operations below may not mix devices. What is computed is for the other tests.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engram import randomness
from engram.likelihood import evaluation
from engram.models import build
from engram.training import batches, training
from engram.training.lockstep import Pack
from engram.training.plan import Plan
from engram.training.training import Training

OTHER, LATENT_DIM = torch.device("meta"), 4
KINDS = {
    "bernoulli_mlp_vae": ((1, 8, 8), {"hidden": (16, 8)}),
    "bernoulli_conv_vae": ((1, 32, 32), {"features": 2}),
    "gaussian_conv_vae": ((3, 32, 32), {"features": 2}),
    "gaussian_conv_vae_scalar_variance": ((3, 32, 32), {"features": 2}),
    "logistic_mixture_conv_vae": ((3, 32, 32), {"features": 2}),
}
BRINGS = {"_to_copy", "index", "index_put_"}  # to the device, or by an index from the CPU


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; with `closed` also those that bring something to the device."""

    def __init__(self, closed: bool = False):
        super().__init__()
        self.may_bring = set() if closed else BRINGS
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, results = function._schema.name.split("::")[1], function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, results)) if isinstance(leaf, torch.Tensor)]
        mixed = len({tensor.device for tensor in tensors}) > 1
        assert name in self.may_bring or not mixed, f"{name} mixes devices"
        self.operations += not function.is_view
        return results


@pytest.fixture(params=KINDS)
def kind(request):
    shape, settings = KINDS[request.param]
    return {"name": request.param, "latent_dim": LATENT_DIM, **settings}, shape


@pytest.fixture(autouse=True)
def _streams_of_the_other_device(monkeypatch):
    """torch has no generator of random numbers on "meta", and takes the CPU's."""
    for module in (evaluation, training, batches):
        monkeypatch.setattr(module, "torch_generator", lambda device, *name: randomness.torch_generator("cpu", *name))


def pack_and_batches(kind, models):
    model, shape = kind
    pack = Pack([build(image_shape=shape, **model) for _ in range(models)], 0.01, OTHER)
    return pack, torch.zeros(models, 5, *shape, device=OTHER), torch.zeros(models, 5, LATENT_DIM, device=OTHER)


@pytest.mark.parametrize("models", [3, 1])
def test_a_step_of_a_whole_pack_needs_nothing_from_the_cpu_so_that_a_graph_can_record_it(kind, models):
    pack, x, noise = pack_and_batches(kind, models)
    with OneDevice(closed=True):
        assert pack.step(range(models), x, noise).device == OTHER


def test_a_step_of_ten_models_takes_as_many_operations_as_one_of_two(kind):
    counts = []
    for models in (2, 10):
        pack, x, noise = pack_and_batches(kind, models)
        with OneDevice() as counted:
            pack.step(range(models), x, noise)
        counts.append(counted.operations)
    assert counts[0] == counts[1]


def test_a_step_of_some_models_and_an_evaluation_stay_on_the_device(kind):
    pack, x, noise = pack_and_batches(kind, 3)
    with OneDevice():
        pack.step([0, 2], x[:2], noise[:2])
        assert pack.evaluate(1, x[1], noise[1]).device == OTHER


@pytest.mark.parametrize("augmentation", ["none", "horizontal_flip"])
def test_what_a_block_of_training_sees_is_drawn_on_the_device(kind, augmentation):
    model, shape = kind
    plan = Plan(
        experiment="e",
        repeat="repeat-00",
        model=model,
        image_shape=shape,
        epochs=1,
        batch_size=4,
        learning_rate=0.01,
        scored_epochs=[],
        seed=1,
        folds=[0, 1, 2],
        trained_on=[np.arange(9)] * 3,
        held_out=[np.arange(0)] * 3,
        augmentation=augmentation,
    )
    run = Training(plan, torch.zeros(9, int(np.prod(shape)), dtype=torch.uint8, device=OTHER))
    assert len(run.packs) == 1
    with OneDevice():
        x, normals = run.batches.of_block(1, np.arange(9), 0, 0)
    assert x.device == normals.device == OTHER and len(x) == len(normals) == 9


@pytest.mark.parametrize("proposal", ["encoder", "laplace"])
@pytest.mark.parametrize("observation", ["fixed", "resampled"])
def test_an_estimate_stays_on_the_device(kind, proposal, observation, monkeypatch):
    model, shape = kind
    found = []

    def keep(*arguments, **settings):
        found.append(estimate(*arguments, **settings))
        raise Kept

    estimate = evaluation.estimate
    monkeypatch.setattr(evaluation, "estimate", keep)
    estimator = {"proposal": proposal, "samples": 32, "observation": observation}
    settings = evaluation.Evaluation(estimator, shape, (42, "toy"), OTHER)
    images = np.zeros((6, int(np.prod(shape))), dtype=np.uint8)
    with OneDevice(), pytest.raises(Kept):
        networks = [build(image_shape=shape, **model).eval()]
        evaluation.evaluate(settings, networks, [("e", 0, 0, 1)], images)
    assert all(value.device == OTHER and len(value) == 6 for value in vars(found[0]).values())


class Kept(Exception):
    """The estimate has been seen; its values could not be read from this device."""
