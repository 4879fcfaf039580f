"""The audit of a checkpoint: what is read of a folder, against schedulers, algebra, and denoisers known in closed form."""

import functools
import importlib.util
import json
import math
import shutil

import pytest
import torch

from engram.audit.bound import bound, diffusion, outside_diffusion
from engram.audit.checkpoint import Checkpoint, as_noise
from engram.audit.folder import described
from engram.audit.loading import load
from engram.audit.schedule import schedule_of
from engram.errors import UserError
from engram.geometry.flipd import flipd
from engram.models.diffusion import alpha_and_sigma, prior_divergence
from test_diffusion import KNOWN, Mixture
from tiny_pipelines import text_conditional, unconditional

diffusers = pytest.importorskip("diffusers", reason="needs `uv sync --extra audit`")
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs `uv sync --extra audit`"
)
CPU = torch.device("cpu")

SCHEDULES = {
    "DDPM's own": {},
    "Stable Diffusion's": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "of 250 times": {"num_train_timesteps": 250},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_has_the_schedulers_alphas_at_its_own_times(name):
    alphas = diffusers.DDPMScheduler(**SCHEDULES[name]).alphas_cumprod
    schedule = schedule_of(alphas, "scheduler")
    last = len(schedule.gammas) - 1
    read = [alpha_and_sigma(torch.tensor(schedule.gamma(time / last)))[0] ** 2 for time in range(last + 1)]
    torch.testing.assert_close(torch.stack(read), alphas[: last + 1], rtol=2e-3, atol=2e-7)
    gammas = torch.tensor([schedule.gamma(time / last) for time in range(last + 1)], dtype=torch.float64)
    torch.testing.assert_close(schedule.time(gammas), torch.arange(last + 1).double(), atol=1e-6, rtol=0)
    between = (gammas[10] + gammas[11]) / 2
    assert float(schedule.time(between[None])) == pytest.approx(10.5)


def test_two_end_points_of_betas_are_two_schedules():
    """The notes' sigma^2 at the thousandth part: .00085 or .00011."""
    first = {
        name: schedule_of(diffusers.DDPMScheduler(**SCHEDULES[name]).alphas_cumprod, "").gamma_0 for name in SCHEDULES
    }
    assert 1 / (1 + math.exp(-first["Stable Diffusion's"])) == pytest.approx(0.00085, rel=1e-3)
    assert 1 / (1 + math.exp(-first["DDPM's own"])) == pytest.approx(1e-4, rel=1e-3)


def test_a_schedule_that_ends_without_signal_is_cut():
    alphas = diffusers.DDPMScheduler(rescale_betas_zero_snr=True).alphas_cumprod
    schedule = schedule_of(alphas, "")
    assert schedule.cut == int((alphas < 1e-6).sum()) >= 1
    assert math.isfinite(schedule.gamma_1) and 1 / (1 + math.exp(schedule.gamma_1)) >= 1e-6


@pytest.mark.parametrize("alphas", [[0.5, 0.6], [0.5], [1.0, 0.5], [0.5, 0.5]])
def test_what_is_no_schedule_is_refused(alphas):
    with pytest.raises(UserError, match="it must be a scheduler that adds noise"):
        schedule_of(torch.tensor(alphas), "folder/scheduler")


def test_what_a_network_predicts_is_read_as_noise_by_algebra():
    rng = torch.Generator().manual_seed(0)
    x, epsilon = torch.randn(2, 5, 3, 4, 4, generator=rng, dtype=torch.float64)
    gamma = torch.linspace(-5, 4, 5, dtype=torch.float64)
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in alpha_and_sigma(gamma))
    z = alpha * x + sigma * epsilon
    outputs = {"epsilon": epsilon, "v_prediction": alpha * epsilon - sigma * x, "sample": x}
    for prediction, output in outputs.items():
        torch.testing.assert_close(as_noise(output, z, gamma, prediction), epsilon)
        with_variances = torch.cat([output, torch.randn_like(output)], 1)
        torch.testing.assert_close(as_noise(with_variances, z, gamma, prediction), epsilon)


