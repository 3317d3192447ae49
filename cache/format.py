"""The layout of ``features.h5``, version 1.

First axis n_images everywhere; row i is image i in every dataset::

    /embeddings        float32 (n_images, dim)  or float16, on request
    /labels            int32   (n_images,)      index into /classes
    /splits            uint8   (n_images,)      index into its attribute `names`: train, val, test
    /paths             utf-8   (n_images,)      POSIX, relative to the data; or a URL, of a list
    /content_sha256    uint8   (n_images, 32)   of the image's bytes
    /classes           utf-8   (n_classes,)
    /rejected/path     utf-8   (n_rejected,)
    /rejected/reason   utf-8   (n_rejected,)
    /rejected/content_sha256   uint8 (n_rejected, 32)   zeros for what was never read
    /groups            int64   (n_images,)      optional: images of one number belong together
    /weights           float32 (n_images,)      optional: positive, the weight of each image
    /checksums/NAME    uint32  (n_blocks,)      CRC-32 of each chunk of each dataset above
    attributes         format, format_version, fingerprint, config (JSON), created_by;
                       the attribute `attributes` of /checksums is the CRC-32 of them all

Version 3 is the same layout for images without labels: /classes is empty, every label is -1, and
every split is 3, `unlabelled`, a fourth name in the attribute `names`.

/groups and /weights exist only if the source has them. Without /groups, only exact copies belong
together, see `alone`; without /weights, every image has the weight 1.

To bump the version:

1. Set `FORMAT_VERSION` to 4 or higher (2 was once a file that left embeddings in parts beside it),
   and describe the new layout above and in docs/file-format.md.
2. Teach `cache.reader` to read the old layout too. Only if it cannot be read in any sensible
   way, say in `_check_version` what the user should do.
3. Write a tiny file of the new version N next to those of the old ones, which are never written
   again: ``python -m tests.data.formats.write tests/data/formats/vN/features.h5``.
4. Say so in CHANGELOG.md.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RANDOM_WEIGHTS = "random"
FORMAT = "headbench features"
FORMAT_VERSION = 1
# Files whose embeddings stayed in parts beside them; no longer read.
PARTS_VERSION = 2
# Of images without labels: an older headbench then asks for a newer one, and reports no damage.
UNLABELLED_VERSION = 3
SPLITS = ("train", "val", "test")
UNLABELLED, NO_LABEL = "unlabelled", -1
STORES = ("float32", "float16")
# Of each dataset: its possible dtypes, and the shape of a row.
DATASETS: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "embeddings": (STORES, ("dim",)),
    "labels": (("int32",), ()),
    "splits": (("uint8",), ()),
    "paths": (("utf-8",), ()),
    "content_sha256": (("uint8",), (32,)),
    "classes": (("utf-8",), ()),
    "rejected/path": (("utf-8",), ()),
    "rejected/reason": (("utf-8",), ()),
    "rejected/content_sha256": (("uint8",), (32,)),
}
# The same of optional datasets; row i is image i.
OPTIONAL: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "groups": (("int64",), ()),
    "weights": (("float32",), ()),
}
# Datasets that always exist and whose row i is image i.
COLUMNS = ("embeddings", "labels", "splits", "paths", "content_sha256")
# Datasets whose row i is rejected file i.
REJECTED = ("rejected/path", "rejected/reason", "rejected/content_sha256")
ATTRIBUTES = ("format", "format_version", "fingerprint", "config", "created_by")


def leads_inside(path: str) -> bool:
    """Whether a stored path stays inside the data folder; headbench opens no other."""
    # Text and not `Path`, which takes ten times as long. Windows has backslashes and drives too.
    parts = path.replace(os.sep, "/").split("/")
    is_relative = parts[0] != "" and not os.path.splitdrive(path)[0]
    return is_relative and ".." not in parts and not {*parts} <= {"", "."}


def hash_rows(contents: Iterable[bytes]) -> NDArray[np.uint8]:
    """SHA-256 digests as rows of an array, uint8 (n, 32); an empty digest becomes zeros."""
    return np.frombuffer(
        b"".join(content.ljust(32, b"\0") for content in contents), dtype=np.uint8
    ).reshape(-1, 32)


def row_hashes(rows: NDArray[np.uint8]) -> list[bytes]:
    """The rows of an array of digests, uint8 (n, 32), as bytes."""
    whole = rows.tobytes()
    return [whole[start : start + 32] for start in range(0, len(whole), 32)]


def group_number(name: str) -> int:
    """Number of a group in /groups: the first 8 bytes of its SHA-256, signed, big-endian."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def alone(content_sha256: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers in /groups of images without a group, int64 (n,); exact copies have the same one."""
    return np.ascontiguousarray(content_sha256[:, :8]).view(">i8").astype(np.int64).reshape(-1)


