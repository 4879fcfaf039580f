"""Sizes of images that convolutional models take."""

LEAST_SIDE, DIVISOR = 32, 16  # four layers halve the image; at side 16 batch norm would see one value of an image


def fits(height: int, width: int) -> bool:
    """Whether every model takes images of this size: sides are multiples of 16, at least 32."""
    return min(height, width) >= LEAST_SIDE and height % DIVISOR == width % DIVISOR == 0


def fitting_size(side: int) -> int:
    """The largest side not above `side` that every model takes, between 32 and 64: small models, quickly trained."""
    return max(LEAST_SIDE, min(side, 64) // DIVISOR * DIVISOR)
