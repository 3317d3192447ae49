"""The interface of all sources of images."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Rejected
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import ImageFile

# Numbers in a stamp: size in bytes, times of modification and of change in ns, and one more that
# tells versions of a file apart (inode, ETag). All are -1 if nothing is known about a file.
N_STAMPS = 4
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
# Bytes of a class name: as many as file systems allow for the name of a folder.
LONGEST_CLASS = 255
# Control characters, line and paragraph separators, halves of characters. Joiners, which scripts of
# Iran and India need, and fixed spaces are letters like others.
NOT_OF_A_LINE = {"Cc", "Zl", "Zp", "Cs"}


class LabelledImage(NamedTuple):
    """One image file.

    Attributes
    ----------
    path : str
        POSIX, relative to the source; or a URL from a list of images.
    class_name : str
        Empty for an image without a label.
    given_split : str or None
        ``train``, ``val`` or ``test`` if the source names it; None if it is to be drawn. The same
        for all images of a group.
    group : str or None
        The group, such as a patient or a film: all its images are in one split.
    weight : float
        Positive sample weight, used when heads are trained.
    """

    path: str
    class_name: str
    given_split: str | None
    group: str | None = None
    weight: float = 1.0


Found = LabelledImage | Rejected


class Listing(NamedTuple):
    """The content of a source.

    Attributes
    ----------
    layout : str
        Name of its layout, in a word or two.
    class_order : sequence of str
        Names of all classes, if the source has an order of its own; otherwise they are sorted.
    notes : sequence of str
        What the user should know about it.
    """

    layout: str
    found: Sequence[Found]
    class_order: Sequence[str] = ()
    notes: Sequence[str] = ()


class Source(Protocol):
    """A place that images come from.

    Instances are sent to other processes: they are small, or leave data behind (``__getstate__``).
    """

    @property
    def name(self) -> str:
        """The source as the user wrote it; stored in the feature file."""

    @property
    def is_near(self) -> bool:
        """Whether reading a file twice is cheap, as on a disk of this machine."""

    @property
    def is_there(self) -> bool:
        """Whether the images can probably be read; asks no remote machine."""

    def find(self) -> Listing:
        """All images and rejected files; `DataError` if they cannot be listed."""

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image, for reading; `DataError` for a path that leads out of the source."""

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Numbers that change when a file does, int64 (n_paths, 4); see `N_STAMPS`."""


def text_of(value: object) -> str:
    """A value of a table as text; empty for a missing one.

    pandas writes integers among which some are missing as floats, and NaN for those.

    Examples
    --------
    >>> [text_of(value) for value in (3.0, 0.5, float("nan"), None, "nan", 3)]
    ['3', '0.5', '', '', 'nan', '3']
    """
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def checked_class(name: str) -> str:
    """The name itself; `UnusableImageError` if it cannot be the name of a class."""
    if not name or any(category(each) in NOT_OF_A_LINE for each in name):
        raise UnusableImageError("no class: its name is empty, or not a line of text")
    if len(name.encode()) > LONGEST_CLASS:
        raise UnusableImageError(f"no class: its name is over {LONGEST_CLASS} bytes")
    return name


def order_of_numbers(labels: Collection[str]) -> list[str]:
    """Labels in the order of numbers if all are integers; otherwise an empty list."""
    are_integers = all(map(INTEGER.fullmatch, labels))
    return sorted(labels, key=int) if are_integers else []


@dataclass(frozen=True)
class Dataset:
    """The labelled images of a source, sorted by path, and its unusable files.

    See `Listing` for the order of classes and the notes.
    """

    source: Source
    layout: str
    images: tuple[LabelledImage, ...]
    rejected: tuple[Rejected, ...]
    class_order: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder, if the source is one on this machine."""
        return Path(self.source.name)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that have images; their order is the order of labels.

        It is that of the source, if it has one; otherwise the names are sorted.
        """
        names = {image.class_name for image in self.images} - {""}
        return tuple(filter(names.__contains__, self.class_order or sorted(names)))
