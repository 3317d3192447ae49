"""What every place that images come from offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cache.format import Rejected
from extract.read import ImageFile

# Of a stamp: size in bytes, time of modification and of change in ns, and what else tells versions
# of a file apart (inode, ETag). All -1 where nothing is known of a file.
N_STAMPS = 4


class LabelledImage(NamedTuple):
    """One image file.

    Attributes
    ----------
    path : str
        POSIX, relative to the source; or a URL, where a manifest lists one.
    class_name : str
    given_split : str or None
        ``train``, ``val`` or ``test`` where the source says so; None where it is ours to decide.
    """

    path: str
    class_name: str
    given_split: str | None


Found = LabelledImage | Rejected


class Listing(NamedTuple):
    """What a source holds.

    Attributes
    ----------
    layout : str
        How it is laid out, in a word or two.
    found : sequence of LabelledImage or Rejected
    """

    layout: str
    found: Sequence[Found]


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


@dataclass(frozen=True)
class Dataset:
    """The labelled images of a source, sorted by path.

    Attributes
    ----------
    source : Source
    layout : str
    images : tuple of LabelledImage
    rejected : tuple of Rejected
        Files that are there, or listed, and are not used.
    """

    source: Source
    layout: str
    images: tuple[LabelledImage, ...]
    rejected: tuple[Rejected, ...]

    @property
    def root(self) -> Path:
        """The folder, where the source is one of this machine."""
        return Path(self.source.name)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted: this order is the order of labels."""
        return tuple(sorted({image.class_name for image in self.images}))
