"""Tiny diffusers folders, made from configs: what someone else's checkpoint looks like, with random weights."""

import json

import numpy as np
import torch
from PIL import Image

BLOCKS = {"layers_per_block": 1, "block_out_channels": (4, 8), "norm_num_groups": 2}
WORDS = ("<|startoftext|>", "<|endoftext|>")


def unconditional(folder, channels=1, side=8, scheduler=None, out_channels=None):
    """A DDPMPipeline of images (channels, side, side)."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    sizes = {"in_channels": channels, "out_channels": out_channels or channels, "sample_size": side}
    unet = UNet2DModel(**sizes, attention_head_dim=2, **BLOCKS, **kinds)
    DDPMPipeline(unet, scheduler or DDPMScheduler()).save_pretrained(folder)
    return folder


def text_conditional(folder):
    """A StableDiffusionPipeline of RGB images of 16 pixels, whose latents have 4 channels of 8; its words are single letters."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *WORDS]
    ends = dict(
        zip(("bos_token_id", "eos_token_id", "pad_token_id"), (len(words) - 2, *[len(words) - 1] * 2), strict=True)
    )
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), max_position_embeddings=16, **sizes, **ends))
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    network = {"sample_size": 8, "attention_head_dim": 2, "cross_attention_dim": 8, **BLOCKS}
    unet = UNet2DConditionModel(down_block_types=down, up_block_types=up, **network)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = AutoencoderKL(latent_channels=4, sample_size=16, **BLOCKS, **kinds)
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    unneeded = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    parts = {"unet": unet, "vae": vae, "text_encoder": text, "tokenizer": _tokenizer(folder, words)}
    StableDiffusionPipeline(**parts, scheduler=scheduler, **unneeded).save_pretrained(folder)
    return folder


def _tokenizer(folder, words):
    from transformers import CLIPTokenizer

    files = [folder.with_name(f"{folder.name}-{name}") for name in ("vocab.json", "merges.txt")]
    files[0].write_text(json.dumps({word: number for number, word in enumerate(words)}))
    files[1].write_text("#version: 0.2\n")
    return CLIPTokenizer(*map(str, files), model_max_length=16)


def pictures(folder, number, shape=(8, 8), seed=0, names="{}.png"):
    """Files of random images, grey for a shape (height, width) and RGB for (height, width, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(number):
        Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(folder / names.format(index))
    return folder
