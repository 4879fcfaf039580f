"""Names that say training, validation or test: of folders, and of parts of an array file."""

import re

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(folders: set[str]) -> dict[str, str]:
    """Folder -> "train", "val" or "test" for those that are a split: a train folder and another one; else {}.

    In any case, and with the same words around: train2017 and val2017, seg_train and seg_test. Other folders are not in it.

    >>> split_of({"Train", "VALID", "notes"})
    {'Train': 'train', 'VALID': 'val'}
    """
    by_rest: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in sorted(folders):
        words = re.findall(r"[a-z]+|\d+", folder.lower())
        parts = [PARTS[word] for word in words if word in PARTS]
        if len(parts) == 1:
            rest = tuple(word for word in words if word not in PARTS)
            by_rest.setdefault(rest, {})[folder] = parts[0]
    splits = [split for split in by_rest.values() if {"train"} < set(split.values())]
    return splits[0] if len(splits) == 1 else {}
