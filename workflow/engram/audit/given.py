"""What an audit is asked and what it reads: all of it checked before a weight is loaded."""

from collections.abc import Mapping
from typing import NamedTuple

from engram.audit import folder, images, prompts
from engram.audit.folder import Folder
from engram.audit.images import Images, Rows
from engram.audit.judge import Effort
from engram.conventions import DRAWS_OF_A_BOUND as DRAWS
from engram.errors import UserError

STEPS = {"DDPMPipeline": 250, "StableDiffusionPipeline": 50}  # of sampling, unless asked otherwise


class Asked(NamedTuple):
    """What an audit is asked, as `engram audit` and config.yaml state it; docs/audit.md explains each.

    images, training, held_out are folders of images, or files of data sets of the workflow.
    """

    checkpoint: str
    images: str
    training: str | None = None
    held_out: str | None = None
    prompts: str | None = None
    samples: int = 1000
    steps: int | None = None
    evaluations: int = 64
    probes: int = 16
    judged: int = 1000
    batch: int = 16
    resize: bool = False
    half: bool = False
    prevent: float | None = None
    seed: int = 42

    @property
    def effort(self) -> Effort:
        return Effort(self.evaluations, self.probes, self.seed)


class Given(NamedTuple):
    """What an audit reads, checked: the folder as described, images by set, those that are judged, and the prompt of each."""

    described: Folder
    sets: Mapping[str, Images]
    rows: Rows
    prompts: list[str] | None


def read(asked: Asked, keys: Mapping[str, str]) -> Given:
    """Everything that is read, in the order in which mistakes cost the least time.

    `keys` are what a user calls each of the settings. Raises UserError, in one line, for whatever is wrong with one.
    """
    _require_numbers(asked, keys)
    described = folder.described(asked.checkpoint, keys["checkpoint"])
    if asked.prompts is not None and not described.is_conditional:
        raise UserError(
            f"{keys['prompts']}: '{asked.prompts}' is given, but a {described.pipeline} takes no prompts; leave it out"
        )
    if asked.prompts is None and described.is_conditional:
        raise UserError(
            f"{keys['prompts']}: is not given, but a {described.pipeline} needs the prompt of each image, in a CSV"
        )
    if asked.prevent is not None and not described.is_conditional:
        raise UserError(
            f"{keys['prevent']}: is {asked.prevent}, but a {described.pipeline} takes no prompts, whose embedding would be moved; "
            "leave it out"
        )
    sources = {name: getattr(asked, name) for name in images.SETS}
    images.require_folders(sources, keys)
    of_images = None if asked.prompts is None else prompts.read(keys["prompts"], asked.prompts)
    sets = {
        name: images.read(name, keys[name], source, described.image_shape, asked.resize)
        for name, source in sources.items()
        if source is not None
    }
    rows = images.rows_of(sets, keys, asked.judged, asked.seed)
    if of_images is None:
        return Given(described, sets, rows, None)
    return Given(described, sets, rows, prompts.of_images(keys["prompts"], of_images, sets, rows))


def _require_numbers(asked: Asked, keys: Mapping[str, str]) -> None:
    least = {"samples": 0, "steps": 1, "evaluations": DRAWS, "probes": 0, "judged": 2, "batch": 1, "seed": 0}
    for name, lowest in least.items():
        value = getattr(asked, name)
        if value is not None and value < lowest:
            raise UserError(f"{keys[name]}: is {value}; it must be at least {lowest}")
    if asked.probes == 1:
        raise UserError(
            f"{keys['probes']}: is 1; it must be 2 at least, by which its error is known, or 0 for an exact trace"
        )
    if asked.evaluations % DRAWS:
        raise UserError(
            f"{keys['evaluations']}: is {asked.evaluations}; it must be a multiple of {DRAWS}, by which its error is known"
        )
    if asked.prevent is not None and not 0 < asked.prevent <= 1:
        raise UserError(f"{keys['prevent']}: is {asked.prevent}; it must be a share above 0, and 1 at most")
    if asked.prevent is not None and not asked.samples:
        raise UserError(f"{keys['prevent']}: is {asked.prevent}, but no samples are asked for; leave it out")
