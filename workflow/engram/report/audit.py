"""The page of an audit, self-contained as results/report.html is: what was asked, what was found, and what cannot be known."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from engram.audit.images import TRAINING, UNKNOWN
from engram.audit.pictures import LOOK, figures
from engram.files import artifacts
from engram.report import rendering
from engram.scores import intervals

CAPTIONS = {
    "membership": "How well one number tells training images from held-out ones. At chance a curve follows the dotted line. "
    "Intervals are over images.",
    "bounds": "What the model says of the images as a whole. Images that it was trained on lie further right than held-out ones "
    "only where it remembers them.",
    "dimensions": "Medians and quartiles over images. A low dimension at an image says that the model learned few ways to vary it. "
    "Values of networks are relative: compare images by them, at one time.",
    "highest": "Under each file stands what is known of its membership, and the number that orders the row.",
    "copied": "A sample is a copy where its nearest training image is less than a third as far away as the nearest different one.",
    "prevented": "Before sampling began, the embedding of each prompt was moved down the gradient of the norm of the guidance "
    "vector (Wen et al. 2024). Under each sample stands that norm.",
}


def write(path: str | Path, audit_path: str | Path) -> None:
    """Write the page of an audit.h5."""
    audit = artifacts.read(audit_path, "audit")
    rendering.write(
        path,
        "audit.html.j2",
        name=Path(json.loads(audit.attrs["values"])["checkpoint"]).name,
        headline=[*_headline(audit)],
        cautions=[*_cautions(audit)],
        run=[*_run(audit)],
        statistics=[*_statistics(audit)],
        figures=[*_figures(audit)],
        without_copies=audit.attrs["without_copies"],
        audit_path=audit_path,
    )


def _headline(audit: xr.Dataset) -> Iterator[str]:
    """What was found, in sentences."""
    of = audit.attrs["bound_of"]
    spread = np.nanquantile(audit["bound"].values, [0.05, 0.5, 0.95])
    yield (
        f"The bound on log p of the {of} is {spread[1]:,.1f} nats in the median of {audit.sizes['image']:,} images, and from "
        f"{spread[0]:,.1f} to {spread[2]:,.1f} for nine in ten of them."
    )
    if "share_of_copies" in audit:
        share = intervals.read(audit, "share_of_copies")
        copied = int((audit["training_recurrence"].values > 0).sum())
        yield (
            f"Of {audit.sizes['generated']:,} samples, {_percent(share)} are copies of training images; {copied:,} of "
            f"{audit.sizes['training_image']:,} training images are copied."
        )
    if "shown_prevented" in audit:
        yield " ".join(_of_prevention(audit))
    areas = audit["area_under_curve"]
    if areas.notnull().any():
        best = ", ".join(f"{LOOK[name][0]} {_area(audit, name)}" for name in audit["attack"].values)
        yield (
            f"Areas under the ROC curve of {int(audit['members'].max()):,} training against "
            f"{int(audit['non_members'].max()):,} held-out images: {best}. Chance is 0.5."
        )


def _of_prevention(audit: xr.Dataset) -> Iterator[str]:
    """What lowered embeddings change, each as before and after."""
    medians = [audit.attrs[f"first_guidance_norm{ending}_median"] for ending in ("", "_prevented")]
    yield (
        "With prompts' embeddings moved before sampling, from the same noise, the median norm of the guidance vector at the first "
        f"step falls from {medians[0]:.3g} to {medians[1]:.3g}."
    )
    if "share_of_copies_prevented" in audit:
        before, after = (_percent(intervals.read(audit, f"share_of_copies{end}")) for end in ("", "_prevented"))
        yield f"Of the samples, {before} are copies without this, and {after} with it."
    if "distance_to_held_out" in audit:
        before, after = (intervals.read(audit, f"distance_to_held_out{end}").text(".4g") for end in ("", "_prevented"))
        yield f"Their mean distance to the nearest held-out image is {before} without this, and {after} with it."


def _area(audit: xr.Dataset, attack: str) -> str:
    return intervals.read(audit.sel(attack=attack), "area_under_curve").text()


def _percent(share: intervals.Interval) -> str:
    """A share in percent to a digit behind the point, with its interval."""
    return "{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * end for end in share))


def _cautions(audit: xr.Dataset) -> Iterator[str]:
    """What speaks against reading more into the numbers than they hold."""
    attributes = audit.attrs
    if attributes["images_unknown"]:
        yield (
            f"Nobody has said whether the model was trained on {attributes['images_unknown']:,} of these images. Their membership "
            "is unknown, and no number on this page settles it for one image."
        )
    if audit["area_under_curve"].isnull().all():
        yield "Without both training and held-out images, no number can be said to tell membership."
    else:
        yield (
            "Whether training and held-out images were drawn alike is not known here. If they were not, curves and p-values tell "
            "two kinds of image apart, and not what the model remembers."
        )
    if attributes["bound_of"] == "latent":
        yield "Every number but the copies is of the latent into which the checkpoint's encoder puts an image, not of the image."
    if attributes.get("samples_not_below_threshold"):
        yield (
            f"The embeddings of {attributes['samples_not_below_threshold']:,} of {audit.sizes['generated']:,} samples could not be "
            f"moved to a norm of {attributes['prevention_threshold']:.3g}; their samples are counted as they are."
        )
    if attributes["images_undefined"]:
        yield f"{attributes['images_undefined']:,} images have numbers that are not finite, and are left out of tests."
    if attributes["times_cut"]:
        yield f"The last {attributes['times_cut']} of {attributes['times']} times have no signal left, and are cut."
    for what, words in (("bound", "the bound by up to {:.2g} nats"), ("lid", "the dimension by up to {:.2g}")):
        if (key := f"half_precision_changes_{what}_by") in attributes:
            yield f"Half precision changes {words.format(attributes[key])}, over the first images, which were judged in both."


def _run(audit: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Rows of the table "what was asked"."""
    attributes, values = audit.attrs, json.loads(audit.attrs["values"])
    yield "checkpoint", f"{values['checkpoint']}, a {attributes['pipeline']}"
    yield (
        "schedule",
        (
            f"{attributes['scheduler']} of {attributes['times']} times, gamma from {attributes['gamma_0']:.2f} to "
            f"{attributes['gamma_1']:.2f}; the network predicts {attributes['prediction_type']}"
        ),
    )
    for name, said in json.loads(attributes["images_read"]).items():
        yield name.replace("_", "-"), f"{values[name]}: {'; '.join(said)}"
    kinds = ("training", "held_out", "unknown")
    yield "judged", ", ".join(f"{attributes[f'images_{kind}']:,} {kind.replace('_', '-')}" for kind in kinds)
    if values["prompts"] is not None:
        yield "prompts", values["prompts"]
    yield "samples", f"{values['samples']:,} of {attributes['steps']} steps"
    if values["prevent"] is not None:
        threshold = attributes["prevention_threshold"]
        yield (
            "prevention",
            f"norms of {values['prevent']:g} of their median at most, {threshold:.3g}, at the first step",
        )
    yield (
        "effort",
        f"{values['evaluations']} evaluations of a bound, {values['probes'] or 'all'} directions of a dimension",
    )
    yield "precision", "float16" if values["half"] else "float32"
    yield "seed", str(values["seed"])
    calls = json.loads(attributes["network_calls_per_image"])
    yield "network", f"{calls['forward']:,} forward and {calls['backward']:,} backward passes an image"
    yield "machine", f"{attributes['device']}, {attributes['wall_seconds']:.0f} seconds"
    yield "software", f"engram {attributes['engram_version']}, torch {attributes['torch_version']}"


def _statistics(audit: xr.Dataset) -> Iterator[tuple[str, str, list[str]]]:
    """Of each number that tells membership: title, area under the curve, and p-values of the training and of the unknown images."""
    for name in audit["attack"].values:
        p_values = [float(audit["set_p_value"].sel(attack=name, set=kind)) for kind in (TRAINING, UNKNOWN)]
        yield LOOK[name][0], _area(audit, name), [f"{p:.2g}" if np.isfinite(p) else "-" for p in p_values]


def _figures(audit: xr.Dataset) -> Iterator[dict[str, str]]:
    for name, draw in figures(audit).items():
        content = io.BytesIO()
        draw(audit).savefig(content, format="png", dpi=200, metadata={"Software": None})
        yield {"name": name, "caption": CAPTIONS[name], "png": base64.b64encode(content.getvalue()).decode()}
