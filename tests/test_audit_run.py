"""Whole audits of tiny pipelines, by the command: what they leave, what they refuse, and that they go on where they were."""

import importlib.util
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image

from engram import cli
from engram.audit import judge as judging
from engram.audit import loading
from engram.audit.checkpoint import Checkpoint
from engram.audit.copies import copies
from engram.audit.folder import described
from engram.audit.images import Images, rows_of
from engram.audit.membership import roc_of_one_target, set_p_values
from engram.audit.prevented import first_norm, sample_lowered
from engram.audit.prompts import of_images
from engram.audit.schedule import Schedule, schedule_of
from engram.audit.stage import _membership
from engram.errors import UserError
from engram.files import artifacts
from engram.models.diffusion import alpha_and_sigma
from engram.randomness import image_normals, torch_generator
from tiny_pipelines import pictures, text_conditional, unconditional

DDPMScheduler = pytest.importorskip("diffusers", reason="needs `uv sync --extra audit`").DDPMScheduler
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs `uv sync --extra audit`"
)
QUICK = ["--steps", "3", "--evaluations", "4", "--probes", "2"]
KEYS = {name: name for name in ("images", "training", "held_out")}


def run(folder, *more, output="out", batch=13, code=0):
    given = "audit", folder / "model", *more, "--output", folder / output, *QUICK, "--batch", batch
    assert cli.main([*map(str, given)]) == code


def sets(folder):
    return "--images", folder / "images", "--training", folder / "training", "--held-out", folder / "held_out"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """An audit of an unconditional model: 4 images, one of them a training image and one held out; 12 of each of these."""
    folder = tmp_path_factory.mktemp("audit")
    unconditional(folder / "model")
    for name, number, seed in (("images", 2, 1), ("training", 12, 2), ("held_out", 12, 3)):
        pictures(folder / name, number, seed=seed)
    shutil.copy(folder / "training/5.png", folder / "images/seen.png")
    shutil.copy(folder / "held_out/7.png", folder / "images/unseen.png")
    run(folder, *sets(folder), "--samples", 20)
    return folder


def test_every_image_is_a_row_whose_membership_is_stated_and_never_guessed(audited):
    table = pd.read_csv(audited / "out/audit.csv")
    assert len(table) == 4 + 11 + 11
    assert table.groupby(["source", "membership"]).size().to_dict() == {
        ("held-out", "held-out"): 11,
        ("images", "held-out"): 1,
        ("images", "training"): 1,
        ("images", "unknown"): 2,
        ("training", "training"): 11,
    }
    of_images = table[table["source"] == "images"].set_index("file")["membership"]
    assert dict(of_images) == {"0.png": "unknown", "1.png": "unknown", "seen.png": "training", "unseen.png": "held-out"}
    numbers = ["bound", "bound_standard_error", "loss_at_t", "secmi", "pia", "sima", "lid_0.01", "lid_0.4"]
    assert np.isfinite(table[numbers]).all(axis=None)
    assert (table["recurrence"].notna() == (table["membership"] == "training")).all()


def test_the_artifact_holds_curves_and_says_what_it_is_of(audited):
    audit = artifacts.read(audited / "out/audit.h5", "audit")
    assert audit["lid"].dims == ("image", "time") and list(audit["time"].values) == list(judging.TIMES)
    assert (audit["lid_standard_error"].values == 0).all()  # of 64 numbers the trace is exact
    assert audit.attrs["bound_of"] == "image" and audit.attrs["images_unknown"] == 2
    assert list(audit["attack"].values) == ["bound", "loss_at_t", "secmi", "pia", "sima"]
    assert audit["area_under_curve"].notnull().all()
    assert int(audit["members"].max()) == int(audit["non_members"].max()) == 12
    assert audit.sizes["generated"] == 20 and audit.sizes["training_image"] == 12
    with xr.open_dataset(audited / "out/audit.h5", engine="h5netcdf") as opened:
        assert opened["bound"].attrs["units"] == "nats"


