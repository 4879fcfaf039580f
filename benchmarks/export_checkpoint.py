"""Write the full model of an experiment with `unet_diffusion` as a folder of diffusers, and its images as folders beside it.

    uv run --extra audit python benchmarks/export_checkpoint.py results/digits_copied exported
    uv run --extra audit engram audit exported/model --images exported/training --training exported/training \\
        --held-out exported/held_out --samples 300 --steps 50 --output exported/audit

What engram trained is then audited as if someone else had: docs/audit.md. The scheduler's times are the model's own, k of 1,000 for
gamma_0 + (gamma_1 - gamma_0) k / 1,000, so that the network is told what it was told in training.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from PIL import Image

import engram
from engram.files.artifacts import TEST, TRAIN
from engram.models.unet_diffusion import TIMESTEPS, UNetDiffusion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", type=Path, help="folder of the experiment's results")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    run = engram.load(options.experiment)
    scores = next(iter(run.scores.values()))
    (model,) = run.models("full", int(scores["epoch"][-1]))
    pipeline(model).save_pretrained(options.output / "model", safe_serialization=True)
    for name, split in (("training", TRAIN), ("held_out", TEST)):
        pictures(run.dataset, split, options.output / name)


def pipeline(model: UNetDiffusion):
    """The network with a scheduler whose noise at time k is the model's."""
    from diffusers import DDPMPipeline, DDPMScheduler  # here, because it is an extra

    times = np.arange(int(TIMESTEPS)) / TIMESTEPS
    gamma = model.gamma_0 + (model.gamma_1 - model.gamma_0) * times
    alphas_cumprod = 1 / (1 + np.exp(gamma))
    betas = 1 - alphas_cumprod / np.concatenate([[1.0], alphas_cumprod[:-1]])
    scheduler = DDPMScheduler(num_train_timesteps=len(betas), trained_betas=torch.tensor(betas).tolist())
    return DDPMPipeline(model.unet, scheduler)


def pictures(dataset: xr.Dataset, split: int, folder: Path) -> None:
    """Every image of a split as a PNG, named by its index in the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    channels, height, width = dataset.attrs["image_shape"]
    for index in np.flatnonzero(dataset["split"].values == split):
        levels = dataset["images"].values[index].reshape(channels, height, width)
        grey = levels[0] if channels == 1 else levels.transpose(1, 2, 0)
        Image.fromarray(grey).save(folder / f"{index}.png")


if __name__ == "__main__":
    main()
