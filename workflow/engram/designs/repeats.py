"""Names of repeats: in paths, in the streams of random numbers, and in messages."""

FULL = "full"  # in a repeat's place: the model that is trained on everything


def repeat_name(repeat: int) -> str:
    """The name of a repeat in paths and seeds: 3 -> "repeat-03"."""
    return f"repeat-{repeat:02d}"
