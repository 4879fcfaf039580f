"""Flows and diffusion models in training: they improve, and resume with the same bits; their log p is told for what it is."""

import numpy as np
import pytest
import torch
import xarray as xr

from engram.likelihood import stage
from engram.likelihood.estimation import estimate
from engram.models.building import build
from engram.report.page import A_BOUND, ONE_DRAW, _doubts
from engram.training import batches, trained, training
from engram.training.plan import Plan
from engram.training.state import StateFolder
from engram.training.training import Training
from interrupted import kill_at_turn

SIDE, N = 8, 40
FAMILIES = {
    "flow": ("zuko", {"name": "flow", "transforms": 2, "hidden": (16,)}),
    "unet_diffusion": ("diffusers", {"name": "unet_diffusion", "channels": (8, 8), "gamma_0": -6.0, "steps": 4}),
}
FAMILIES["unet_diffusion of two classes"] = "diffusers", FAMILIES["unet_diffusion"][1] | {"classes": 2}


@pytest.fixture(params=FAMILIES)
def plan(request):
    extra, model = FAMILIES[request.param]
    pytest.importorskip(extra)
    rows = np.arange(N)
    return Plan(
        experiment="e",
        repeat="repeat-00",
        model=model,
        image_shape=(1, SIDE, SIDE),
        epochs=3,
        batch_size=8,
        learning_rate=0.003,
        scored_epochs=[3],
        seed=1,
        folds=[0, 1],
        trained_on=[rows[:20], rows[20:]],
        held_out=[rows[20:], rows[:20]],
        ema_decay=0.9,
    )


def images_and_labels():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, N)
    levels = 200 * (np.arange(SIDE * SIDE) % 2 == label[:, None]) + rng.integers(0, 40, (N, SIDE * SIDE))
    return torch.from_numpy(levels.astype(np.uint8)), label


def test_it_trains_and_resumes_with_the_same_bits_and_has_a_log_p(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 2)
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    whole, killed = (StateFolder(tmp_path / name, "f") for name in ("whole", "killed"))
    for folder in (whole, killed):
        folder.path.mkdir()
    state = Training(plan, *images_and_labels())
    state.run(whole)
    kill_at_turn(monkeypatch, 4, lambda: Training(plan, *images_and_labels()).run(killed))
    Training(plan, *images_and_labels()).run(killed)
    ours, theirs = (folder.load("epoch-3") for folder in (whole, killed))
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert (state.losses.train[-1] < state.losses.train[0]).all()

    trained.write(tmp_path / "models.h5", state, whole, {"experiment": "e"})
    model = trained.load_model(tmp_path / "models.h5", epoch=3)
    x, _, *label = state.batches.of_block(0, np.arange(6), 0, 0)
    proposal = "exact" if plan.model["name"] == "flow" else "bound"
    log_px = estimate(model, x, proposal, samples=16, conditions=label).log_px
    assert log_px.isfinite().all() and log_px.shape == (6,)
    drawn = model.sample(3, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 1, SIDE, SIDE) and drawn.min() >= 0 and drawn.max() <= 1
    if "classes" in plan.model:
        at_equal_parts = x, torch.zeros(len(x))
        with torch.no_grad():
            guidance = model.predict_noise(*at_equal_parts, *label) - model.predict_noise(*at_equal_parts)
        assert (guidance.flatten(1).norm(dim=1) > 0.05).all()
        of_the_other = estimate(model, x, proposal, samples=16, conditions=[1 - label[0]]).log_px
        assert ((of_the_other - log_px).abs() > 0.01).all()


@pytest.mark.parametrize("channels", [(4,), (8, 8), (12, 24), (32, 64)])
def test_a_unet_of_any_width_knows_the_time(channels):
    pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = build("unet_diffusion", (1, SIDE, SIDE), channels=channels).eval().requires_grad_(False)
    z = torch.randn(2, 1, SIDE, SIDE)
    early, late = (model.predict_noise(z, torch.full((2,), gamma)) for gamma in (-10.0, 4.0))
    assert float((early - late).norm() / early.norm()) > 0.01


def test_a_bound_is_called_one_in_the_file_and_in_the_report():
    for proposal, draws, words in (("bound", 1, "taken for independent"), ("bound", 2, "over the draws")):
        meaning = stage.meanings(proposal, True, draws)
        assert "lower bound" in meaning["log_px"][1] and words in meaning["standard_error"][1]
    assert "model itself" in stage.meanings("exact", False, 1)["log_px"][1]
    one_draw, exact = (xr.Dataset(attrs={"log_px_is_bound": bound}) for bound in (1, 0))
    several = one_draw.assign(standard_error_of_draws=(("epoch", "sample"), [[0.3, 0.4]]))
    assert _doubts(one_draw) == [A_BOUND, ONE_DRAW] and _doubts(several) == [A_BOUND] and _doubts(exact) == []
