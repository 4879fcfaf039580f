"""The one form in which every data set reaches the rest of engram."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from engram.datasets.reading import Reading


@dataclass(frozen=True, eq=False)
class ImageSet:
    """n grey or RGB images of one shape, training images first.

    images: (n, C*H*W) uint8, flattened in the order channel, row, column; image_shape: (C, H, W);
    labels: (n,) int16, -1 = none, an index into label_names; split: (n,) int8, 0 = training, 1 = test;
    source_index: (n,) int32, index of the image in its source's own order; source: where the images came from;
    path: (n,) text, the image's file relative to its folder, with forward slashes, or its index in its array;
    group: (n,) int64, -1 = none, or None where the source tells no groups; reading: what was met on the way;
    canary: (n,) text, what was planted (engram.datasets.canaries), empty for other images; dose: (n,) int32, how many times a
    planted image stands among the training images, else 0; both None where nothing was planted;
    dimension: (n,) float, that of the data at the image (engram.datasets.manifolds), or None where nobody knows.
    """

    images: np.ndarray
    image_shape: tuple[int, int, int]
    labels: np.ndarray
    split: np.ndarray
    source_index: np.ndarray
    label_names: list[str]
    source: str
    path: np.ndarray
    group: np.ndarray | None = None
    reading: Reading = field(default_factory=Reading)
    canary: np.ndarray | None = None
    dose: np.ndarray | None = None
    dimension: np.ndarray | None = None

    def take(self, rows: np.ndarray, **changes: object) -> "ImageSet":
        """The images `rows`, in that order, with other fields replaced by `changes`."""
        optional = [name for name in ("group", "canary", "dose", "dimension") if getattr(self, name) is not None]
        names = ["images", "labels", "split", "source_index", "path", *optional]
        return replace(self, **({name: getattr(self, name)[rows] for name in names} | changes))

    def class_names(self) -> np.ndarray:
        """(n,) text: the name of each image's class, empty where it has none."""
        return np.array([*self.label_names, ""], dtype=object)[self.labels]

    def sha256(self) -> str:
        """Hash of the bytes of images, labels and split."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels, self.split):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def from_source(
    images: np.ndarray,
    image_shape: tuple[int, int, int],
    labels: np.ndarray,
    split: np.ndarray,
    label_names: list[str],
    source: str,
    path: list[str] | None = None,
    **more: object,
) -> ImageSet:
    """An ImageSet of images in their source's order, moved only where a test image stands before a training image.

    Without `path` it is the index of the image; `more` are further fields of ImageSet.
    """
    source_index = np.arange(len(images), dtype=np.int32)
    image_set = ImageSet(
        images.reshape(len(images), -1),
        image_shape,
        labels.astype(np.int16),
        split.astype(np.int8),
        source_index,
        label_names,
        source,
        np.array([str(index) for index in source_index] if path is None else path, dtype=object),
        **more,
    )
    if (np.diff(image_set.split) >= 0).all():
        return image_set
    return image_set.take(np.argsort(image_set.split, kind="stable"))


def pad(images: np.ndarray, margin: int) -> np.ndarray:
    """(n, H, W) images with `margin` black pixels on each side."""
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
