"""One pass over the image files: a few hundred bytes of facts about each."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.doctor.data.alike import HASHED_PX, SIDE_PX, hash_picture, shrink
from classify.doctor.finding import Photo
from extract.decode import UPRIGHT, decode, orientation
from extract.errors import UnusableImageError
from extract.kinds import open_image
from extract.progress import Progress
from extract.read import read_file
from extract.sources.source import LabelledImage
from extract.stream import N_AHEAD, N_THREADS
from extract.threads import map_ahead

# Grey saved as a JPEG in colour comes back with channels that differ by a level or two.
GREY_TOLERANCE = 6
MOST_PHOTOS = 100


class Facts(NamedTuple):
    """What is kept of one file; zeros where it cannot be used.

    Attributes
    ----------
    content : bytes
        SHA-256; empty if it was never read.
    reason : str
        Why it cannot be used; empty if it can.
    width, height : int
        As stored, px.
    orientation : int
        As EXIF names it; 1 is upright.
    is_grey : bool
        All channels are equal.
    picture_hash : int
        See `classify.doctor.data.alike`.
    thumbnail : bytes
        Of uint8 (14, 14).
    """

    content: bytes
    reason: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    is_grey: bool = False
    picture_hash: int = 0
    thumbnail: bytes = bytes(SIDE_PX * SIDE_PX)


@dataclass(frozen=True)
class Scan:
    """The facts about all images of a folder; row i is image i.

    Attributes
    ----------
    root : Path
    images : tuple of LabelledImage, length n_images
    classes : tuple of str, length n_classes
        Sorted.
    labels : intp (n_images,)
        Index into `classes`.
    contents, reasons : tuple, length n_images
        As in `Facts`.
    sides : int32 (n_images, 2)
        Width and height, px.
    orientations : uint8 (n_images,)
    is_grey : bool (n_images,)
    hashes : uint64 (n_images,)
    thumbnails : uint8 (n_images, 14, 14)
    """

    root: Path
    images: tuple[LabelledImage, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.intp]
    contents: tuple[bytes, ...]
    reasons: tuple[str, ...]
    sides: NDArray[np.int32]
    orientations: NDArray[np.uint8]
    is_grey: NDArray[np.bool_]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]

    @cached_property
    def is_usable(self) -> NDArray[np.bool_]:
        """Of each image, whether it can be used."""
        return np.array([not reason for reason in self.reasons], dtype=bool)

    @cached_property
    def usable(self) -> NDArray[np.intp]:
        """Rows of the images that can be used."""
        return np.flatnonzero(self.is_usable)

    @cached_property
    def content_numbers(self) -> NDArray[np.intp]:
        """The same number for images with the same bytes; counted from 0 as they come."""
        numbers: dict[bytes, int] = {}
        return np.array(
            [numbers.setdefault(content, len(numbers)) for content in self.contents], dtype=np.intp
        )

    def counts(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> NDArray[np.intp]:
        """How many of some images are in each class, (n_classes,)."""
        return np.bincount(self.labels[rows], minlength=len(self.classes))

    def class_of(self, row: int) -> str:
        """The name of an image's class."""
        return self.images[row].class_name

    def photo(self, row: int, caption: str) -> Photo:
        """An image to look at."""
        return Photo(self.root / self.images[row].path, caption)


def scan(root: Path, images: tuple[LabelledImage, ...], classes: tuple[str, ...]) -> Scan:
    """Read and decode every file once, several side by side.

    Parameters
    ----------
    root : Path
    images : tuple of LabelledImage
    classes : tuple of str
        Sorted.

    Returns
    -------
    Scan
        About 500 bytes an image.
    """
    with Progress("examined", len(images)) as progress:
        paths = (root / image.path for image in images)
        facts = list(_counted(map_ahead(look_at, paths, N_THREADS, N_AHEAD), progress))
    label_of = {name: label for label, name in enumerate(classes)}
    return Scan(
        root=root,
        images=images,
        classes=classes,
        labels=np.array([label_of[image.class_name] for image in images], dtype=np.intp),
        contents=tuple(each.content for each in facts),
        reasons=tuple(each.reason for each in facts),
        sides=np.array([(each.width, each.height) for each in facts], dtype=np.int32),
        orientations=np.array([each.orientation for each in facts], dtype=np.uint8),
        is_grey=np.array([each.is_grey for each in facts], dtype=bool),
        hashes=np.array([each.picture_hash for each in facts], dtype=np.uint64),
        thumbnails=np.frombuffer(
            b"".join(each.thumbnail for each in facts), dtype=np.uint8
        ).reshape(-1, SIDE_PX, SIDE_PX),
    )


def look_at(path: Path) -> Facts:
    """The facts about one file."""
    content = b""
    try:
        data = read_file(path)
        content = hashlib.sha256(data).digest()
        # The rules of extraction, and of its pixels no more than are compared.
        pixels = decode(data, HASHED_PX)
    except UnusableImageError as error:
        return Facts(content, str(error))
    image = open_image(data)
    way = orientation(image)
    grey = pixels.mean(axis=2)
    return Facts(
        content,
        "",
        *image.size,
        int(way or 1) if way in UPRIGHT else 1,
        int(np.ptp(pixels, axis=2).max()) <= GREY_TOLERANCE,
        hash_picture(grey),
        shrink(grey).tobytes(),
    )


def _counted(facts: Iterable[Facts], progress: Progress) -> Iterator[Facts]:
    for each in facts:
        progress.reject() if each.reason else progress.update()
        yield each
