"""The layout of ``features.h5``, version 1.

First axis n_images everywhere; row i is image i in every dataset::

    /embeddings        float32 (n_images, dim)
    /labels            int32   (n_images,)      index into /classes
    /splits            uint8   (n_images,)      index into its attribute `names`: train, val, test
    /paths             utf-8   (n_images,)      POSIX, relative to the data
    /content_sha256    uint8   (n_images, 32)   of the image's bytes
    /classes           utf-8   (n_classes,)
    /rejected/path     utf-8   (n_rejected,)
    /rejected/reason   utf-8   (n_rejected,)
    attributes         format, format_version, fingerprint, config (JSON), created_by

To bump the version: add 1 to `FORMAT_VERSION`, describe the new layout above, teach
:mod:`cache.reader` to read the old one or to name the way out, keep a tiny file of the old version
among the tests with the command that wrote it, and say so in CHANGELOG.md.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.fingerprint import Identity

FORMAT = "headbench features"
FORMAT_VERSION = 1
SPLITS = ("train", "val", "test")
DATASETS = (
    "embeddings",
    "labels",
    "splits",
    "paths",
    "content_sha256",
    "classes",
    "rejected/path",
    "rejected/reason",
)
CHUNK_BYTES = 1 << 20


def count_splits(splits: NDArray[np.uint8]) -> dict[str, int]:
    """How many of some images, uint8 (n,), are in each split."""
    counts = np.bincount(splits, minlength=len(SPLITS))
    return {split: int(n) for split, n in zip(SPLITS, counts, strict=True)}


def describe_counts(counts: Mapping[str, int]) -> str:
    """Counts of splits as a phrase, such as ``980 train, 220 val, 400 test``."""
    return ", ".join(f"{n} {split}" for split, n in counts.items())


class Rejected(NamedTuple):
    """An image that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Config:
    """Where the embeddings came from; kept as JSON in the attribute `config`.

    Attributes
    ----------
    identity : Identity
        What was computed.
    weights : str
        The weights as the user named them: ``imagenet``, ``random`` or a path.
    data : mapping
        The folder as the user named it, its layout, how it was split, and the seed of the split.
    """

    identity: Identity
    weights: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """All of a feature file but the embeddings themselves.

    Attributes
    ----------
    paths : tuple of str, length n_images
        POSIX, relative to the data folder.
    labels : int32 (n_images,)
        Index into `classes`.
    splits : uint8 (n_images,)
        Index into `SPLITS`.
    content_sha256 : uint8 (n_images, 32)
    classes : tuple of str, length n_classes
        The one definition of class order.
    rejected : tuple of Rejected
    config : Config
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int32]
    splits: NDArray[np.uint8]
    content_sha256: NDArray[np.uint8]
    classes: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    config: Config

    def contents(self) -> list[bytes]:
        """The SHA-256 of each image, length n_images."""
        return [row.tobytes() for row in self.content_sha256]

    def without(self, rejected: Mapping[bytes, str]) -> "Table":
        """The same table with every image of a rejected content moved to the rejected list."""
        is_kept = np.array([content not in rejected for content in self.contents()], dtype=bool)
        moved = [
            Rejected(path, rejected[content])
            for path, content in zip(self.paths, self.contents(), strict=True)
            if content in rejected
        ]
        return replace(
            self,
            paths=tuple(path for path, kept in zip(self.paths, is_kept, strict=True) if kept),
            labels=self.labels[is_kept],
            splits=self.splits[is_kept],
            content_sha256=self.content_sha256[is_kept],
            rejected=tuple(sorted((*self.rejected, *moved))),
        )

    def equals(self, other: "Table") -> bool:
        """Whether a file of `other` would hold the same as a file of this one."""
        return self.digest() == other.digest() and (
            (self.paths, self.rejected, self.config) == (other.paths, other.rejected, other.config)
        )

    def digest(self) -> str:
        """SHA-256 over all that a head depends on, as 64 hexadecimal digits.

        Images, labels, splits, classes and the fingerprint; not paths, so that a renamed folder
        does not outdate a trained head.
        """
        digest = hashlib.sha256(self.config.identity.fingerprint.encode())
        digest.update("\0".join(self.classes).encode())
        for array in (self.content_sha256, self.labels, self.splits):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
