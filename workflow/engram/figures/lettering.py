"""The user's names as figures can draw them: in a font that has their letters, or else by a stand-in, and that is said.

A letter that no font has would be drawn as a box.
"""

import logging
from functools import cache

from matplotlib import font_manager

FAMILY = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew
# Fonts of other scripts, those of Linux distributions before those of macOS and Windows.
WIDER = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Noto Sans",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "IPAexGothic",
    "IPAGothic",
    "NanumGothic",
    "Droid Sans Fallback",
    "Unifont",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)

log = logging.getLogger("engram")


@cache
def families() -> tuple[str, ...]:
    """The fonts that figures are lettered in, for matplotlib's font.family: of a letter, the first that has it is used."""
    installed = set(font_manager.get_font_names())
    return FAMILY, *(family for family in WIDER if family in installed)


@cache
def letters(family: str) -> frozenset[str]:
    """The letters that a font has."""
    return frozenset(map(chr, font_manager.get_font(font_manager.findfont(family)).get_charmap()))


@cache
def lettered(name: str, instead: str) -> str:
    """A name for matplotlib to draw; `instead` if no installed font has all of its letters, which the log says once.

    >>> lettered("5 $", "class 3")
    '5 \\\\$'
    """
    missing = sorted(set(name).difference(*map(letters, families())))
    if missing:
        log.info(
            "figures: no installed font has %s of the name %s, which is drawn as %r; one such as Noto Sans CJK may have it",
            ", ".join(map(ascii, missing)),
            ascii(name),
            instead,
        )
        return instead
    return name.replace("$", r"\$")  # matplotlib would set what stands between two of them as a formula