def attributes_checksum(values: Iterable[Any]) -> int:
    """CRC-32 of the attributes of a file, in the order of `ATTRIBUTES`."""
    return zlib.crc32(json.dumps([str(value) for value in values]).encode())


def split_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the numbers in /splits; with a fourth one where there are no classes."""
    return SPLITS if classes else (*SPLITS, UNLABELLED)


def count_splits(splits: NDArray[np.uint8]) -> dict[str, int]:
    """Number of images in each split, of splits uint8 (n,); of unlabelled ones only where any."""
    *counts, n_unlabelled = np.bincount(splits, minlength=len(SPLITS) + 1).tolist()
    return {UNLABELLED: n_unlabelled} if n_unlabelled else dict(zip(SPLITS, counts, strict=True))


def describe_counts(counts: Mapping[str, int]) -> str:
    """Counts of splits as a phrase, such as ``980 train, 220 val, 400 test``."""
    return ", ".join(f"{n} {split}" for split, n in counts.items())


class Rejected(NamedTuple):
    """A file that cannot be used; its path is POSIX, relative to the data folder.

    `content` is the SHA-256 of its bytes; empty if they were never read.
    """

    path: str
    reason: str
    content: bytes = b""


@dataclass(frozen=True)
class Identity:
    """Everything that determines an embedding, besides the bytes of its image.

    Batch size, device, engine and file names are left out on purpose: they change an embedding by
    no more than rounding.

    Attributes
    ----------
    backbone : str
        Name of the network, such as ``resnet50``.
    weights_hash : str
        ``sha256:`` and the digest of the weights file; or ``random:`` and the seed and versions
        that reproduce them; or ``none`` for a backbone without weights.
    preprocessing : str
        From RGB 0-255 to the input of the network, in words.
    size_px : int
        Height and width of the network's input.
    resize : str
        From the decoded image to `size_px`, in words.
    pooling : str
        From the last feature map to the embedding: ``avg`` or ``max``.
    precision : str
        Arithmetic of the network: ``float32``, ``bfloat16`` or ``mixed_float16``.
    layer : str
        Layers at which the network is cut, joined by commas; empty for its last one.
    views : str
        Views of each picture whose embeddings are averaged; empty for one.
    """

    backbone: str
    weights_hash: str
    preprocessing: str
    size_px: int
    resize: str
    pooling: str
    precision: str
    layer: str = ""
    views: str = ""

    @property
    def items(self) -> dict[str, Any]:
        """Every item, without those that came later and have their default."""
        # Only what came later has a default, which changes no fingerprint of before.
        own = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in own.items() if value != default}

    @property
    def network(self) -> str:
        """The network, and where it is cut: ``resnet50 to conv4_block6_out``."""
        return f"{self.backbone} to {self.layer}" if self.layer else self.backbone

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all `items`, as 64 hexadecimal digits."""
        canonical = json.dumps(self.items, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def has_random_weights(self) -> bool:
        """Whether the weights are random: such embeddings are for demos and tests."""
        return self.weights_hash.startswith(RANDOM_WEIGHTS)

    def differences(self, other: "Identity") -> list[str]:
        """One phrase for each item that differs: its name, the value here, the value in `other`."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key} {mine[key]!r} -> {theirs[key]!r}" for key in mine if mine[key] != theirs[key]
        ]


@dataclass(frozen=True)
class Config:
    """Where the embeddings came from; stored as JSON in the attribute `config`.

    Attributes
    ----------
    weights : str
        The weights as the user named them: ``imagenet``, ``random`` or a path.
    data : mapping
        The folder as the user named it, its layout, how it was split, and the seed of the split.
    """

    identity: Identity
    weights: str
    data: Mapping[str, Any]
    store: str = STORES[0]


@dataclass(frozen=True)
class Table:
    """All of a feature file except the embeddings.

    Attributes
    ----------
    paths : tuple of str, length n_images
        POSIX, relative to the data folder.
    labels : int32 (n_images,)
        Index into `classes`; `NO_LABEL` where there are none.
    splits : uint8 (n_images,)
        Index into `split_names`.
    content_sha256 : uint8 (n_images, 32)
    classes : tuple of str, length n_classes
        The one definition of class order; empty for images without labels.
    groups : int64 (n_images,) or None
        Images with the same number belong together; None if the source names no groups.
    weights : float32 (n_images,) or None
        Positive sample weights; None if all are 1.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int32]
    splits: NDArray[np.uint8]
    content_sha256: NDArray[np.uint8]
    classes: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    config: Config
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None

    def contents(self) -> list[bytes]:
        """The SHA-256 of each image, length n_images."""
        return row_hashes(self.content_sha256)

    @property
    def optional(self) -> dict[str, Any]:
        """Arrays of the datasets in `OPTIONAL` that exist, by name."""
        found = {name: getattr(self, name) for name in OPTIONAL}
        return {name: array for name, array in found.items() if array is not None}

    def select(self, is_kept: NDArray[np.bool_]) -> "Table":
        """The table with the rows where `is_kept`, bool (n_images,), is true."""
        return replace(
            self,
            paths=tuple(compress(self.paths, is_kept)),
            labels=self.labels[is_kept],
            splits=self.splits[is_kept],
            content_sha256=self.content_sha256[is_kept],
            **{name: array[is_kept] for name, array in self.optional.items()},
        )

    def without(self, rejected: Mapping[bytes, str]) -> "Table":
        """The table with every image of a rejected content moved to the rejected list."""
        if not rejected:
            return self
        is_kept = np.array([content not in rejected for content in self.contents()], dtype=bool)
        moved = [
            Rejected(path, rejected[content], content)
            for path, content in zip(self.paths, self.contents(), strict=True)
            if content in rejected
        ]
        return replace(self.select(is_kept), rejected=tuple(sorted((*self.rejected, *moved))))

    def equals(self, other: "Table") -> bool:
        """Whether a file of `other` would hold the same as a file of this one."""
        return self.digest() == other.digest() and (
            (self.paths, self.rejected, self.config) == (other.paths, other.rejected, other.config)
        )

    def digest(self) -> str:
        """SHA-256 of all that a trained head depends on, as 64 hexadecimal digits.

        That is images, labels, splits, groups, weights, classes, fingerprint and store; not paths,
        so that heads stay valid when a folder is renamed.
        """
        columns = (self.content_sha256, self.labels, self.splits)
        return digest_of(self.config, self.classes, columns, self.optional)


def digest_of(
    config: Config,
    classes: tuple[str, ...],
    columns: Iterable[NDArray[np.generic]],
    optional: Mapping[str, NDArray[np.generic]],
) -> str:
    """`Table.digest` of all rows of content_sha256, labels and splits, whole or in pieces."""
    digest = hashlib.sha256(config.identity.fingerprint.encode())
    digest.update(config.store.encode())
    digest.update("\0".join(classes).encode())
    for array in columns:
        digest.update(np.ascontiguousarray(array).data)
    for name, array in optional.items():
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