def checkpoint_of(model, prediction="epsilon"):
    """A closed-form denoiser in a checkpoint's place: it hears times of DDPM's schedule, and answers in any parametrization."""
    schedule = schedule_of(diffusers.DDPMScheduler().alphas_cumprod, "")

    def network(z, times, condition):
        gamma = torch.tensor([schedule.gamma(float(time) / 999) for time in times], dtype=torch.float64)
        alpha, sigma = (part.reshape(-1, *[1] * (z.ndim - 1)) for part in alpha_and_sigma(gamma))
        epsilon = model.predict_noise(z.double(), gamma)
        x = (z - sigma * epsilon) / alpha
        return {"epsilon": epsilon, "v_prediction": alpha * epsilon - sigma * x, "sample": x}[prediction]

    return Checkpoint(network, schedule, prediction, (1, 1, 1))


@pytest.mark.parametrize(("name", "prediction"), [*zip(KNOWN, ["epsilon", "v_prediction", "sample"], strict=True)])
def test_the_bound_through_the_checkpoints_schedule_is_the_closed_form(name, prediction):
    *mixture, x, _ = KNOWN[name]
    checkpoint = checkpoint_of(Mixture((1, 1, 1), *mixture), prediction)
    ends = checkpoint.schedule.gamma_0, checkpoint.schedule.gamma_1
    expected, spread = Mixture((1, 1, 1), *mixture, *ends).closed_form(x)
    n, draws, evaluations = 50, 4, 10
    rng = torch.Generator().manual_seed(1)
    images = torch.full((n, 1, 1, 1), x, dtype=torch.float64)
    epsilon = torch.randn(draws, evaluations, n, 1, 1, 1, generator=rng, dtype=torch.float64)
    first = torch.rand(draws, n, generator=rng, dtype=torch.float64)
    found = bound(checkpoint.predict_noise, images, epsilon, first, ends, is_latent=True)
    found = (
        found - outside_diffusion(images, *ends, is_latent=True)[:, None] - prior_divergence(images, ends[1])[:, None]
    )
    error = float(found.std()) / math.sqrt(found.numel())
    assert abs(float(found.mean()) - expected) < 4 * math.hypot(error, spread)
    assert error < 0.25


def test_the_bound_of_a_latent_is_one_on_its_density():
    """Of a normal whose noise is known it lies below log p, by the gap that the first time leaves."""
    model = Mixture((1, 1, 1), *KNOWN["a normal"][:3])
    checkpoint = checkpoint_of(model)
    ends = checkpoint.schedule.gamma_0, checkpoint.schedule.gamma_1
    x = torch.full((1, 1, 1, 1), 1.1, dtype=torch.float64)
    found = outside_diffusion(x, *ends, is_latent=True) + prior_divergence(x, ends[1])
    expected = float(found) + Mixture((1, 1, 1), *KNOWN["a normal"][:3], *ends).closed_form(1.1)[0]
    assert expected == pytest.approx(-2.333619, abs=0.01) and expected < -2.33


def test_the_integral_over_gamma_is_that_over_the_schedules_times_with_its_slope():
    """1/2 gamma'(t) |epsilon - predicted|^2 summed over t of the interpolated schedule."""
    checkpoint = checkpoint_of(Mixture((1, 1, 1), *KNOWN["a mixture, at its narrow part"][:3]))
    gammas, n = checkpoint.schedule.gammas, 2000
    x = torch.full((n, 1, 1, 1), -1.0, dtype=torch.float64)
    epsilon = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    times = (torch.arange(n) + 0.5) / n * 999
    slope = 999 * gammas.diff()[times.long()]
    of_times = torch.tensor([checkpoint.schedule.gamma(float(time) / 999) for time in times], dtype=torch.float64)
    by_time = 0.5 * slope * diffusion(checkpoint.predict_noise, x, epsilon, of_times)
    even = gammas[0] + (gammas[-1] - gammas[0]) * (torch.arange(n) + 0.5) / n
    by_gamma = 0.5 * (gammas[-1] - gammas[0]) * diffusion(checkpoint.predict_noise, x, epsilon, even)
    error = math.hypot(*(float(values.std()) / math.sqrt(n) for values in (by_time, by_gamma)))
    assert abs(float(by_time.mean() - by_gamma.mean())) < 4 * error


