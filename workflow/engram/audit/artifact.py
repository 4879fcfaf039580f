"""What an audit leaves: the variables and attributes of audit.h5, and the table audit.csv, a row an image."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from engram.analyses import roc
from engram.analyses.copying import PER_IMAGE as PER_IMAGE_OF_SAMPLES
from engram.audit import prevented
from engram.audit.checkpoint import Checkpoint
from engram.audit.copies import Copies
from engram.audit.given import STEPS, Asked, Given
from engram.audit.images import HELD_OUT, TRAINING, UNKNOWN, means, small
from engram.audit.judge import TIMES, calls_per_image
from engram.audit.prevented import Prevented
from engram.files import provenance
from engram.files.artifacts import variable
from engram.scores import intervals

PER_IMAGE = {
    "bound": ("nats", "lower bound on log p"),
    "bound_standard_error": ("nats", "standard error of the bound, over draws of its noise"),
    "loss_at_t": ("1", "minus the squared error of the noise predicted at time 100 of 1,000"),
    "secmi": ("1", "SecMI, negated: higher for a member"),
    "pia": ("1", "PIA, negated: higher for a member"),
    "sima": ("1", "SimA, negated: higher for a member"),
    "lid": ("1", "dimension of what the model learned, by FLIPD"),
    "lid_standard_error": ("1", "standard error of it, over directions drawn; 0 where its trace is exact"),
    "bound_without_prompt": ("nats", "lower bound on log p given the empty prompt"),
    "bound_without_prompt_standard_error": ("nats", "standard error of it, over draws of its noise"),
    "prompt_gain": ("nats", "bound given the prompt minus bound given none, by the same noise"),
    "prompt_gain_standard_error": ("nats", "standard error of it, over draws of its noise"),
    "guidance_norm": (
        "1",
        "norm of the noise predicted given the prompt minus that given none, at the image scaled by alpha",
    ),
    "lid_without_prompt": ("1", "dimension given the empty prompt, by FLIPD"),
    "lid_without_prompt_standard_error": ("1", "standard error of it, over directions drawn"),
    "lid_ratio": ("1", "dimension given the prompt over that given none; NaN unless both are positive"),
}
SHARES = {
    "share_of_copies": "share of samples that are copies",
    "share_of_copies_fresh": "share of held-out images that are copies by the same rule",
    "authenticity": "share of samples that are authentic",
    "authenticity_fresh": "share of held-out images that are authentic",
}


class Found(NamedTuple):
    """Columns of the rows; samples and copies if there are any, and else why not; ROC by statistic, and p-values of sets.

    prevented: the same samples with lowered embeddings, if asked for, and the copies among them.
    """

    columns: Mapping[str, np.ndarray]
    samples: np.ndarray
    copies: Copies | None
    without_copies: str
    rocs: Mapping[str, roc.Roc]
    set_p_values: Mapping[str, np.ndarray]
    precision: Mapping[str, float]
    prevented: Prevented | None = None
    copies_prevented: Copies | None = None


def variables_of(given: Given, found: Found) -> dict[str, tuple]:
    """Of every image, of samples and training images, and of the statistics that tell membership."""
    rows, shape, of_images = given.rows, given.described.image_shape, ("image",)
    variables = {
        "time": variable(("time",), np.array(TIMES), "1", "share of the checkpoint's schedule"),
        "file": variable(of_images, rows.path, "1", "file of the image in its folder"),
        "source": variable(of_images, rows.source, "1", "set that the image comes from: images, training or held-out"),
        "membership": variable(
            of_images, rows.membership, "1", "training, held-out, or unknown: nobody said, nothing is guessed"
        ),
        "picture": variable(
            ("image", "pixel"), small(rows.levels, shape), "1", "grey level from 0 to 255, 64 pixels a side at most"
        ),
    }
    if given.prompts is not None:
        variables["prompt"] = variable(of_images, np.array(given.prompts, object), "1", "prompt of the image")
    for name, values in found.columns.items():
        axes = ("image", "time")[: values.ndim]
        variables[name] = variable(axes, values, *PER_IMAGE[name], may_be_undefined=True)
    variables |= _of_membership(found) | (_of_copies(given, found) if found.copies else {})
    if found.prevented:
        fresh = given.sets["held_out"].levels if "held_out" in given.sets else rows.levels[:0]
        of_copies = found.copies, found.copies_prevented
        variables |= prevented.variables_of(found.prevented, found.samples, *of_copies, fresh, shape)
    return variables


def _of_membership(found: Found) -> dict[str, tuple]:
    curves = {name: values for name, values in roc.variables(found.rocs).items() if name not in found.rocs}
    p_values = np.array([*found.set_p_values.values()])
    meaning = "p-value that so many images of the set rank so high beside held-out ones without membership"
    return {
        **roc.axes(found.rocs),
        **curves,
        "set": variable(
            ("set",), [*found.set_p_values], "1", "membership of the images that are compared with held-out ones"
        ),
        "set_p_value": variable(("set", "attack"), p_values, "1", meaning, may_be_undefined=True),
    }


def _of_copies(given: Given, found: Found) -> dict[str, tuple]:
    of, training, shape = found.copies, given.sets["training"], given.described.image_shape
    meaning = "distance to the nearest training image over that to the nearest different one"
    variables = {
        "training_file": variable(("training_image",), training.path.astype(object), "1", "file of the training image"),
        "ratio": variable(("generated",), of.ratio, "1", f"{meaning}, of each sample"),
        "nearest_training_image": variable(
            ("generated",), of.owner, "1", "index of the training image nearest to each sample"
        ),
        "ratio_fresh": variable(("held_out_image",), of.ratio_fresh, "1", f"{meaning}, of each held-out image"),
        "shown_ratio": variable(("shown",), of.ratio[of.shown], "1", meaning),
        "shown_sample": variable(
            ("shown", "pixel"), small(found.samples[of.shown], shape), "1", "samples nearest to being copies"
        ),
        "shown_training": variable(
            ("shown", "pixel"),
            small(training.levels[of.owner[of.shown]], shape),
            "1",
            "the training images nearest to them",
        ),
        "shown_file": variable(("shown",), training.path[of.owner[of.shown]].astype(object), "1", "files of these"),
    }
    for name, values in of.per_image.items():
        variables[f"training_{name}"] = variable(("training_image",), values, "1", PER_IMAGE_OF_SAMPLES[name], True)
    for name, share in of.shares.items():
        variables |= intervals.variables(name, share, SHARES[name], axes=())
    return variables


def attributes_of(asked: Asked, given: Given, found: Found, checkpoint: Checkpoint, experiment: str) -> dict[str, Any]:
    """What is true of the whole audit, device and time apart."""
    rows, described, schedule = given.rows, given.described, checkpoint.schedule
    kinds = {
        f"images_{kind.replace('-', '_')}": int((rows.membership == kind).sum())
        for kind in (TRAINING, HELD_OUT, UNKNOWN)
    }
    calls = calls_per_image(asked.effort, int(np.prod(checkpoint.shape)), given.prompts is not None)
    read = {name: each.said for name, each in given.sets.items()}
    return provenance.attributes(
        experiment,
        asked.seed,
        asked._asdict(),
        pipeline=described.pipeline,
        scheduler=described.scheduler,
        prediction_type=described.prediction,
        stored_as=json.dumps({name: ending or "float32" for name, ending in described.variants.items()}),
        bound_of="latent" if checkpoint.is_latent else "image",
        image_shape=list(described.image_shape),
        picture_shape=list(means(rows.levels[:1], described.image_shape)[1]),
        x_shape=list(checkpoint.shape),
        gamma_0=schedule.gamma_0,
        gamma_1=schedule.gamma_1,
        times=len(schedule.gammas) + schedule.cut,
        times_cut=schedule.cut,
        steps=asked.steps or STEPS[described.pipeline],
        images_read=json.dumps(read, ensure_ascii=False),
        network_calls_per_image=json.dumps(calls),
        images_undefined=int((~np.isfinite([*_flat(found.columns)]).all(axis=0)).sum()),
        without_copies=found.without_copies,
        **kinds,
        **found.precision,
        **(prevented.attributes_of(found.prevented) if found.prevented else {}),
    )


def _flat(columns: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
    """Every column, (n,), of curves one for each time; but for the ratio, which may be NaN where every number is finite."""
    for name, values in columns.items():
        if name != "lid_ratio":
            yield from values.reshape(len(values), -1).T


def table_of(given: Given, found: Found) -> pd.DataFrame:
    """A row an image: what it is, every column, a curve as a column for each time, and the copies of a training image."""
    rows = given.rows
    table: dict[str, Any] = {"file": rows.path, "source": rows.source, "membership": rows.membership}
    if given.prompts is not None:
        table["prompt"] = given.prompts
    for name, values in found.columns.items():
        table |= (
            {name: values} if values.ndim == 1 else {f"{name}_{time:g}": values[:, k] for k, time in enumerate(TIMES)}
        )
    if found.copies:
        digest = given.sets["training"].digest()
        place = {number: index for index, number in reversed([*enumerate(digest)])}
        index = np.array([place.get(number, -1) for number in rows.digest])
        for name, values in found.copies.per_image.items():
            table[name] = np.where(index < 0, np.nan, values[index])
    return pd.DataFrame(table)
