"""What requests count of flows and diffusion models, against the networks themselves, and how the requests follow."""

import inspect

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engram.models import build, diffusion
from engram.models.building import class_named
from engram.runtime import model_costs, requests
from engram.runtime.model_costs import cost

LIBRARY = {"flow": "zuko", "unet_diffusion": "diffusers"}  # of an extra
CASES = [
    ({"name": "unet_diffusion"}, (1, 16, 32)),
    ({"name": "unet_diffusion", "channels": [16, 32, 8], "layers": 2}, (3, 16, 16)),
    ({"name": "unet_diffusion", "channels": [24]}, (1, 9, 7)),
    ({"name": "unet_diffusion", "classes": 10, "label_dropout": 0.2, "sampler": "ddim"}, (1, 8, 8)),
    ({"name": "flow"}, (1, 8, 8)),
    ({"name": "flow", "transforms": 3, "hidden": [17, 9, 30]}, (1, 5, 5)),
    ({"name": "flow", "transforms": 5, "hidden": [64]}, (3, 8, 8)),
]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    model, shape = request.param
    pytest.importorskip(LIBRARY[model["name"]], reason=f"the extra that {model['name']} needs is not installed")
    return build(image_shape=shape, **model), cost(model, shape), torch.zeros(4, *shape)


def forward(network, x):
    return network.predict_noise(x, torch.zeros(len(x))) if hasattr(network, "unet") else network.log_prob(x)


def test_weights_and_multiply_adds_are_those_of_the_network(case):
    network, counted, x = case
    assert counted.parameters == sum(value.numel() for value in network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(network, x)
    assert counted.multiply_adds == counter.get_total_flops() / 2 / len(x)


def test_what_training_keeps_of_an_image_is_counted_within_a_quarter(case):
    network, counted, x = case
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(network, x)
    weights = {value.untyped_storage().data_ptr() for value in network.parameters()}
    numbers = sum(t.untyped_storage().nbytes() // 4 for place, t in kept.items() if place not in weights)
    assert numbers / len(x) <= 1.05 * counted.kept <= 1.25 * 1.05 * numbers / len(x)


@pytest.mark.parametrize("name", model_costs.COUNTED)
def test_settings_that_are_not_given_are_the_models_own(name):
    own = inspect.signature(class_named(name)).parameters
    counted = inspect.signature(model_costs.COUNTED[name]).parameters
    defaults = {key: value.default for key, value in counted.items() if value.default is not inspect.Parameter.empty}
    assert defaults == {key: own[key].default for key in defaults} and defaults


DIFFUSION = {
    "model": {"name": "unet_diffusion"},
    "training": {"epochs": 40, "batch_size": 64},
    "membership": {"design": "half_split", "repeats": 8},
    "scored_epochs": [40],
}
BOUND = {"proposal": "bound", "samples": 64}
SMALL, LARGE = (7500, 1, 16, 16), (7500, 1, 32, 32)


def seconds(minutes):
    return (minutes - 10) * 60 / 3


def test_a_diffusion_model_asks_by_its_multiply_adds():
    small = seconds(requests.train_minutes(DIFFUSION, "full", SMALL, 1))
    work = cost(DIFFUSION["model"], SMALL[1:])
    assert small == pytest.approx(7500 * 40 * 3 * work.multiply_adds / work.rate, abs=20)
    once = seconds(requests.likelihood_minutes(DIFFUSION, BOUND, "repeat-00", SMALL, 1))
    assert once == pytest.approx(7500 * 2 * 64 * work.multiply_adds / work.rate, abs=20)
    # Convolutions cost by pixel; draws and samples one for one.
    for other in (
        seconds(requests.likelihood_minutes(DIFFUSION, BOUND, "repeat-00", LARGE, 1)),
        seconds(requests.likelihood_minutes(DIFFUSION, BOUND | {"draws": 4}, "repeat-00", SMALL, 1)),
        seconds(requests.likelihood_minutes(DIFFUSION, BOUND | {"samples": 256}, "repeat-00", SMALL, 1)),
    ):
        assert other == pytest.approx(4 * once, rel=0.02, abs=80)


def test_an_exact_flow_asks_for_one_pass_an_image():
    flow = DIFFUSION | {"model": {"name": "flow", "transforms": 40, "hidden": [4096, 4096]}}
    work = cost(flow["model"], LARGE[1:])
    exact = seconds(requests.likelihood_minutes(flow, {"proposal": "exact"}, "full", LARGE, 1))
    assert exact == pytest.approx(7500 * work.multiply_adds / work.rate, abs=20)


def test_memory_covers_a_batch_on_its_way_back_and_the_samples_of_a_bound():
    ask = [
        requests.train_megabytes(DIFFUSION | {"training": {"epochs": 1, "batch_size": b}}, "full", LARGE, 1)
        for b in (64, 128)
    ]
    assert ask[1] - ask[0] >= 4 * 64 * cost(DIFFUSION["model"], LARGE[1:]).kept / 1e6
    few, many = (
        requests.likelihood_megabytes(DIFFUSION, BOUND | {"samples": samples}, "full", LARGE, 1)
        for samples in (64, 64_000)
    )
    assert many - few > 8 * 4 * 63_000 * 1024 / 1e6
    assert requests.AT_ONCE == diffusion.PIXELS_AT_ONCE


def test_other_models_are_not_counted():
    assert cost({"name": "bernoulli_mlp_vae", "hidden": [8]}, (1, 8, 8)) is None
    assert cost({"name": "my_models:Mine", "channels": 3}, (1, 8, 8)) is None