def test_flipd_of_a_normal_through_the_checkpoints_schedule():
    variances = torch.tensor([1.0, 1.0, 1e-6], dtype=torch.float64)
    schedule = schedule_of(diffusers.DDPMScheduler().alphas_cumprod, "")

    def network(z, times, condition):
        gamma = torch.tensor([schedule.gamma(float(time) / 999) for time in times], dtype=torch.float64)
        alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in alpha_and_sigma(gamma))
        return sigma * z / (alpha**2 * variances.reshape(1, 1, 3) + sigma**2)

    checkpoint = Checkpoint(network, schedule, "epsilon", (1, 1, 3))
    x = torch.tensor([[0.3, -1.0, 0.0]], dtype=torch.float64).reshape(1, 1, 1, 3)
    for time in (0.01, 0.1, 0.5):
        gamma = schedule.gamma(time)
        psi2, s2 = 1 / (1 + math.exp(gamma)), 1 / (1 + math.exp(-gamma))
        total = psi2 * variances + s2
        known = (psi2 * variances / total + s2 * psi2 * x.flatten() ** 2 / total**2).sum()
        assert float(flipd(checkpoint.predict_noise, x, gamma).value) == pytest.approx(float(known), rel=1e-5)


def test_a_folder_is_loaded_and_asked_at_the_schedulers_times(tmp_path):
    folder = described(unconditional(tmp_path / "model", channels=3))
    checkpoint = load(folder, CPU)
    assert folder.image_shape == checkpoint.shape == (3, 8, 8)
    z = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "model", use_safetensors=True, local_files_only=True)
    with torch.no_grad():
        expected = pipeline.unet(z, 100).sample
    gamma = torch.full((2,), checkpoint.schedule.gamma(100 / 999))
    torch.testing.assert_close(checkpoint.predict_noise(z, gamma), expected, atol=1e-5, rtol=1e-4)


