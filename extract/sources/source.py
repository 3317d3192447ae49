"""What every place that images come from offers."""

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

# Of a stamp: size in bytes, time of modification and of change in ns, and what else tells versions
# of a file apart (inode, ETag). All -1 where nothing is known of a file.
N_STAMPS = 4
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
# Bytes of a class name: as much as file systems allow the name of a folder.
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
    given_split : str or None
        ``train``, ``val`` or ``test`` where the source says so; None where it is ours to decide.
        The same throughout a group.
    group : str or None
        What it belongs to, such as a patient or a film: images of one group are in one split.
    weight : float
        Positive: what it counts for when heads are trained.
    """

    path: str
    class_name: str
    given_split: str | None
    group: str | None = None
    weight: float = 1.0


Found = LabelledImage | Rejected


class Listing(NamedTuple):
    """What a source holds.

    Attributes
    ----------
    layout : str
        How it is laid out, in a word or two.
    class_order : sequence of str
        Names of all classes, where the source has an order of its own; else they are sorted.
    notes : sequence of str
        What the user should know of it.
    """

    layout: str
    found: Sequence[Found]
    class_order: Sequence[str] = ()
    notes: Sequence[str] = ()


class Source(Protocol):
    """A place that images come from.

    Instances go to other processes: what they hold is small, or is left behind (``__getstate__``).
    """

    @property
    def name(self) -> str:
        """The source as the user named it; it stands in the feature file."""

    @property
    def is_near(self) -> bool:
        """Whether a file may be read twice at little cost, as on a disk of this machine."""

    @property
    def is_there(self) -> bool:
        """Whether images may be had of it; asks nobody far away."""

    def find(self) -> Listing:
        """All of it; `DataError` if it cannot be listed."""

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read; `DataError` for a path that leads out of it."""

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """What changes when a file does, int64 (n_paths, 4); see `N_STAMPS`."""


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
    """The name itself; `UnusableImageError` if it cannot be that of a class."""
    if not name or any(category(each) in NOT_OF_A_LINE for each in name):
        raise UnusableImageError("no class: its name is empty, or not a line of text")
    if len(name.encode()) > LONGEST_CLASS:
        raise UnusableImageError(f"no class: its name is over {LONGEST_CLASS} bytes")
    return name


def order_of_numbers(labels: Collection[str]) -> list[str]:
    """Labels in the order of numbers if all are integers; none of them otherwise."""
    are_integers = all(map(INTEGER.fullmatch, labels))
    return sorted(labels, key=int) if are_integers else []


@dataclass(frozen=True)
class Dataset:
    """The labelled images of a source, sorted by path; and the files that are not used.

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
        """The folder, where the source is one of this machine."""
        return Path(self.source.name)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that have images: this order is the order of labels.

        It is that of the source where it has one; else they are sorted.
        """
        names = {image.class_name for image in self.images}
        return tuple(filter(names.__contains__, self.class_order or sorted(names)))
