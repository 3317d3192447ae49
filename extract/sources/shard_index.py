"""What a shard holds, written down once it has been read: it tells which images are where.

An index lies beside the feature file. It is written when all embeddings of its shard are on the
disk, so a shard that has one need not be read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cache.blocks import CheckedDataset, create_hdf5, open_hdf5, write_array, write_strings
from cache.errors import FeatureFileError
from cache.format import hash_rows, row_hashes
from cache.writer import created_by


class Entry(NamedTuple):
    """An image of a shard, or what cannot be used of it.

    Attributes
    ----------
    path : str
        In the shard; empty for the shard itself.
    class_name : str
        Empty for what is no labelled image.
    content : bytes
        SHA-256 of its bytes; empty if they were never hashed.
    offset, n_bytes : int
        Where its bytes lie in the shard.
    reason : str
        Why it cannot be used; empty where it can.
    """

    path: str
    class_name: str = ""
    content: bytes = b""
    offset: int = 0
    n_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class ShardIndex:
    """What a shard holds.

    Attributes
    ----------
    stamp : tuple of int
        Of the shard when it was read; see `extract.sources.source.N_STAMPS`. All -1 where nothing
        tells its versions apart.
    entries : sequence of Entry
        In the order of the shard.
    created_by : str
        The version that read it: another may decode what this one could not.
    """

    stamp: tuple[int, ...]
    entries: Sequence[Entry]
    created_by: str = created_by()

    def is_of(self, stamp: tuple[int, ...]) -> bool:
        """Whether the shard is still as it was when it was read."""
        return self.stamp == stamp and stamp[0] >= 0

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Offset and length of each labelled image, by its path."""
        return {each.path: (each.offset, each.n_bytes) for each in self.entries if each.class_name}

    def write(self, path: Path) -> None:
        """Write it to a file."""
        columns = list(zip(*self.entries, strict=True)) or [()] * len(Entry._fields)
        paths, classes, contents, offsets, lengths, reasons = columns
        with create_hdf5(path) as file:
            write_strings(file, "created_by", [self.created_by])
            write_array(file, "stamp", np.array(self.stamp, dtype=np.int64))
            write_strings(file, "paths", paths)
            write_strings(file, "classes", classes)
            write_strings(file, "reasons", reasons)
            write_array(file, "content_sha256", hash_rows(contents))
            write_array(file, "places", np.array([offsets, lengths], dtype=np.int64).T)


def read_index(path: Path) -> ShardIndex | None:
    """The index in a file; None if there is none, or it is damaged."""
    try:
        with open_hdf5(path) as file:
            [writer] = CheckedDataset(file, "created_by").strings()
            stamp = tuple(CheckedDataset(file, "stamp").read().tolist())
            paths, classes, reasons = (
                CheckedDataset(file, name).strings() for name in ("paths", "classes", "reasons")
            )
            contents = row_hashes(CheckedDataset(file, "content_sha256").read())
            places = CheckedDataset(file, "places").read()
    except FeatureFileError:
        return None
    offsets, lengths = places[:, 0].tolist(), places[:, 1].tolist()
    rows = zip(paths, classes, map(_or_none, contents), offsets, lengths, reasons, strict=True)
    return ShardIndex(stamp, [Entry(*row) for row in rows], writer)


def _or_none(content: bytes) -> bytes:
    return content if any(content) else b""
