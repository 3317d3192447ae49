"""One file of the corpus, the picture that all good ones show, and how it is encoded."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 80, 60
TOO_MANY = "more than 178000000 pixels"
TRUNCATED = "truncated: the file ends before the image does"


def gradient(width: int, height: int) -> Image.Image:
    """A picture that JPEG keeps well: every corner another colour."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


PICTURE = gradient(WIDTH, HEIGHT)
GREY = PICTURE.convert("L")


class Case(NamedTuple):
    """A file.

    Attributes
    ----------
    data : bytes
    reason : str or None
        How the reason begins that it is refused with; None where it is usable.
    picture : Image or None
        What it shows, upright; None where that is anybody's guess.
    most_off : float
        Largest mean difference from the picture, in grey levels.
    """

    data: bytes
    reason: str | None = None
    picture: Image.Image | None = PICTURE
    most_off: float = 2.0


def refused(data: bytes, reason: str) -> Case:
    """A file that is refused, with a reason that begins so."""
    return Case(data, reason, None)


def damaged(kind: str) -> str:
    """The reason for a file whose start nobody can read."""
    return f"cannot be decoded: this {kind} file is damaged or cut off"


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file that Pillow writes of an image."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