def test_the_bound_is_that_of_the_checkpoints_network(audited):
    """Of one image, from the pipeline itself: the same draws, the scheduler's own alphas, the integral over gamma."""
    from diffusers import DDPMPipeline

    from engram.models.diffusion import expected_reconstruction, prior_divergence
    from engram.randomness import image_uniforms

    audit = artifacts.read(audited / "out/audit.h5", "audit")
    level = audit["picture"].values[0]
    digest = Images(level[None], np.array(["0.png"]), []).digest()
    pipeline = DDPMPipeline.from_pretrained(audited / "model", local_files_only=True)
    schedule = schedule_of(pipeline.scheduler.alphas_cumprod, "")
    x = torch.from_numpy(level).float().reshape(1, 1, 8, 8) / 127.5 - 1
    first = image_uniforms(digest, (4,), 42, "audit", "first time")
    losses = []
    for draw in range(4):
        gamma = schedule.gamma_0 + (schedule.gamma_1 - schedule.gamma_0) * float(first[0, draw])
        alpha, sigma = (1 / (1 + np.exp(gamma))) ** 0.5, (1 / (1 + np.exp(-gamma))) ** 0.5
        epsilon = image_normals(digest, (1, 8, 8), 42, "audit", "bound", draw)
        with torch.no_grad():
            predicted = pipeline.unet(alpha * x + sigma * epsilon, schedule.time(torch.tensor([gamma]))).sample
        losses.append(float((epsilon - predicted).square().sum()))
    outside = expected_reconstruction(schedule.gamma_0)[level.astype(int)].sum() - prior_divergence(x, schedule.gamma_1)
    expected = float(outside) - 0.5 * (schedule.gamma_1 - schedule.gamma_0) * np.mean(losses)
    assert float(audit["bound"][0]) == pytest.approx(expected, rel=1e-4)


def test_the_page_says_what_is_unknown_and_needs_no_network(audited):
    page = (audited / "out/report.html").read_text()
    assert "Their membership is unknown" in page.replace("\n", " ") and "were drawn alike is not known here" in page
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_an_audit_that_was_ended_goes_on_and_gives_the_same_bits(audited, tmp_path, monkeypatch):
    shutil.copytree(audited / "out/blocks", audited / "again/blocks")
    kept = sorted((audited / "again/blocks").glob("*.npz"))
    for block in kept[1::2]:
        block.unlink()
    computed = []
    monkeypatch.setattr(
        "engram.audit.stage.judge", lambda *given: computed.append(len(given[1].digest)) or judging.judge(*given)
    )
    run(audited, *sets(audited), "--samples", 20, output="again")
    assert 0 < sum(computed) < 26
    assert (audited / "again/audit.csv").read_bytes() == (audited / "out/audit.csv").read_bytes()
    for block in kept:
        assert block.read_bytes() == (audited / "out/blocks" / block.name).read_bytes()


def test_blocks_of_another_audit_are_refused_in_one_line(audited, capsys):
    run(audited, *sets(audited), "--samples", 20, "--seed", 7, code=1)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("engram: error: ") and "blocks of another audit, whose seed is 42 and not 7" in error
    weights = audited / "other/model"
    unconditional(weights, side=8, out_channels=2)
    (audited / "other/out").mkdir()
    shutil.copytree(audited / "out/blocks", audited / "other/out/blocks")
    run(audited / "other", *sets(audited), "--samples", 20, code=1)
    assert "whose checkpoint is" in capsys.readouterr().err


def test_without_training_and_held_out_images_it_says_what_it_cannot_tell(audited):
    run(audited, "--images", audited / "images", "--samples", 4, output="alone")
    audit = artifacts.read(audited / "alone/audit.h5", "audit")
    assert set(audit["membership"].values) == {"unknown"} and audit["area_under_curve"].isnull().all()
    assert "no training images are given" in audit.attrs["without_copies"]
    assert "no number can be said to tell membership" in (audited / "alone/report.html").read_text()


