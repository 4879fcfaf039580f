"""An audit from folders to audit.h5 and audit.csv: everything is checked first, and what is finished is kept as it comes."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engram.analyses import roc
from engram.audit import blocks, loading, prevented
from engram.audit.artifact import Found, attributes_of, table_of, variables_of
from engram.audit.checkpoint import Checkpoint, TextToImage
from engram.audit.copies import copies, why_not
from engram.audit.given import STEPS, Asked, Given, read
from engram.audit.images import HELD_OUT, TRAINING, UNKNOWN, Rows
from engram.audit.judge import STATISTICS, Block, judge
from engram.audit.membership import roc_of_one_target, set_p_values
from engram.audit.precision import IMAGES, changes, halve
from engram.audit.prevented import Prevented
from engram.errors import UserError
from engram.files import artifacts, atomic, own_images
from engram.files.source import source_digest
from engram.randomness import generator, torch_generator
from engram.runtime.device import claimed_device, describe


def run(
    asked: Asked,
    output: str | Path,
    keys: Mapping[str, str],
    threads: int = 1,
    experiment: str = "",
    replaces: bool = False,
) -> None:
    """Write OUTPUT/audit.h5 and audit.csv, and meanwhile OUTPUT/blocks. `keys` are what a user calls each of the settings.

    Blocks of another audit are refused, unless this one `replaces` them. Raises UserError, in one line, for whatever is wrong with
    what is given, before anything is computed.
    """
    started, output = time.perf_counter(), Path(output)
    given = read(asked, keys)
    with claimed_device(threads) as device:
        made_by = _made_by(asked, given, output, describe(device))
        blocks.require_same(output / "blocks", made_by, replaces)
        checkpoint = loading.load(given.described, device)
        found = _found(asked, given, checkpoint, output / "blocks", device)
    attributes = attributes_of(asked, given, found, checkpoint, experiment) | {
        "device": made_by["device"],
        "wall_seconds": time.perf_counter() - started,
    }
    artifacts.write(output / "audit.h5", "audit", variables_of(given, found), attributes)
    atomic.write(output / "audit.csv", table_of(given, found).to_csv(index=False).encode())


def _made_by(asked: Asked, given: Given, output: Path, device: str) -> dict[str, Any]:
    """What blocks depend on, as plain values."""
    settings = {
        name: getattr(asked, name) for name in ("evaluations", "probes", "samples", "steps", "batch", "half", "seed")
    }
    said = hashlib.sha256("\0".join(given.prompts or []).encode()).hexdigest()[:16]
    return {
        "checkpoint": own_images.content_hash(given.described.path, output / "blocks" / "contents.json"),
        "images": hashlib.sha256(given.rows.digest.tobytes()).hexdigest()[:16],
        "prompts": said if given.prompts is not None else None,
        **settings,
        "device": device,
        "torch": torch.__version__,
        "code": source_digest(__file__),
    }


def _found(asked: Asked, given: Given, checkpoint: Checkpoint, kept: Path, device: torch.device) -> Found:
    rows, shape = given.rows, given.described.image_shape

    def block(here: slice) -> Block:
        levels = torch.from_numpy(rows.levels[here]).reshape(-1, *shape).to(device)
        return Block(levels, rows.digest[here], given.prompts and given.prompts[here])

    def judged(name: str, number: int, size: int) -> dict[str, np.ndarray]:
        return blocks.computed(
            kept, name, number, size, lambda here: judge(checkpoint, block(here), asked.effort), "image"
        )

    if asked.half:
        exact = judged("float32", min(IMAGES, len(rows.digest)), min(asked.batch, IMAGES))
        halve(checkpoint)
    columns = judged("images", len(rows.digest), asked.batch)
    precision = changes(columns, exact) if asked.half else {}
    if not np.isfinite(columns["bound"]).any():
        raise UserError(f"{given.described.path}: its network gives no image a finite bound; {_advice(asked)}")
    samples = _samples(asked, given, checkpoint, kept)
    training = given.sets["training"].levels if "training" in given.sets else None
    without = why_not(training) or ("" if asked.samples else "no samples are asked for")
    fresh = given.sets["held_out"].levels if "held_out" in given.sets else np.empty((0, rows.levels.shape[1]), np.uint8)
    of_copies = None if without else copies(samples, training, fresh, shape)
    instead = None if asked.prevent is None else _prevented(asked, given, checkpoint, kept)
    of_instead = None if without or instead is None else copies(instead.samples, training, fresh[:0], shape)
    scores = {name: columns[name] for name in (*STATISTICS, "prompt_gain") if name in columns}
    memberships = _membership(scores, rows, asked.seed)
    return Found(columns, samples, of_copies, without, *memberships, precision, instead, of_instead)


def _advice(asked: Asked) -> str:
    return "leave half out" if asked.half else "its weights may be damaged"


def _samples(asked: Asked, given: Given, checkpoint: Checkpoint, kept: Path) -> np.ndarray:
    """(samples, pixels) uint8 of the pipeline; with prompts, those of the judged images in turn."""
    if not asked.samples:
        return np.empty((0, given.rows.levels.shape[1]), np.uint8)

    def draw(here: slice) -> dict[str, np.ndarray]:
        return {"samples": _levels(checkpoint.sample(*_sampling(asked, given, here)), asked, given)}

    return blocks.computed(kept, "samples", asked.samples, asked.batch, draw, "sample")["samples"]


def _sampling(asked: Asked, given: Given, here: slice) -> tuple[list[str], list[torch.Generator], int]:
    """Prompts and generators of some samples, and their steps: what belongs to a sample by its number."""
    numbers, said = range(here.start, here.stop), [*dict.fromkeys(given.prompts or [])]
    generators = [torch_generator("cpu", asked.seed, "audit", "sample", number) for number in numbers]
    prompts = [said[number % len(said)] for number in numbers] if said else []
    return prompts, generators, asked.steps or STEPS[given.described.pipeline]


def _levels(images: torch.Tensor, asked: Asked, given: Given) -> np.ndarray:
    if not images.isfinite().all():  # they would become black pictures
        raise UserError(f"{given.described.path}: its samples are not finite; {_advice(asked)}")
    return (255 * images).round().byte().flatten(1).numpy()


def _prevented(asked: Asked, given: Given, checkpoint: TextToImage, kept: Path) -> Prevented:
    """The same samples with lowered embeddings: their threshold is a share of the median norm of all samples as they are."""

    def norm(here: slice) -> dict[str, np.ndarray]:
        return prevented.first_norm(checkpoint, *_sampling(asked, given, here))

    before = blocks.computed(kept, "guidance", asked.samples, asked.batch, norm, "sample")["norm"]
    if not np.isfinite(before).any():
        advice = "leave half out" if asked.half else "leave prevent out"
        raise UserError(f"{given.described.path}: no sample has a finite guidance vector at its first step; {advice}")
    threshold = asked.prevent * float(np.median(before[np.isfinite(before)]))

    def draw(here: slice) -> dict[str, np.ndarray]:
        images, moved = prevented.sample_lowered(checkpoint, *_sampling(asked, given, here), threshold)
        return {
            "samples": _levels(images, asked, given),
            "norm": moved.norm.cpu().numpy(),
            "steps": moved.steps.cpu().numpy(),
        }

    after = blocks.computed(kept, f"prevented-{asked.prevent}", asked.samples, asked.batch, draw, "sample")
    return Prevented(before=before, threshold=threshold, **after)


def _membership(
    scores: Mapping[str, np.ndarray], rows: Rows, seed: int
) -> tuple[dict[str, roc.Roc], dict[str, np.ndarray]]:
    """The ROC of each statistic, and p-values of the training images and of the unknown ones beside those held out.

    Training and held-out images are those that the seed drew. Images with a number that is not finite, as half precision may
    give, are left out of all of them.
    """
    values, membership = np.array([*scores.values()]), rows.membership
    is_scored = np.isfinite(values).all(axis=0) & rows.is_compared
    known = is_scored & (membership != UNKNOWN)
    is_member = membership[known] == TRAINING
    rocs = {
        name: roc_of_one_target(row[known], is_member, generator(seed, *roc.RESAMPLING))
        for name, row in zip(scores, values, strict=True)
    }
    p_values = {}
    for kind in (TRAINING, UNKNOWN):
        compared = is_scored & np.isin(membership, [kind, HELD_OUT])
        p_values[kind] = set_p_values(values[:, compared], membership[compared] == kind, seed, kind)
    return rocs, p_values
