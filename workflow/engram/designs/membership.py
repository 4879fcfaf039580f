"""Which model is trained on which image, and what the scores compare.

A design is a pair of (model, sample) matrices over the training images and then the test images. `in_training` says
what each model is trained on; `counted_as_in` says on which side of the score the model stands. They are equal except
in the null design. Models come in repeats; within a repeat, every scored image is held out by one model. In the design
staggered, `enters` says from which epoch on a model is shown an image.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from engram.datasets import duplicates
from engram.designs import cohorts
from engram.designs.repeats import FULL, repeat_name
from engram.errors import UserError
from engram.files.artifacts import TRAIN, variable
from engram.randomness import generator


@dataclass(frozen=True)
class Membership:
    """The matrices in_training and counted_as_in (model, sample), bool; repeat and fold (model,), from 0.

    enters: of the design staggered, (model, sample), as engram.designs.cohorts.enters gives it for each repeat; else None.
    """

    in_training: np.ndarray
    counted_as_in: np.ndarray
    repeat: np.ndarray
    fold: np.ndarray
    enters: np.ndarray | None = None

    @property
    def scored(self) -> np.ndarray:
        """(sample,) bool: images with at least one model counted as in and one counted as out. Never test images."""
        return scored(self.counted_as_in)

    def variables(self, split: np.ndarray, label: np.ndarray) -> dict[str, tuple]:
        """The variables of the artifact membership.h5."""
        matrix = ("model", "sample")
        shown = "number of epochs after which the model is shown the image, -1 = never"
        return {
            "in_training": variable(matrix, self.in_training, "1", "model is trained on the image"),
            "counted_as_in": variable(matrix, self.counted_as_in, "1", "scores count the model as trained on it"),
            "repeat": variable(("model",), self.repeat, "1", "repeat of the model"),
            "fold": variable(("model",), self.fold, "1", "fold that the model holds out"),
            "split": variable(("sample",), split, "1", "0 = training image, 1 = test image"),
            "label": variable(("sample",), label, "1", "class of the image, -1 = none"),
            **({} if self.enters is None else {"enters": variable(matrix, self.enters, "1", shown)}),
        }


def scored(counted_as_in: np.ndarray) -> np.ndarray:
    """(sample,) bool: images that some model of counted_as_in (model, sample) counts as in and some does not."""
    return counted_as_in.any(axis=0) & ~counted_as_in.all(axis=0)


def models_of(
    repeat: str, settings: dict, split: np.ndarray, group: np.ndarray, root_seed: int, experiment: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The models to train for the repeat called `repeat`: their folds (model,), in_training (model, sample), and `enters`.

    "full" is one model, fold -1, trained on all training images; it is no row of the membership. The rows of other repeats
    are those of `design` for any number of repeats, so that a repeat can be trained before or without the others; the
    arguments are those of `design`, and settings need no repeats.
    """
    if repeat == FULL:
        return np.array([-1]), split[None] == TRAIN, None
    number = int(repeat.removeprefix("repeat-"))
    membership = design(settings | {"repeats": number + 1}, split, group, root_seed, experiment)
    mine = membership.repeat == number
    enters = None if membership.enters is None else membership.enters[mine]
    return membership.fold[mine], membership.in_training[mine], enters


def design(settings: dict, split: np.ndarray, group: np.ndarray, root_seed: int, experiment: str) -> Membership:
    """The membership of one experiment, from its `membership` settings.

    settings: {design, folds or cohorts, repeats, groups}, and those that `groups_of` takes, where design is one of
      k_fold         every model is trained on all training images but one fold; fold sizes differ by at most one
      half_split     k_fold with two folds: the two models of a repeat are trained on complementary halves
      leave_one_out  k_fold with one image a fold
      null           half of the training images is set aside and never trained on. The models are a k_fold on the other
                     half; an independent k_fold of the images set aside says what they count as. Only those are scored.
      staggered      k_fold with a fold for each of the cohorts and one that is held out. A model is shown each of its other
                     folds from another epoch of `cohorts` on (engram.designs.cohorts).
    and groups says where images of one group go, such as planted copies: held out "together" (default), or "apart",
    spread over as many folds as can be. split (sample,) is 0 for training images; group (sample,) is a number, or -1
    for none. Repeats are seeded by name: more repeats do not change the first ones. Raises UserError for settings that
    cannot be met.
    """
    try:
        return _design(settings, split, group, root_seed, experiment)
    except UserError as error:
        raise UserError(f"experiments.{experiment}.{error}") from error