@pytest.mark.slow
def test_half_precision_states_its_error(audited):
    run(audited, "--images", audited / "images", "--samples", 0, "--half", output="half")
    audit = artifacts.read(audited / "half/audit.h5", "audit")
    error = audit.attrs["half_precision_changes_bound_by"]
    single = artifacts.read(audited / "out/audit.h5", "audit")
    found = np.abs(audit["bound"].values - single["bound"].values[:4]).max()
    assert found == pytest.approx(error, rel=1e-3) and 0 < error < 5
    assert "Half precision changes the bound by up to" in (audited / "half/report.html").read_text()


def test_other_sizes_are_resized_only_if_asked(audited, tmp_path, capsys):
    pictures(tmp_path, 3, shape=(10, 12))
    run(audited, "--images", tmp_path, output="sizes", code=1)
    assert "--images: has images of 12 x 10; the checkpoint takes 8 x 8" in capsys.readouterr().err
    run(audited, "--images", tmp_path, "--resize", "--samples", 0, output="sizes")
    audit = artifacts.read(audited / "sizes/audit.h5", "audit")
    assert "middle squares resized to 8 x 8" in json.loads(audit.attrs["images_read"])["images"]


MISTAKES = {
    "no images": (["--images", "nowhere"], "--images: 'nowhere' does not exist or is not a folder"),
    "prompts": (
        ["--prompts", "p.csv"],
        "--prompts: 'p.csv' is given, but a DDPMPipeline takes no prompts; leave it out",
    ),
    "evaluations": (["--evaluations", "6"], "--evaluations: is 6; it must be a multiple of 4"),
    "probes": (["--probes", "1"], "--probes: is 1; it must be 2 at least"),
    "samples": (["--samples", "-1"], "--samples: is -1; it must be at least 0"),
    "prevent": (["--prevent", "0.5"], "--prevent: is 0.5, but a DDPMPipeline takes no prompts"),
    "share": (["--prevent", "1.5"], "--prevent: is 1.5; it must be a share above 0, and 1 at most"),
    "no samples": (["--prevent", "0.5", "--samples", "0"], "--prevent: is 0.5, but no samples are asked for"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_anything_is_loaded(name, audited, capsys, monkeypatch):
    given, message = MISTAKES[name]
    monkeypatch.setattr("engram.audit.loading.load", lambda *_: pytest.fail("loaded"))
    where = [] if "--images" in given else ["--images", str(audited / "images")]
    assert cli.main(["audit", str(audited / "model"), *where, *given, "--output", str(audited / "wrong")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error and not (audited / "wrong").exists()


def test_an_image_cannot_be_both(audited, tmp_path, capsys):
    shutil.copytree(audited / "held_out", tmp_path / "held_out")
    shutil.copy(audited / "training/3.png", tmp_path / "held_out/leak.png")
    where = "--images", audited / "images", "--training", audited / "training", "--held-out", tmp_path / "held_out"
    run(audited, *where, output="wrong", code=1)
    assert "--held-out: 1 of its images are training images, too, such as leak.png" in capsys.readouterr().err


def test_training_and_held_out_images_are_judged_up_to_a_number_and_never_twice():
    rng = np.random.default_rng(0)
    levels = rng.integers(256, size=(50, 9), dtype=np.uint8)
    names = np.array([str(number) for number in range(50)])
    given = {
        "images": Images(levels[:5], names[:5], []),
        "training": Images(np.concatenate([levels[3:30], levels[3:30]]), np.concatenate([names[3:30]] * 2), []),
        "held_out": Images(levels[30:], names[30:], []),
    }
    rows = rows_of(given, KEYS, 10, 0)
    assert len(np.unique(rows.digest)) == len(rows.digest) and (rows.source == "held-out").sum() == 10
    assert list(rows.membership[:5]) == ["unknown"] * 3 + ["training"] * 2
    of_training = rows.path[rows.source == "training"].astype(int)
    assert {*of_training} <= {*range(5, 30)} and 8 <= len(of_training) <= 10
    assert {*rows.path[rows.source == "held-out"].astype(int)} <= {*range(30, 50)}
    with pytest.raises(UserError, match="held_out: 1 of its images are training images, too, such as 29"):
        rows_of(given | {"held_out": Images(levels[29:], names[29:], [])}, KEYS, 10, 0)


def test_the_roc_of_one_target_counts_pairs_of_a_member_and_another():
    rng = np.random.default_rng(1)
    scores, is_member = rng.normal(size=60).round(1), rng.random(60) < 0.4
    pairs = scores[is_member][:, None] - scores[~is_member]
    found = roc_of_one_target(scores, is_member, np.random.default_rng(0))
    assert found.area.estimate == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert found.members == is_member.sum() and np.isnan(found.rates[0, 0]) and found.rates[-1, 0] == 1
    assert np.isnan(roc_of_one_target(scores, np.ones(60, bool), rng).area.estimate)


def test_the_p_value_of_a_set_is_that_of_counting_all_sets():
    """Of 3 of 7 images, the 35 sets of 3 can be counted; and it is uniform where the set is drawn at random."""
    scores = np.array([[1.0, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1], [0, 0, 0, 0, 0, 0, 0]])
    in_set = np.array([False] * 4 + [True] * 3)
    found = set_p_values(scores, in_set, 0, "set")
    assert found == pytest.approx([1 / 35, 1, 1], abs=0.006)
    assert np.isnan(set_p_values(scores, ~np.zeros(7, bool), 0, "set")).all()


def test_copies_are_found_and_are_none_among_others(rng):
    """Five samples are copies of training image 3, with noise, and one of a blurred 4: the others are like held-out images."""
    training, held_out = (rng.integers(256, size=(60, 64), dtype=np.uint8) for _ in range(2))
    samples = rng.integers(256, size=(30, 64), dtype=np.uint8)
    samples[:5] = np.clip(training[3] + rng.integers(-3, 4, size=(5, 64)), 0, 255).astype(np.uint8)
    found = copies(samples, training, held_out, (1, 8, 8))
    assert found.per_image["recurrence"].tolist() == [5 if image == 3 else 0 for image in range(60)]
    assert found.shares["share_of_copies"].estimate == 5 / 30 and found.shares["share_of_copies_fresh"].estimate == 0
    assert (found.owner[:5] == 3).all() and found.shown[0] < 5
    assert len(copies(samples, training, held_out[:0], (1, 8, 8)).ratio_fresh) == 0


def test_the_number_of_network_calls_is_counted(monkeypatch):
    calls = []

    def network(z, times, condition):
        calls.append(len(z))
        return 0.5 * z

    checkpoint = Checkpoint(network, Schedule(torch.linspace(-9, 9, 1000).double()), "epsilon", (1, 4, 4))
    block = judging.Block(torch.zeros(3, 1, 4, 4), np.arange(3, dtype=np.uint64), None)
    effort = judging.Effort(8, 4, 0)
    judging.judge(checkpoint, block, effort)
    assert sum(calls) == 3 * judging.calls_per_image(effort, 16, False)["forward"]
    assert judging.calls_per_image(effort, 10_000, False)["backward"] == len(judging.TIMES) * 4


def test_a_model_that_has_memorized_its_training_set_is_told_by_every_number(audited, monkeypatch):
    """The empirical denoiser of 12 images, known in closed form: its samples are copies, its dimension at each of them is 0."""
    first = artifacts.read(audited / "out/audit.h5", "audit")
    points = torch.from_numpy(first["picture"].values[first["membership"].values == "training"]).double() / 127.5 - 1
    schedule = schedule_of(DDPMScheduler().alphas_cumprod, "")

    class Memorizing(Checkpoint):
        def predict_noise(self, z, gamma, condition=None):
            alpha, sigma = (part.double()[:, None] for part in alpha_and_sigma(gamma))
            rows = z.double().flatten(1)
            weights = ((alpha * rows @ points.T - alpha**2 * (points**2).sum(1) / 2) / sigma**2).softmax(1)
            return ((rows - alpha * weights @ points) / sigma).reshape(z.shape).to(z.dtype)

        def sample(self, prompts, generators, steps):
            chosen = [int(torch.randint(12, (), generator=generator)) for generator in generators]
            return (points[chosen].reshape(-1, 1, 8, 8) / 2 + 0.5).float()

    memorizing = Memorizing(None, schedule, "epsilon", (1, 8, 8))
    monkeypatch.setattr("engram.audit.loading.load", lambda *_: memorizing)
    run(audited, *sets(audited), "--samples", 30, output="memorized")
    audit = artifacts.read(audited / "memorized/audit.h5", "audit")
    areas = dict(zip(audit["attack"].values, audit["area_under_curve"].values, strict=True))
    assert all(areas[name] == 1 for name in ("loss_at_t", "secmi", "pia", "sima"))
    assert areas["bound"] > 0.9  # four evaluations of an image may all fall where there is noise alone
    assert float(audit["set_p_value"].sel(set="training", attack="bound")) == 1e-4
    assert float(audit["share_of_copies"]) == 1 and float(audit["share_of_copies_fresh"]) == 0
    assert int(audit["training_recurrence"].sum()) == 30
    is_training = audit["membership"].values == "training"
    lid = audit["lid"].sel(time=0.1).values
    assert np.abs(lid[is_training]).max() < 0.01 and lid[~is_training].min() > 10
    assert "30 samples, 1e+02 % [" not in (audited / "memorized/report.html").read_text()


def prompted(folder):
    """A text-conditional model, 2 images, and prompts."""
    text_conditional(folder / "model")
    for name, number, seed in (("images", 2, 1), ("training", 4, 2), ("held_out", 4, 3)):
        pictures(folder / name, number, shape=(16, 16, 3), seed=seed)
    files = [f"{name}/{i}.png,a {chr(97 + i)}\n" for name in ("images", "training", "held-out") for i in range(4)]
    (folder / "prompts.csv").write_text("image,prompt\n" + "".join(files))
    return folder


@needs_transformers
def test_a_text_conditional_audit(tmp_path, capsys):
    prompted(tmp_path)
    run(tmp_path, "--images", tmp_path / "images", code=1)
    assert "--prompts: is not given, but a StableDiffusionPipeline needs the prompt" in capsys.readouterr().err
    run(tmp_path, *sets(tmp_path), "--samples", 4, "--prompts", tmp_path / "prompts.csv")
    audit = artifacts.read(tmp_path / "out/audit.h5", "audit")
    assert audit.attrs["bound_of"] == "latent" and list(audit["prompt"].values[:2]) == ["a a", "a b"]
    gain = audit["bound"].values - audit["bound_without_prompt"].values
    np.testing.assert_allclose(audit["prompt_gain"], gain, atol=1e-3)
    lid, without = audit["lid"].values, audit["lid_without_prompt"].values
    ratio = np.where((lid > 0) & (without > 0), lid / without, np.nan)
    np.testing.assert_allclose(audit["lid_ratio"], ratio, rtol=1e-6)
    assert audit.attrs["images_undefined"] == 0
    assert (audit["guidance_norm"].values > 0).all() and (audit["lid_standard_error"].values > 0).all()
    assert "prompt_gain" in audit["attack"].values
    page = (tmp_path / "out/report.html").read_text()
    assert "is of the latent into which" in page and "not of the image" in page


@pytest.fixture(scope="module")
def prevented(tmp_path_factory):
    """An audit of a text-conditional model that draws its six samples twice, by three prompts, with held-out images."""
    folder = prompted(tmp_path_factory.mktemp("prevented"))
    run(folder, *sets(folder), "--samples", 6, "--prompts", folder / "prompts.csv", "--prevent", 0.9)
    return folder


def loaded(folder):
    return loading.load(described(str(folder / "model"), "checkpoint"), torch.device("cpu"))


def generators(number):
    return [torch_generator("cpu", 42, "audit", "sample", index) for index in range(number)]


PROMPTS = ["a a", "a b", "a c"]


@needs_transformers
def test_a_threshold_that_no_norm_exceeds_changes_nothing_bit_for_bit(prevented):
    """Noise, embeddings, and steps are the pipeline's own, as it takes them from prompts."""
    checkpoint = loaded(prevented)
    images, moved = sample_lowered(checkpoint, PROMPTS, generators(3), 3, math.inf)
    assert torch.equal(images, checkpoint.sample(PROMPTS, generators(3), 3)) and not moved.steps.any()
    assert torch.equal(moved.embedding, checkpoint.conditions(PROMPTS))


@needs_transformers
def test_the_first_step_is_that_of_the_pipeline(prevented):
    """What its U-Net is told first, seen from inside: noise, time, both embeddings; and the norm is of what it answers."""
    checkpoint, seen = loaded(prevented), []
    hook = checkpoint.pipeline.unet.register_forward_hook(
        lambda _, given, told, answer: seen.append((*given, told["encoder_hidden_states"], answer[0])), with_kwargs=True
    )
    checkpoint.sample(PROMPTS, generators(3), 3)
    hook.remove()
    latents, time, told, answer = seen[0]
    z, gamma = checkpoint.first_step(generators(3), 3)
    assert torch.equal(latents, torch.cat([z, z]))
    assert float(checkpoint.schedule.time(torch.tensor([gamma]))) == pytest.approx(float(time), abs=1e-2)
    assert torch.equal(told, torch.cat([checkpoint.conditions([""] * 3), checkpoint.conditions(PROMPTS)]))
    known = (answer[3:] - answer[:3]).flatten(1).norm(dim=1)
    norm = first_norm(checkpoint, PROMPTS, generators(3), 3)["norm"]
    np.testing.assert_allclose(norm, known, rtol=1e-3)


@needs_transformers
def test_lowered_embeddings_have_the_norm_that_is_said_of_them(prevented):
    """By the network itself, at the noise that each sample begins from; and the samples are others than before."""
    checkpoint = loaded(prevented)
    threshold = 0.9 * float(np.median(first_norm(checkpoint, PROMPTS, generators(3), 3)["norm"]))
    images, moved = sample_lowered(checkpoint, PROMPTS, generators(3), 3, threshold)
    z, gamma = checkpoint.first_step(generators(3), 3)
    gammas, without = z.new_full((3,), gamma), checkpoint.conditions([""] * 3)
    answers = [checkpoint.predict_noise(z, gammas, condition) for condition in (moved.embedding, without)]
    np.testing.assert_allclose(moved.norm, (answers[0] - answers[1]).flatten(1).norm(dim=1), rtol=1e-4)
    assert (moved.norm <= threshold).all() and (moved.steps > 0).any()
    differ = (images != checkpoint.sample(PROMPTS, generators(3), 3)).flatten(1).any(1)
    assert torch.equal(differ, moved.steps > 0)


@needs_transformers
def test_an_audit_says_what_prevention_changes(prevented):
    audit = artifacts.read(prevented / "out/audit.h5", "audit")
    before, after = audit["first_guidance_norm"].values, audit["first_guidance_norm_prevented"].values
    threshold = audit.attrs["prevention_threshold"]
    assert threshold == pytest.approx(0.9 * np.median(before))
    assert audit.attrs["samples_not_below_threshold"] == (after > threshold).sum()
    is_moved = audit["embedding_steps"].values > 0
    assert (is_moved == (before > threshold)).all() and is_moved.sum() > 0
    assert (after[~is_moved] == before[~is_moved]).all()
    assert audit["ratio_prevented"].shape == audit["ratio"].shape == (6,)
    assert float(audit["share_of_copies_prevented"]) == (audit["ratio_prevented"].values < 1 / 3).mean()
    with np.load(prevented / "out/blocks/samples-0000000.npz") as samples:
        held_out = np.stack([np.asarray(Image.open(file)) for file in (prevented / "held_out").glob("*.png")])
        apart = samples["samples"][:, None].astype(float) - held_out.transpose(0, 3, 1, 2).reshape(len(held_out), -1)
    assert float(audit["distance_to_held_out"]) == pytest.approx(np.linalg.norm(apart, axis=2).min(axis=1).mean())
    page = (prevented / "out/report.html").read_text()
    assert "are copies without this" in page and 'alt="prevented"' in page


@needs_transformers
def test_prevention_adds_to_a_finished_audit_and_goes_on(prevented, monkeypatch):
    """Other samples and columns are kept; a share of its own is drawn anew, and a finished one is not."""
    drawn = []
    monkeypatch.setattr("engram.audit.stage.judge", lambda *_: pytest.fail("judged again"))
    monkeypatch.setattr(
        "engram.audit.prevented.sample_lowered", lambda *given: drawn.append(given[-1]) or sample_lowered(*given)
    )
    shutil.copytree(prevented / "out/blocks", prevented / "again/blocks")
    where = *sets(prevented), "--samples", 6, "--prompts", prevented / "prompts.csv"
    run(prevented, *where, "--prevent", 0.9, output="again")
    assert not drawn
    assert (prevented / "again/audit.csv").read_bytes() == (prevented / "out/audit.csv").read_bytes()
    run(prevented, *where, "--prevent", 1, output="again")
    assert len(drawn) == 1
    run(prevented, *where, output="again")
    assert "shown_prevented" not in artifacts.read(prevented / "again/audit.h5", "audit")


@needs_transformers
def test_prompts_that_lack_or_cannot_be_read_are_one_line(tmp_path, capsys, monkeypatch):
    prompted(tmp_path)
    monkeypatch.setattr("engram.audit.loading.load", lambda *_: pytest.fail("loaded"))
    for content, message in {
        "file,text\n0.png,a\n": "has the columns file, text; it needs image and prompt",
        "image,prompt\n0.png,a\n": "has no prompt of 1 of 2 images: 1.png; add their rows",
        "image,prompt\n0.png,a\n0.png,b\n1.png,b\n": "has two prompts of 0.png; an image has one",
        "image,prompt\n0.png\n": "has no prompt in the row of '0.png'",
        "image,prompt\n0.png,a cat, sitting\n1.png,b\n": "has 3 columns in the row of '0.png', and 2 in its header; put a "
        "prompt that holds commas in quotes",
    }.items():
        (tmp_path / "prompts.csv").write_text(content)
        run(tmp_path, "--images", tmp_path / "images", "--prompts", tmp_path / "prompts.csv", code=1)
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_file_name_that_two_sets_have_gives_its_prompt_to_none_by_guess():
    levels = np.arange(3 * 9, dtype=np.uint8).reshape(3, 9)
    one, two, same = (Images(levels[[k]], np.array(["cat.png"]), []) for k in (0, 1, 0))
    given = {"images": one, "training": two}
    rows = rows_of(given, KEYS, 10, 0)
    with pytest.raises(
        UserError, match=r"row of cat.png could be images/cat.png or training/cat.png, which are different"
    ):
        of_images("--prompts", {"cat.png": "a cat"}, given, rows)
    assert of_images("--prompts", {"cat.png": "a", "training/cat.png": "b"}, given, rows) == ["a", "b"]
    assert of_images("--prompts", {"images/cat.png": "a", "training/cat.png": "b"}, given, rows) == ["a", "b"]
    given = {"images": one, "training": same}
    assert of_images("--prompts", {"cat.png": "a"}, given, rows_of(given, KEYS, 10, 0)) == ["a"]


@pytest.mark.parametrize(("option", "meant"), [("--training", "train"), ("--held-out", "test")])
def test_a_folder_that_is_a_split_is_neither_training_images_nor_held_out_ones(
    option, meant, audited, tmp_path, capsys
):
    for number, part in enumerate(("train", "test", "val")):
        pictures(tmp_path / "data" / part, 2, seed=number)
    run(audited, "--images", audited / "images", option, tmp_path / "data", output="split", code=1)
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{option}: '{tmp_path}/data' holds the folders of a split: test, train; name the one" in error
    assert error.endswith(f"such as '{tmp_path}/data/{meant}'")


def test_the_ratio_of_two_dimensions_is_defined_where_both_are_positive():
    found = judging.ratio_of_dimensions(
        torch.tensor([2.0, -2.0, -2.0, 2.0, 2.0]), torch.tensor([4.0, -4.0, 4.0, -4.0, 0.0])
    )
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan, np.nan, np.nan])


def test_samples_that_are_not_finite_are_one_line_and_no_black_pictures(audited, capsys, monkeypatch):
    monkeypatch.setattr(
        Checkpoint, "sample", lambda self, prompts, generators, steps: torch.full((len(generators), 1, 8, 8), torch.nan)
    )
    run(audited, "--images", audited / "images", "--samples", 4, output="not_finite", code=1)
    assert "model: its samples are not finite; its weights may be damaged" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_images_in_single_precision_are_judged_by_the_batch_and_once(audited, monkeypatch):
    computed = []
    monkeypatch.setattr(
        "engram.audit.stage.judge", lambda *given: computed.append(len(given[1].digest)) or judging.judge(*given)
    )
    monkeypatch.setattr(
        "engram.audit.precision.judge",
        lambda *given: computed.append(len(given[1].digest)) or judging.judge(*given),
        raising=False,
    )
    wanted = "--images", audited / "images", "--samples", 0, "--half"
    run(audited, *wanted, output="pieces", batch=3)
    assert computed == [3, 1, 3, 1]
    first = artifacts.read(audited / "pieces/audit.h5", "audit").attrs["half_precision_changes_bound_by"]
    (audited / "pieces/blocks/images-0000003.npz").unlink()
    run(audited, *wanted, output="pieces", batch=3)
    assert computed[4:] == [1]
    assert artifacts.read(audited / "pieces/audit.h5", "audit").attrs["half_precision_changes_bound_by"] == first


def test_curves_and_p_values_take_what_the_seed_drew_and_not_what_was_picked():
    """Five training images are picked, each of them twice, and five held-out ones, that score unlike all others."""
    levels = np.random.default_rng(0).integers(256, size=(80, 9), dtype=np.uint8)
    names = np.array([str(number) for number in range(80)])
    picked = np.r_[0:5, 0:5, 40:45, 79]
    parts = {"images": picked, "training": np.r_[:40], "held_out": np.r_[40:79]}
    given = {name: Images(levels[part], names[part], []) for name, part in parts.items()}
    for seed in range(5):
        rows = rows_of(given, KEYS, 6, seed)
        drawn = {kind: rows.path[rows.is_compared & (rows.membership == kind)] for kind in ("training", "held-out")}
        assert [len({*files}) for files in drawn.values()] == [len(files) for files in drawn.values()] == [6, 6]
        assert list(rows.path[rows.is_compared & (rows.membership == "unknown")]) == ["79"]
        other = rows_of(given | {"images": Images(levels[79:], names[79:], [])}, KEYS, 6, seed)
        assert {*other.path[other.is_compared & (other.membership == "training")]} == {*drawn["training"]}
        rocs, p_values = _membership({"bound": np.where(rows.is_compared, 0.0, 9.0)}, rows, 0)
        assert (rocs["bound"].members, rocs["bound"].non_members) == (6, 6) and rocs["bound"].area.estimate == 0.5
        assert p_values["training"] == p_values["unknown"] == 1
    whole = rows_of(given | {"images": given["training"]}, KEYS, 1000, 0)
    assert (whole.is_compared & (whole.membership == "training")).sum() == 40
