"""What a diffusers folder says of itself, in JSON alone: whether it can be audited is known before any weight is loaded.

Only weights in safetensors are ever read, and only classes of diffusers and transformers that are named here: neither pickles
nor code that comes with a folder is run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engram.datasets.paths import absent, expanded
from engram.errors import UserError, first_line

CLASSES = {
    "DDPMPipeline": {"unet": ("UNet2DModel",)},
    "StableDiffusionPipeline": {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    },
}
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Folder(NamedTuple):
    """image_shape: (C, H, W) of images; configs: by component; variants: the ending of each component's weights, or None."""

    path: Path
    pipeline: str
    image_shape: tuple[int, int, int]
    configs: Mapping[str, Mapping[str, Any]]
    variants: Mapping[str, str | None]
    scheduler: str  # its class

    @property
    def is_conditional(self) -> bool:
        return self.pipeline == "StableDiffusionPipeline"

    @property
    def prediction(self) -> str:
        return self.configs["scheduler"].get("prediction_type", "epsilon")


def described(written: str | Path, key: str = "checkpoint") -> Folder:
    """A folder as its JSON files describe it; `key` is what it is called. Raises UserError, in one line, for one of no use."""
    path = expanded(written)
    if not path.is_dir():
        raise UserError(f"{key}: '{written}' does not exist or is not a folder{absent(written)}")
    index = _json(path / "model_index.json", "it is what diffusers' save_pretrained writes")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in CLASSES:
        raise UserError(f"{path}: is a {pipeline}; an audit takes a {' or a '.join(CLASSES)}")
    for component, classes in CLASSES[pipeline].items():
        _require_class(path, component, index.get(component), classes)
    library, scheduler = _library_and_class(index.get("scheduler"))
    if library != "diffusers" or not str(scheduler).endswith("Scheduler"):
        raise UserError(f"{path}: its scheduler is {scheduler!r} of {library!r}; it must be one of diffusers' own")
    weighty = [component for component in CLASSES[pipeline] if component in WEIGHTS]
    configs = {component: _json(path / component / "config.json") for component in weighty}
    configs["scheduler"] = _json(path / "scheduler" / "scheduler_config.json")
    variants = {component: _variant(path / component, WEIGHTS[component]) for component in weighty}
    _require_readable(path, configs)
    return Folder(path, pipeline, _image_shape(path, configs), configs, variants, scheduler)


def _json(path: Path, hint: str = "the folder is not whole") -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); {hint}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping; {hint}")
    return content


def _require_class(path: Path, component: str, stated: Any, classes: tuple[str, ...]) -> None:
    library, name = _library_and_class(stated)
    if library not in ("diffusers", "transformers") or name not in classes:
        raise UserError(f"{path}: its {component} is {name!r} of {library!r}; an audit takes a {' or '.join(classes)}")


def _library_and_class(stated: Any) -> tuple[Any, Any]:
    return (stated[0], stated[1]) if isinstance(stated, list) and len(stated) == 2 else (None, None)


def _variant(folder: Path, stem: str) -> str | None:
    """Ending of the weights that are there in safetensors: None for the plain ones, or "fp16"."""
    for variant in (None, "fp16"):
        names = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
        if variant:
            names = f"{stem}.{variant}.safetensors", f"{stem}.safetensors.index.{variant}.json"
        if any((folder / name).is_file() for name in names):
            return variant
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    held = f"; {pickles[0]} is a pickle, which can run any code and is not opened" if pickles else ""
    raise UserError(f"{folder}: lacks {stem}.safetensors{held}; save the model again with safe_serialization=True")


def _require_readable(path: Path, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError for networks whose output could not be told to be noise."""
    unet, prediction = configs["unet"], configs["scheduler"].get("prediction_type", "epsilon")
    embedding, channels, out = (unet.get(key) for key in ("time_embedding_type", "in_channels", "out_channels"))
    if prediction not in PREDICTIONS:
        raise UserError(f"{path}: its prediction_type is {prediction!r}; an audit reads {', '.join(PREDICTIONS)}")
    if embedding not in (None, "positional"):
        raise UserError(
            f"{path}: its time_embedding_type is {embedding!r}; an audit reads positional ones, between times"
        )
    if unet.get("num_class_embeds") or unet.get("class_embed_type"):
        raise UserError(f"{path}: its unet takes classes; an audit takes models without any, or with prompts")
    if not isinstance(channels, int) or out not in (channels, 2 * channels):
        raise UserError(
            f"{path}: its unet makes {out} channels of {channels}; an audit reads as many, or twice as many"
        )
    latent = configs["vae"].get("latent_channels") if "vae" in configs else channels
    if latent != channels:
        raise UserError(f"{path}: its unet takes {channels} channels, its vae makes {latent}; they must agree")


def _image_shape(path: Path, configs: Mapping[str, Mapping[str, Any]]) -> tuple[int, int, int]:
    size = configs["unet"].get("sample_size")
    sides = tuple(size) if isinstance(size, list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UserError(f"{path}: the sample_size of its unet is {size!r}; it must be the side of its images")
    if "vae" not in configs:
        return (configs["unet"]["in_channels"], *sides)
    channels, blocks = (configs["vae"].get(key) for key in ("in_channels", "block_out_channels"))
    if channels != 3 or not isinstance(blocks, list):
        raise UserError(
            f"{path}: its vae takes {channels} channels in blocks {blocks}; an audit takes one of RGB images"
        )
    return (channels, *(side * 2 ** (len(blocks) - 1) for side in sides))
