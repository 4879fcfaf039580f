"""A diffusion model with a U-Net, diffusers' `UNet2DModel` (the extra `diffusion`: `uv sync --extra diffusion`)."""

import math

import torch
from torch import Tensor

from engram.errors import UserError
from engram.models.diffusion import DiffusionModel

TIMESTEPS = 1000.0  # the scale on which the network's embedding of time expects t


class UNetDiffusion(DiffusionModel):
    """Predicts noise by a convolutional U-Net without attention.

    channels: of each resolution, the first being the image's own, each further one half of it. layers: residual blocks at each.
    gamma_0, gamma_1: minus the log signal-to-noise ratios at times 0 and 1. steps: of sampling, by the
    sampler "ancestral" or "ddim". classes: of the data set, of whose images' log p is then the one given their class; 0 for none.
    label_dropout: share of the training images whose class is withheld.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: tuple[int, ...] = (32, 64),
        layers: int = 1,
        gamma_0: float = -13.3,
        gamma_1: float = 5.0,
        steps: int = 250,
        sampler: str = "ancestral",
        classes: int = 0,
        label_dropout: float = 0.1,
    ):
        super().__init__(image_shape, gamma_0, gamma_1, steps, sampler, classes, label_dropout)
        of_image, height, width = image_shape
        halvings = 2 ** (len(channels) - 1)
        if height % halvings or width % halvings:
            raise UserError(
                f"images are {height}x{width}; {len(channels)} channels take sides that are multiples of {halvings}"
            )
        self.unet = _unet()(
            sample_size=(height, width),
            in_channels=of_image,
            out_channels=of_image,
            block_out_channels=tuple(channels),
            layers_per_block=layers,
            down_block_types=("DownBlock2D",) * len(channels),
            up_block_types=("UpBlock2D",) * len(channels),
            # Two channels or more: normalized alone, a channel would forget the time and the class that were added to it.
            norm_num_groups=math.gcd(8, *(number // 2 for number in channels)),
            add_attention=False,
            num_class_embeds=classes + 1 if classes else None,  # the last is the class that is not said
        )

    def predict_noise(self, z: Tensor, gamma: Tensor, label: Tensor | None = None) -> Tensor:
        t = (gamma - self.gamma_0) / (self.gamma_1 - self.gamma_0)
        if self.classes and label is None:
            label = torch.full((len(z),), self.classes, device=z.device)
        return self.unet(z, TIMESTEPS * t, label).sample


def _unet():
    try:
        from diffusers import UNet2DModel  # here, because its import takes seconds
    except ImportError as error:
        raise UserError(
            "the model `unet_diffusion` needs diffusers, which is not installed: run `uv sync --extra diffusion`, or "
            "pip install 'engram[diffusion]'"
        ) from error
    return UNet2DModel
