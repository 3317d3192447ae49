"""Tar files of images with their classes beside them, as WebDataset writes them.

The content of a shard is known only after it was read. Its index is stored beside the feature file,
once all embeddings of the shard are on the disk, so a shard with an index is not read again.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import (
    create_hdf5,
    open_hdf5,
    read_columns,
    write_array,
    write_strings,
)
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import Rejected, hash_rows, row_hashes
from headbench.cache.writer import created_by
from headbench.extract.errors import DataError, TooLargeError
from headbench.extract.images.stream import N_READERS, ImageFile, larger_than, map_ahead
from headbench.extract.sources.source import (
    N_STAMPS,
    Found,
    LabelledImage,
    Listing,
    order_of_numbers,
)
from headbench.extract.sources.split_folders import SPLIT_FOLDERS
from headbench.extract.sources.tar import Entry, Place
from headbench.extract.sources.urls import ARCHIVES, is_url, without_file

LAYOUT = "shards"
# Between lists of shards; other "::" belong to fsspec's URLs.
BETWEEN = re.compile(r"(?<=\.tar)::")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
# With these fsspec opens an archive as a folder.
FOLDER_IN_ARCHIVE = re.compile(rf"({'|'.join(ARCHIVES)})(://|::)")
MOST_NAMED = 5
# Columns of an index; a row for each member.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    **dict.fromkeys(("paths", "classes", "reasons"), ("S", ())),
    "content_sha256": ("u", (32,)),
    "places": ("i", (2,)),
}
FIX_SHARDS = "Get them, or correct the range"
NAME_SHARDS = 'Name shards by their range: headbench features "shards/{000..099}.tar"'
# Lists of files as WebDataset and shells write them: shards/{000..099}.tar
BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
# A pattern that stands for more is a typing error.
MOST_SHARDS = 100_000


@dataclass(frozen=True)
class ShardIndex:
    """The content of a shard, in its order, and the version of headbench that read it.

    `stamp` is that of the shard when it was read; all -1 if nothing tells its versions apart.
    Another version of headbench may decode what this one could not.
    """

    stamp: tuple[int, ...]
    entries: Sequence[Entry]
    created_by: str = created_by()

    def is_of(self, stamp: tuple[int, ...]) -> bool:
        """Whether the shard is unchanged since it was read."""
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
    """The index in a file; None if it is missing or damaged."""
    try:
        with open_hdf5(path) as file:
            [writer] = read_columns(file, created_by=("S", ()))[0].strings()
            [stamps] = read_columns(file, stamp=("i", ()))
            stamp = tuple(stamps.read().tolist())
            *texts, hashes, offsets_lengths = read_columns(file, **COLUMNS)
            paths, classes, reasons = (text.strings() for text in texts)
            contents, places = row_hashes(hashes.read()), offsets_lengths.read()
    except (FeatureFileError, ValueError):  # or more than one writer, or none
        return None
    offsets, lengths = places[:, 0].tolist(), places[:, 1].tolist()
    contents = [content if any(content) else b"" for content in contents]
    rows = zip(paths, classes, contents, offsets, lengths, reasons, strict=True)
    return ShardIndex(stamp, [Entry(*row) for row in rows], writer)


class Shard(NamedTuple):
    """One tar file; its images are named NAME/MEMBER.

    `name` is relative to the folder that all shards have in common; `given_split` is the split that
    its name says, if the names of all shards say one. Its index is stored at `index_path`.
    """

    place: Place
    name: str
    index_path: Path
    given_split: str | None


@dataclass(frozen=True)
class Shards:
    """Tar files; their content is known once each has been read, from `indexes`, a folder.

    `name` is as the user wrote it: ``shards/{000..099}.tar``.
    """

    name: str
    indexes: Path
    is_near = False
    _read: dict[str, ShardIndex | None] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # Other processes can read the indexes themselves.
        return {"name": self.name, "indexes": self.indexes, "_read": {}}

    @cached_property
    def shards(self) -> dict[str, Shard]:
        """All shards by name, in order; `DataError` if the pattern cannot be expanded."""
        places = [
            Place(absolute(url)) for part in BETWEEN.split(self.name) for url in expand_braces(part)
        ]
        urls = [place.url for place in places]
        rows = zip(places, names_of(urls), splits_of(urls), strict=True)
        return {
            name: Shard(place, name, self.indexes / f"{name}.h5", split)
            for place, name, split in rows
        }

    @property
    def is_there(self) -> bool:
        """Whether there are indexes, and all shards that should be on this machine."""
        places = [shard.place for shard in self.shards.values()]
        return self.indexes.is_dir() and all(
            Path(place.url).exists() for place in places if place.is_here
        )

    def index(self, shard: Shard) -> ShardIndex | None:
        """The index of a shard; None without one."""
        if shard.name not in self._read:
            self._read[shard.name] = read_index(shard.index_path)
        return self._read[shard.name]

    def forget(self) -> None:
        """Read indexes again from now on: shards have been read."""
        self._read.clear()

    def find(self) -> Listing:
        """The images in the indexes; `DataError` if an index is missing."""
        found: list[Found] = []
        labels: set[str] = set()
        for shard in self.shards.values():
            entries = self.known(shard).entries
            found += [_found(shard, entry) for entry in entries]
            labels |= {entry.class_name for entry in entries if entry.class_name}
        return Listing(LAYOUT, found, order_of_numbers(labels))

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image, of which only its own bytes are read; `DataError` if no shard holds it."""
        for end in re.finditer(r"\.tar(?=/)", path):
            shard = self.shards.get(path[: end.end()])
            member = path[end.end() + 1 :]
            if shard is not None and member in self.known(shard).places:
                place = self.known(shard).places[member]
                return ImageFile(path, content, partial(read_member, shard.place, *place))
        raise DataError(f"{path!r}: {self.name} holds no such image.")

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Unknown, int64 (n_paths, 4): only whole shards have stamps."""
        return np.full((len(paths), N_STAMPS), -1, dtype=np.int64)

    def shard_stamps(self) -> dict[str, tuple[int, ...]]:
        """The stamp of each shard, by name; `DataError`, which names missing shards."""
        shards = self.shards.values()
        stamps = list(map_ahead(_stamp, shards, N_READERS, 2 * N_READERS))
        missing = [
            shard.place.url for shard, stamp in zip(shards, stamps, strict=True) if stamp is None
        ]
        if missing:
            way_out = NAME_SHARDS if any("*" in url for url in missing) else FIX_SHARDS
            raise DataError(
                f"{self.name}: expected {len(stamps)} shards, found {len(stamps) - len(missing)}. "
                f"Missing: {', '.join(missing[:MOST_NAMED])}"
                f"{', ...' if len(missing) > MOST_NAMED else ''}. {way_out}."
            )
        return {shard.name: stamp for shard, stamp in zip(shards, stamps, strict=True) if stamp}

    def known(self, shard: Shard) -> ShardIndex:
        """The index of a shard; `DataError` if it is missing because the shard was not read."""
        index = self.index(shard)
        if index is None:
            raise DataError(
                f"{shard.index_path}: expected the index of {shard.place.url}, found none. Without "
                "it, its images are unknown. Run 'headbench features' with these shards."
            )
        return index


def are_shards(data: str) -> bool:
    """Whether this names tar files; `DataError` for compressed ones."""
    if FOLDER_IN_ARCHIVE.match(data) or Path(data).is_dir():
        return False
    parts = BETWEEN.split(data)
    if any(part.lower().endswith(COMPRESSED) for part in parts):
        raise DataError(
            f"{data}: in a compressed tar file, every image could only be read from the start of "
            "the file. Uncompress it (gunzip, unxz ...): images are compressed already."
        )
    return all(part.endswith(".tar") for part in parts)


def splits_of(urls: Sequence[str]) -> list[str | None]:
    """The split in the name of each shard, or else of its folder; None for all unless all have one.

    ``imagenet-train-000.tar`` and ``train/000.tar`` have one. Without any train shard, the names
    are ignored, because then the shards are the whole data set.
    """
    splits = [_split_in(url.split("/")) for url in urls]
    if None in splits or "train" not in splits:
        return [None] * len(splits)
    return splits


def _split_in(parts: list[str]) -> str | None:
    for part in reversed(parts[-2:]):
        words = re.split(r"[^a-z]+", part.removesuffix(".tar").lower())
        named = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
        if len(named) == 1:
            return named.pop()
    return None


def names_of(urls: Sequence[str]) -> list[str]:
    """Each URL without the folder that all have in common."""
    parts = [[part for part in url.split("/") if part] for url in urls]
    folders = [each[:-1] for each in parts]
    shallowest, deepest = min(folders), max(folders)
    pairs = list(zip(shallowest, deepest, strict=False))
    depth = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
    return ["/".join(each[depth:]) for each in parts]


def _found(shard: Shard, entry: Entry) -> Found:
    path = f"{shard.name}/{entry.path}" if entry.path else shard.name
    if not entry.class_name:
        return Rejected(path, entry.reason)
    return LabelledImage(path, entry.class_name, shard.given_split)


def _stamp(shard: Shard) -> tuple[int, ...] | None:
    try:
        return shard.place.stamp()
    except FileNotFoundError:
        return None


def read_member(place: Place, offset: int, n_bytes: int, _: object, max_bytes: int) -> bytes:
    """An image of a shard, as an `ImageFile` reads it."""
    if n_bytes > max_bytes:
        raise TooLargeError(larger_than(max_bytes))
    return place.read(offset, n_bytes)


def absolute(url: str) -> str:
    """The absolute path of a local file; a URL unchanged."""
    path = without_file(url)
    return path if is_url(path) else os.path.abspath(path).replace(os.sep, "/")


def expand_braces(pattern: str) -> list[str]:
    """All names that a pattern stands for, in order, each once.

    ``{000..099}`` are numbers, zero-padded to the longer end if either begins with a zero;
    ``{a,b}`` are alternatives; several pairs of braces are combined. Raises `DataError` for more
    than `MOST_SHARDS`.

    Examples
    --------
    >>> expand_braces("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    names: dict[str, None] = {}
    for each in _alternatives(found[1]):
        if len(names) > MOST_SHARDS:
            raise DataError(f"{pattern}: stands for more than {MOST_SHARDS} files.")
        names |= dict.fromkeys(expand_braces(f"{before}{each}{after}"))
    return list(names)


def _alternatives(inside: str) -> Iterator[str]:
    numbers = RANGE.fullmatch(inside)
    if numbers is None:
        yield from inside.split(",")
        return
    first, last = numbers.groups()
    width = max(map(len, numbers.groups())) if "0" in (first[0], last[0]) else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}}"
