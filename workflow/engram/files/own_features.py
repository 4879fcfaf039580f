"""Features that a user names in config.yaml: a function of theirs, `module:function`, or a file, `FILE` or `FILE:NAME`."""

import re

FILES = (".npy", ".npz", ".csv", ".h5", ".hdf5")  # those of engram.files.matrices


def is_function(features: str) -> bool:
    """Whether `features` names a function.

    >>> is_function("my_features:embed"), is_function("features.npz:embed")
    (True, False)
    """
    module, _, function = features.partition(":")
    is_name = re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module) and function.isidentifier()
    return bool(is_name) and not module.lower().endswith(FILES)


def is_file(features: str) -> bool:
    """Whether `features` names a file, or an array of one, by its ending.

    >>> is_file("~/features.h5:embed"), is_file("my_features:embed")
    (True, False)
    """
    file = features if features.lower().endswith(FILES) else features.rpartition(":")[0]
    return file.lower().endswith(FILES)
