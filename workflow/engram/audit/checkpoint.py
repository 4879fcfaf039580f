"""A checkpoint in the words of engram.models.diffusion: images as x, the noise that it predicts, and samples of its pipeline.

For an unconditional pipeline x is the image on [-1, 1]. For Stable Diffusion it is the latent: the mean of the encoder, times
the factor that the model was trained with. What is said of x there is said of the latent, not of the image.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from engram.audit.schedule import Schedule
from engram.models.diffusion import alpha_and_sigma

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # what a network makes of z, its times (n,) and a condition


def as_noise(output: Tensor, z: Tensor, gamma: Tensor, prediction: str) -> Tensor:
    """epsilon, of z's shape, from what a network makes of z at gamma (n,): epsilon itself, v = alpha epsilon - sigma x, or x.

    Where it makes twice the channels, the second half are variances, and not read.
    """
    output = output[:, : z.shape[1]]
    alpha, sigma = (part.reshape(-1, *[1] * (z.ndim - 1)) for part in alpha_and_sigma(gamma))
    if prediction == "v_prediction":
        return alpha * output + sigma * z
    return (z - alpha * output) / sigma if prediction == "sample" else output


class Checkpoint:
    """An unconditional model of images. `shape` is that of x, (C, H, W)."""

    is_latent = False

    def __init__(
        self, network: Network, schedule: Schedule, prediction: str, shape: tuple[int, int, int], pipeline: Any = None
    ):
        self.network, self.schedule, self.prediction, self.shape = network, schedule, prediction, shape
        self.pipeline = pipeline

    def predict_noise(self, z: Tensor, gamma: Tensor, condition: Tensor | None = None) -> Tensor:
        """epsilon, (n, *shape), of z at gamma (n,)."""
        return as_noise(self.network(z, self.schedule.time(gamma), condition), z, gamma, self.prediction)

    def observe(self, levels: Tensor) -> Tensor:
        """x, (n, *shape), of images (n, C, H, W) of grey levels from 0 to 255."""
        return levels.float() / 127.5 - 1

    def conditions(self, prompts: Sequence[str]) -> Tensor | None:
        """What the network is told of each prompt, (n, ...); None where it takes none."""
        return None

    def sample(self, prompts: Sequence[str], generators: list[torch.Generator], steps: int) -> Tensor:
        """Images (n, C, H, W) on [0, 1], of the pipeline as it is: its scheduler, its steps. Each has a generator of its own."""
        drawn = self.pipeline(len(generators), generators, num_inference_steps=steps, output_type="pt").images
        return drawn.float().cpu()


class TextToImage(Checkpoint):
    """A model of latents given a prompt; the empty prompt stands for none."""

    is_latent = True

    @torch.no_grad()
    def observe(self, levels: Tensor) -> Tensor:
        vae = self.pipeline.vae
        latent = vae.encode(super().observe(levels).to(vae.dtype)).latent_dist.mode()
        return (latent - (vae.config.shift_factor or 0)).float() * vae.config.scaling_factor

    @torch.no_grad()
    def conditions(self, prompts: Sequence[str]) -> Tensor:
        return self.pipeline.encode_prompt([*prompts], self.pipeline.device, 1, False)[0]

    def sample(self, prompts: Sequence[str], generators: list[torch.Generator], steps: int) -> Tensor:
        drawn = self.pipeline([*prompts], generator=generators, num_inference_steps=steps, output_type="pt").images
        return drawn.float().cpu()

    def first_step(self, generators: list[torch.Generator], steps: int) -> tuple[Tensor, float]:
        """Where `sample` begins: the noise z, (n, *shape), that it draws by these generators, and gamma at its first step."""
        from diffusers.utils.torch_utils import randn_tensor

        pipeline, shape = self.pipeline, (len(generators), *self.shape)
        z = randn_tensor(shape, generator=generators, device=pipeline.device, dtype=pipeline.unet.dtype)
        pipeline.scheduler.set_timesteps(steps)
        time = float(pipeline.scheduler.timesteps[0])
        return z.float(), self.schedule.gamma(min(1.0, time / (len(self.schedule.gammas) - 1)))

    def sample_from(self, z: Tensor, condition: Tensor, generators: list[torch.Generator], steps: int) -> Tensor:
        """`sample` from noise that `first_step` drew by these generators, given conditions in the place of prompts."""
        kind, without = self.pipeline.unet.dtype, self.conditions([""] * len(z))
        embeddings = {"prompt_embeds": condition.to(kind), "negative_prompt_embeds": without}
        options = {"generator": generators, "num_inference_steps": steps, "output_type": "pt"}
        return self.pipeline(latents=z.to(kind), **embeddings, **options).images.float().cpu()
