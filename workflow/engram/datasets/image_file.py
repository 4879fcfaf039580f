"""One image file: what its header says, and its pixels, upright, in the mode and size that are asked for."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from engram.datasets.levels import to_levels
from engram.errors import first_line

Image.init()
# Formats that Pillow lists but reads only through other programs, or not at all. EPS is a program itself.
NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
FORMATS = tuple(sorted(set(Image.OPEN) - NOT_READ))
ENDINGS = frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS)
SURE = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # formats told by their first bytes beyond doubt

GREY, RGB = "grey", "RGB"
DEEP_GREY = {"I": "32-bit grey", "F": "floating-point grey"}  # and I;16, I;16B, ...: 16-bit grey
PIXEL_MODES = {GREY: "L", RGB: "RGB"}
KINDS = {
    "1": GREY,
    "L": GREY,
    "LA": GREY,
    "La": GREY,
    "P": RGB,
    "PA": RGB,
    "RGB": RGB,
    "RGBA": RGB,
    "RGBa": RGB,
    "RGBX": RGB,
}
PAGED = ("AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP")  # others with frames hold one picture and its previews
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


@dataclass(frozen=True)
class Header:
    """kind: "grey", "RGB", "RGB with transparency", "16-bit grey", "CMYK", ...; width and height as shown; frames."""

    kind: str
    width: int
    height: int
    frames: int

    @property
    def size(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True)
class Target:
    """What pixels are turned into: mode "L" or "RGB"; side of the square they are cropped and resized to, if any; the colour
    behind transparency; and the range of stored numbers from black to white, if it is not that of 8 bits."""

    mode: str
    side: int | None = None
    background: str = "white"
    value_range: tuple[float, float] | None = None


class Unreadable(Exception):
    """Why a file is no image that can be read, in a few words."""


def is_deep(kind: str) -> bool:
    """Whether an image of this kind holds more than 8 bits of grey."""
    return kind.endswith("grey") and kind != GREY


@contextmanager
def _opened(path: Path, said: list[str], formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Pillow's image. Whatever a decoder raises becomes Unreadable, and what it warns of is appended to `said`."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with open(path, "rb") as file, Image.open(file, formats=formats) as image:
                yield image
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise Unreadable("it is empty" if empty else "its content is no image") from error
    except Exception as error:  # each of Pillow's decoders raises its own
        raise Unreadable(first_line(error)) from error
    said += [first_line(warning.message) for warning in caught]


def header(path: Path) -> Header:
    """Kind and upright size of an image, without decoding it where the format allows. Raises Unreadable."""
    with _opened(path, []) as image:
        frames = getattr(image, "n_frames", 1) if image.format in PAGED else 1
        width, height = reversed(image.size) if _is_sideways(path, image) else image.size
        return Header(_kind(image), width, height, frames)


def looks_like_image(path: Path) -> bool:
    """Whether a file without an image's ending is an image all the same."""
    try:
        with _opened(path, [], SURE):
            return True
    except Unreadable:
        return False


def check(path: Path, said: list[str]) -> None:
    """Decode the file, for nothing but its faults. Raises Unreadable."""
    with _opened(path, said) as image:
        image.load()


def pixels(path: Path, target: Target, said: list[str]) -> np.ndarray:
    """(H, W, C) bytes of the first frame. Raises Unreadable."""
    with _opened(path, said) as image:
        ImageOps.exif_transpose(image, in_place=True)
        shown = _in_mode(image, target)
        return np.atleast_3d(np.asarray(shown if target.side is None else square(shown, target.side)))


def square(image: Image.Image, side: int) -> Image.Image:
    """The middle square, resized (bilinear, antialiased as always in PIL)."""
    shorter = min(image.size)
    left, upper = ((length - shorter) // 2 for length in image.size)
    middle = image.crop((left, upper, left + shorter, upper + shorter))
    return middle.resize((side, side), Image.Resampling.BILINEAR)


def squares(images: np.ndarray, side: int) -> np.ndarray:
    """(n, C, side, side) uint8: the middle squares of images (n, C, H, W), resized."""
    planes = images.reshape(-1, *images.shape[2:])
    small = np.stack([np.asarray(square(Image.fromarray(plane), side)) for plane in planes])
    return small.reshape(*images.shape[:2], side, side)


def _is_sideways(path: Path, image: Image.Image) -> bool:
    """Pillow turns TIFF by itself, and decodes a whole PNG before it tells its orientation: only where there is one."""
    if image.format == "TIFF":
        return False
    if (
        image.format == "PNG"
        and not {"exif", "XML:com.adobe.xmp"} & image.info.keys()
        and b"eXIf" not in path.read_bytes()
    ):
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS


def _kind(image: Image.Image) -> str:
    if image.mode.startswith("I;16"):
        return "16-bit grey"
    if image.mode in DEEP_GREY:
        return DEEP_GREY[image.mode]
    kind = KINDS.get(image.mode, image.mode)
    deep = ";16" in _raw_mode(image)  # before its pixels are looked at, which makes Pillow forget it
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        kind = f"{kind} with transparency"
    return f"16-bit {kind}" if deep else kind


def _raw_mode(image: Image.Image) -> str:
    """How the file stores pixels: Pillow keeps only the upper byte of 16-bit colours."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def _in_mode(image: Image.Image, target: Target) -> Image.Image:
    if image.mode in DEEP_GREY or image.mode.startswith("I;16"):
        if target.value_range is None:
            raise Unreadable("its levels are not of 8 bits")
        return Image.fromarray(_levels(np.asarray(image), target.value_range)).convert(target.mode)
    if image.has_transparency_data:
        backdrop = Image.new("RGBA", image.size, ImageColor.getrgb(target.background))
        image = Image.alpha_composite(backdrop, image.convert("RGBA")).convert(
            "RGB" if KINDS[image.mode] == RGB else "L"
        )
    if image.mode == "LAB":  # which Pillow turns into RGB only
        image = image.convert("RGB")
    image = image.convert(target.mode)
    deep_colour = target.value_range == (0, 65535)  # its upper bytes are levels of 255 already
    if target.value_range is None or deep_colour:
        return image
    return Image.fromarray(_levels(np.asarray(image), target.value_range))


def _levels(values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    try:
        return to_levels(values, value_range)
    except ValueError as error:
        raise Unreadable(str(error)) from error
