"""From a folder that was described to a checkpoint on a device: safetensors from this disk alone, and no weight missing."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engram.audit.checkpoint import Checkpoint, TextToImage
from engram.audit.folder import Folder
from engram.audit.schedule import schedule_of
from engram.errors import UserError, first_line

KEYS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
NEEDS = "an audit needs diffusers, and transformers for models with prompts; install them by `uv sync --extra audit`"


def load(folder: Folder, device: torch.device) -> Checkpoint:
    """The model in float32, to be evaluated. Raises UserError, in one line, for weights that do not fit, or without diffusers."""
    try:
        import diffusers

        with quiet():
            scheduler = _scheduler(folder, getattr(diffusers, folder.scheduler, None))
            pipeline = _with_prompts(folder, scheduler) if folder.is_conditional else _without(folder, scheduler)
            pipeline.to(device)
    except ImportError as error:
        raise UserError(f"{first_line(error)}; {NEEDS}") from error
    pipeline.set_progress_bar_config(disable=True)
    schedule = schedule_of(scheduler.alphas_cumprod, f"{folder.path}/scheduler")
    size = folder.configs["unet"]["sample_size"]
    sides = tuple(size) if isinstance(size, list) else (size, size)
    shape = (folder.configs["unet"]["in_channels"], *sides)
    kind = TextToImage if folder.is_conditional else Checkpoint
    return kind(_network(pipeline.unet), schedule, folder.prediction, shape, pipeline)


def _scheduler(folder: Folder, kind: Any) -> Any:
    where = folder.path / "scheduler"
    if kind is None:
        raise UserError(f"{where}: the installed diffusers has no {folder.scheduler}")
    try:
        scheduler = kind.from_pretrained(where, local_files_only=True)
    except Exception as error:  # whatever a config may hold
        raise UserError(f"{where}: cannot be loaded ({first_line(error)})") from error
    if not hasattr(scheduler, "alphas_cumprod"):
        raise UserError(f"{where}: a {folder.scheduler} has no alphas_cumprod, by which its noise would be known")
    return scheduler


def _network(unet: nn.Module) -> Any:
    """The U-Net as a function of z, times and a condition, in its own precision, whose output is float32."""

    def network(z: Tensor, times: Tensor, condition: Tensor | None) -> Tensor:
        given = () if condition is None else (condition.to(unet.dtype),)
        return unet(z.to(unet.dtype), times, *given).sample.float()

    return network


def _without(folder: Folder, scheduler: Any) -> Any:
    from diffusers import DDPMPipeline, UNet2DModel

    return DDPMPipeline(_weights(UNet2DModel, folder, "unet"), scheduler)


def _with_prompts(folder: Folder, scheduler: Any) -> Any:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    loaded = {component: _weights(kind, folder, component) for component, kind in parts.items()}
    tokenizer = CLIPTokenizer.from_pretrained(folder.path / "tokenizer", local_files_only=True)
    unneeded = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(**loaded, tokenizer=tokenizer, scheduler=scheduler, **unneeded)


def _weights(kind: Any, folder: Folder, component: str) -> nn.Module:
    """A component with every weight that it needs and none besides, in float32."""
    where = folder.path / component
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    if component in ("unet", "vae"):  # diffusers' own; otherwise weights that lack would be left without any values
        options["low_cpu_mem_usage"] = False
    try:
        model, info = kind.from_pretrained(where, variant=folder.variants[component], **options)
    except ImportError:
        raise
    except Exception as error:  # a damaged file or a wrong config can fail anywhere in three libraries
        raise UserError(
            f"{where}: cannot be loaded ({first_line(error)}); the folder is damaged or not whole"
        ) from error
    wrong = {key: sorted(map(str, info.get(key) or ())) for key in KEYS}
    for key, names in wrong.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            words = key.replace("_", " ").replace(" msgs", "s")
            raise UserError(f"{where}: has {words}: {names[0]}{more}; its weights are not those of its config.json")
    return model.float().eval().requires_grad_(False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what diffusers and transformers say while they load and convert: what matters is asked of them, and raised."""
    talkers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [talker.level for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for talker, level in zip(talkers, levels, strict=True):
                talker.setLevel(level)