def test_a_folder_with_weights_of_half_precision_alone_is_loaded(tmp_path):
    pipeline = diffusers.DDPMPipeline.from_pretrained(unconditional(tmp_path / "plain"))
    pipeline.unet.half()
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    folder = described(tmp_path / "half")
    assert folder.variants == {"unet": "fp16"}
    network = load(folder, CPU).pipeline.unet
    assert network.dtype == torch.float32
    torch.testing.assert_close(network.conv_in.weight, pipeline.unet.conv_in.weight.float(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("scheduler", "config", "message"),
    [
        ("FlowMatchEulerDiscreteScheduler", {}, "has no alphas_cumprod"),
        ("NoSuchScheduler", {}, "the installed diffusers has no NoSuchScheduler"),
        ("DDPMScheduler", {"beta_schedule": "mine"}, "scheduler: cannot be loaded"),
    ],
)
def test_a_scheduler_that_states_no_noise_is_refused(scheduler, config, message, tmp_path):
    folder = unconditional(tmp_path / "model")
    edited(folder / "model_index.json", scheduler=["diffusers", scheduler])
    edited(folder / "scheduler/scheduler_config.json", **config)
    with pytest.raises(UserError, match=message):
        load(described(folder), CPU)


@needs_transformers
def test_a_text_conditional_folder_is_loaded(tmp_path):
    folder = described(text_conditional(tmp_path / "model"))
    checkpoint = load(folder, CPU)
    assert folder.image_shape == (3, 16, 16) and checkpoint.shape == (4, 8, 8) and checkpoint.is_latent
    levels = torch.randint(256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    latent = checkpoint.observe(levels)
    vae = checkpoint.pipeline.vae
    torch.testing.assert_close(latent, vae.encode(levels / 127.5 - 1).latent_dist.mean * 0.18215)
    condition = checkpoint.conditions(["a", ""])
    assert condition.shape == (2, 16, 8) and not torch.equal(condition[0], condition[1])
    gamma = torch.full((2,), checkpoint.schedule.gamma(0.1))
    assert not torch.equal(*checkpoint.predict_noise(latent[:1].expand(2, -1, -1, -1), gamma, condition))


@needs_transformers
def test_weights_named_as_in_older_checkpoints_are_the_same(tmp_path):
    """As those of Stable Diffusion 1.5: a prefix and positions in the text encoder, and other names in the attention of its VAE."""
    from safetensors.torch import load_file, save_file

    new, levels = text_conditional(tmp_path / "new"), torch.full((1, 3, 16, 16), 7)
    shutil.copytree(new, tmp_path / "old")
    text, vae = (
        tmp_path / "old/text_encoder/model.safetensors",
        tmp_path / "old/vae/diffusion_pytorch_model.safetensors",
    )
    weights = {f"text_model.{name.removeprefix('text_model.')}": values for name, values in load_file(text).items()}
    save_file(weights | {"text_model.embeddings.position_ids": torch.arange(16)[None]}, text, metadata={"format": "pt"})
    names = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    older = {
        functools.reduce(lambda name, new: name.replace(new, names[new]), names, old): old for old in load_file(vae)
    }
    save_file({name: load_file(vae)[old] for name, old in older.items()}, vae, metadata={"format": "pt"})
    assert any("proj_attn" in name for name in older)
    both = [load(described(folder), CPU) for folder in (new, tmp_path / "old")]
    assert torch.equal(*(checkpoint.conditions(["a b"]) for checkpoint in both))
    assert torch.equal(*(checkpoint.observe(levels) for checkpoint in both))


def edited(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))


def pickled(folder):
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/diffusion_pytorch_model.bin")


def of_classes(folder):
    edited(folder / "unet/config.json", num_class_embeds=10)


WRONG = {
    "absent": (lambda folder: shutil.rmtree(folder), "does not exist or is not a folder"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "it is what diffusers' save_pretrained writes"),
    "no JSON": (lambda folder: (folder / "unet/config.json").write_text("{"), "config.json: cannot be read"),
    "pickle": (pickled, "diffusion_pytorch_model.bin is a pickle, which can run any code and is not opened"),
    "another pipeline": (
        lambda folder: edited(folder / "model_index.json", _class_name="FluxPipeline"),
        "is a FluxPipeline; an audit takes a DDPMPipeline or a StableDiffusionPipeline",
    ),
    "own code": (
        lambda folder: edited(folder / "model_index.json", unet=["my_unet", "MyUNet"]),
        "its unet is 'MyUNet' of 'my_unet'; an audit takes a UNet2DModel",
    ),
    "own scheduler": (
        lambda folder: edited(folder / "model_index.json", scheduler=["my_noise", "MyScheduler"]),
        "its scheduler is 'MyScheduler' of 'my_noise'",
    ),
    "odd scheduler": (
        lambda folder: edited(folder / "model_index.json", scheduler="DDPM"),
        "its scheduler is None of None; it must be one of diffusers' own",
    ),
    "odd class": (lambda folder: edited(folder / "model_index.json", _class_name=["DDPMPipeline"]), "an audit takes a"),
    "classes": (of_classes, "its unet takes classes"),
    "another prediction": (
        lambda folder: edited(folder / "scheduler/scheduler_config.json", prediction_type="flow"),
        "its prediction_type is 'flow'; an audit reads epsilon, v_prediction, sample",
    ),
    "no size": (
        lambda folder: edited(folder / "unet/config.json", sample_size=None),
        "sample_size of its unet is None",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_folder_that_cannot_be_audited_is_refused_in_one_line_before_it_is_loaded(name, tmp_path):
    change, message = WRONG[name]
    folder = unconditional(tmp_path / "model")
    change(folder)
    with pytest.raises(UserError) as refused:
        described(folder)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_weights_that_lack_some_or_have_others_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = unconditional(tmp_path / "model")
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({name: values for name, values in weights.items() if name != "conv_in.bias"}, path)
    with pytest.raises(UserError, match=r"has missing keys: conv_in\.bias"):
        load(described(folder), CPU)
    save_file(weights | {"another": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="has unexpected keys: another"):
        load(described(folder), CPU)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(described(folder), CPU)
    save_file(weights | {"conv_in.bias": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="model"):
        load(described(folder), CPU)
