"""Read the facts about each image file (about 500 bytes) in one pass over a folder."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.progress import Progress
from headbench.classify.doctor.data.alike import HASHED_PX, SIDE_PX, hash_picture, shrink
from headbench.classify.doctor.finding import Photo
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import UPRIGHT, decode, orientation
from headbench.extract.images.kinds import open_image
from headbench.extract.images.stream import N_AHEAD, N_THREADS, ImageFile, map_ahead
from headbench.extract.sources.source import LabelledImage

# Channels of a grey image that was saved as a colour JPEG differ by a level or two.
GREY_TOLERANCE = 6
MOST_PHOTOS = 100


class Facts(NamedTuple):
    """Facts about one file; zeros if it cannot be used, for that `reason`.

    Attributes
    ----------
    content
        SHA-256; empty if the file could not be read.
    width, height
        As stored, px.
    orientation
        EXIF's number; 1 is upright.
    is_grey
        All channels are equal, within 6 grey levels.
    picture_hash, thumbnail
        From `hash_picture` and `shrink` in `headbench.classify.doctor.data.alike`.
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
    """Facts about all images of a folder; row i is image i.

    Attributes
    ----------
    classes
        Sorted.
    labels : intp (n_images,)
        Index into `classes`.
    contents, reasons
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
        """Whether each image can be used, bool (n_images,)."""
        return np.array([not reason for reason in self.reasons], dtype=bool)

    @cached_property
    def usable(self) -> NDArray[np.intp]:
        """Rows of the usable images, ascending."""
        return np.flatnonzero(self.is_usable)

    @cached_property
    def content_numbers(self) -> NDArray[np.intp]:
        """Number of each image's content, from 0 in order of appearance, intp (n_images,)."""
        numbers: dict[bytes, int] = {}
        return np.array(
            [numbers.setdefault(content, len(numbers)) for content in self.contents], dtype=np.intp
        )

    def counts(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> NDArray[np.intp]:
        """Number of the given images in each class, intp (n_classes,)."""
        return np.bincount(self.labels[rows], minlength=len(self.classes))

    def class_of(self, row: int) -> str:
        """Class name of an image."""
        return self.images[row].class_name

    def photo(self, row: int, caption: str) -> Photo:
        """An image and its caption, for the page."""
        return Photo(self.root / self.images[row].path, caption)


def scan(root: Path, images: tuple[LabelledImage, ...], classes: tuple[str, ...]) -> Scan:
    """Read and decode every file once, in several threads; `classes` is sorted."""
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
    """Read the facts about one file."""
    content = b""
    try:
        with ImageFile(path).opened() as data:
            content = hashlib.sha256(data).digest()
            # Decoded by the rules of extraction, but no larger than the hash needs.
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


def distinct(scan: Scan, places: NDArray[np.integer]) -> NDArray[np.intp]:
    """Rows of the first usable image of each content in each place, ascending.

    Parameters
    ----------
    places : int (n_images,)
        Such as the labels of the images.
    """
    rows = scan.usable
    keys = np.column_stack([scan.content_numbers[rows], places[rows]])
    return np.sort(rows[np.unique(keys, axis=0, return_index=True)[1]])