def _design(settings: dict, split: np.ndarray, group: np.ndarray, root_seed: int, experiment: str) -> Membership:
    train = np.flatnonzero(split == TRAIN)
    folds, repeats = _folds(settings, len(train)), int(settings["repeats"])
    if repeats < 1:
        raise UserError(f"membership.repeats: {repeats} is too few; at least 1 is needed")
    assign = _ASSIGN.get(settings.get("groups", "together"))
    if assign is None:
        raise UserError(f"membership.groups: {settings['groups']!r} is unknown; choose together or apart")
    names = [("membership", experiment, repeat_name(number)) for number in range(repeats)]
    aside = np.zeros(len(train), dtype=bool)
    if settings["design"] == "null":
        # Copies of one image stay on one side, or the models would have seen what is set aside.
        aside = _together(group[train], 2, generator(root_seed, "membership", experiment, "set aside")) == 1

    in_training = np.zeros((repeats, folds, len(split)), dtype=bool)
    counted_as_in = np.zeros_like(in_training)
    for number, name in enumerate(names):
        seen, unseen = train[~aside], train[aside]
        in_training[number][:, seen] = _outside(assign(group[seen], folds, generator(root_seed, *name)), folds)
        if len(unseen):
            labels = assign(group[unseen], folds, generator(root_seed, *name, "set aside"))
            counted_as_in[number][:, unseen] = _outside(labels, folds)
        else:
            counted_as_in[number] = in_training[number]
    shape = (repeats * folds, len(split))
    repeat, fold = np.divmod(np.arange(repeats * folds), folds)
    enters = None
    if settings["design"] == "staggered":
        enters = np.concatenate([cohorts.enters(of_repeat, settings["cohorts"]) for of_repeat in in_training])
    return Membership(in_training.reshape(shape), counted_as_in.reshape(shape), repeat, fold, enters)


def groups_of(settings: dict, images: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Group of each image, (sample,), -1 = none: as the data set gives them, and with groups_from: duplicates copies, too.

    images: (sample, pixels) uint8; settings may state duplicate_distance, the mean difference in grey levels up to which two
    images count as copies (0: equal to the byte). What either way holds together stays together.
    """
    if settings.get("groups_from") != "duplicates":
        return given
    return duplicates.joined(given, duplicates.groups(images, settings.get("duplicate_distance", 0)))


def groups_in(dataset: xr.Dataset, settings: dict) -> np.ndarray:
    """`groups_of` the images of a data set's file."""
    given = dataset["group"].values if "group" in dataset else np.full(dataset.sizes["sample"], -1)
    return groups_of(settings, dataset["images"].values, given)


def _folds(settings: dict, n: int) -> int:
    """Number of folds of the design over n training images."""
    name = settings["design"]
    available = n // 2 if name == "null" else n
    fixed = {"half_split": 2, "leave_one_out": n, "staggered": len(settings.get("cohorts", ())) + 1}
    folds = fixed.get(name, settings.get("folds"))
    if name not in ("k_fold", "half_split", "leave_one_out", "null", "staggered"):
        raise UserError(
            f"membership.design: {name!r} is unknown; choose k_fold, half_split, leave_one_out, null or staggered"
        )
    if available < 2:
        raise UserError(
            f"membership.design: {name} needs {4 if name == 'null' else 2} training images or more, not {n}"
        )
    if name == "staggered" and not 2 <= folds <= available:
        raise UserError(
            f"membership.cohorts: {folds - 1} are out of range; staggered of {n} training images takes 1 to {available - 1}"
        )
    if folds is None or not 2 <= folds <= available:
        raise UserError(
            f"membership.folds: {folds} is out of range; {name} of {n} training images takes 2 to {available}"
        )
    return int(folds)


def _outside(fold_of: np.ndarray, folds: int) -> np.ndarray:
    """(fold, sample) bool: the images that are not in each fold."""
    return fold_of != np.arange(folds)[:, None]


def _apart(group: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each image, at random with equal sizes, the images of a group in different folds while there are any."""
    unit = _units(group)
    order = np.lexsort((rng.random(len(unit)), rng.permutation(unit.max() + 1)[unit]))
    fold_of = np.empty(len(unit), dtype=int)
    # Members of a group are neighbours in `order`, so that dealing the images out in turn separates them.
    fold_of[order] = rng.permutation(folds)[np.arange(len(unit)) % folds]
    return fold_of


def _together(group: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each image, at random, the images of a group in one fold; sizes are equal as far as groups allow it."""
    largest = -(-len(group) // folds)
    free = rng.permutation(len(group) // folds + (np.arange(folds) < len(group) % folds))
    fold_of = np.empty(len(group), dtype=int)
    groups, sizes = np.unique(group[group >= 0], return_counts=True)
    for number in np.lexsort((rng.random(len(sizes)), -sizes)):  # largest first, or a large one may find no room
        fold = int(np.argmax(free + rng.random(folds)))
        if sizes[number] > largest:
            raise UserError(
                f"membership.groups: together, but group {groups[number]} has {sizes[number]} images and no fold has "
                f"room for more than {largest}; use fewer folds or groups: apart"
            )
        fold_of[group == groups[number]] = fold
        free[fold] -= sizes[number]
    alone = int((group < 0).sum())
    free = np.maximum(free, 0)
    while free.sum() > alone:  # some fold took a group beyond its share
        free[np.argmax(free)] -= 1
    fold_of[group < 0] = rng.permutation(np.repeat(np.arange(folds), free))
    return fold_of


_ASSIGN = {"together": _together, "apart": _apart}


def _units(group: np.ndarray) -> np.ndarray:
    """Number of the unit of each image: its group, or itself alone."""
    alone = np.arange(len(group)) + group.max(initial=-1) + 1
    return np.unique(np.where(group < 0, alone, group), return_inverse=True)[1]
