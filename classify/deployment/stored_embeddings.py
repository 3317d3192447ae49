"""Embeddings of image files, taken from feature files where those hold the same bytes.

An embedding is taken if the image has the same SHA-256 and the network the same fingerprint; only
other images go through the network, which is opened at the first of them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import REMEDY
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import Identity
from headbench.cache.reader import FeatureFile, are_finite
from headbench.cache.writer import Location, gather
from headbench.classify.heads.streaming import row_blocks
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import ImageFile, decoded_images
from headbench.extract.networks.backbone import Openable, embed_images
from headbench.extract.networks.engines import Embedded, Embedder
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

T = TypeVar("T")

# Known images wait for those before them that go through the network, at most so many.
CHUNK_FILES = 2048


@dataclass(frozen=True)
class StoredEmbeddings:
    """Embeddings by one network in feature files, by the SHA-256 of the image.

    40 bytes an image are held in memory.

    Parameters
    ----------
    identity : Identity
        Files of another identity are left out, and a line is logged.
    paths : sequence of Path
        Feature files.
    """

    identity: Identity
    paths: Sequence[Path] = ()
    _files: "list[_Contents]" = field(default_factory=list, init=False, repr=False)
    _dims: list[int] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for path in dict.fromkeys(self.paths):
            with FeatureFile(path) as features:
                differences = features.identity.differences(self.identity)
                if differences:
                    items = ", ".join(each.split()[0] for each in differences)
                    LOG.info(f"{path}: not used, its embeddings are by another network ({items})")
                    continue
                self._files.append(_Contents(path, features.dataset("content_sha256").read()))
                self._dims.append(features.dim)
        if len(set(self._dims)) > 1:
            names = ", ".join(map(str, self.paths))
            raise FeatureFileError(f"{names}: one network, but embeddings of {self._dims} columns.")

    def __contains__(self, content: object) -> bool:
        return isinstance(content, bytes) and self.find(content) is not None

    def find(self, content: bytes) -> Location | None:
        """Where the embedding of an image is stored."""
        return next((found for each in self._files if (found := each.find(content))), None)

    def read(self, contents: Sequence[bytes]) -> NDArray[np.float32]:
        """Embeddings of contents that are stored, float32 (n, dim), checked."""
        found = [each for content in contents if (each := self.find(content))]
        X = gather(found, self._dims[0] if self._dims else 0)
        if not are_finite(X).all():
            path = found[int((~are_finite(X)).argmax())].path
            raise FeatureFileError(f"{path}: damaged: an embedding is not finite. {REMEDY}")
        return X


class _Contents:
    """The row of each content in one file, by binary search."""

    def __init__(self, path: Path, content_sha256: NDArray[np.uint8]) -> None:
        self._path, self._contents = path, content_sha256
        keys = np.ascontiguousarray(content_sha256[:, :8]).view("<u8").reshape(-1)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, content: bytes) -> Location | None:
        place = int(np.searchsorted(self._keys, np.frombuffer(content[:8], "<u8")[0]))
        if place == len(self._keys):
            return None
        row = int(self._order[place])
        return Location(self._path, row) if self._contents[row].tobytes() == content else None


@dataclass
class _OpenedOnce:
    """A network that is looked for at its first image, and stays open from then on."""

    find_network: Callable[[], Openable]
    embedder: Embedder | None = None

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        if self.embedder is None:
            self.embedder = self.find_network().open(runtime, sample, stopwatch)
        return self.embedder


def for_each_file(
    find_network: Callable[[], Openable],
    files: Sequence[ImageFile],
    stored: StoredEmbeddings,
    runtime: Runtime,
    answer: Callable[[list[int], NDArray[np.float32]], Iterable[T]],
    refuse: Callable[[int, str], T],
    n_at_once: int = 1,
) -> Iterator[T]:
    """What is made of each file, in their order.

    Parameters
    ----------
    find_network : callable
        Called at the first image whose embedding is not stored.
    answer : callable
        Makes as many results of some rows and their embeddings.
    refuse : callable
        Makes a result of a row and the reason why its file cannot be used.
    n_at_once : int
        Rows for `answer`, unless fewer are left.
    """
    reasons: dict[int, str] = {}

    def note(row: int, reason: UnusableImageError) -> None:
        reasons[row] = str(reason)

    n_done = 0
    batches = embed_files(find_network, files, stored, runtime, note)
    for rows, embeddings in _together(batches, n_at_once):
        for row, result in zip(rows, answer(rows, embeddings), strict=True):
            # Files of the rows that are missing in between could not be used.
            yield from (refuse(each, reasons.pop(each)) for each in range(n_done, row))
            yield result
            n_done = row + 1
    yield from (refuse(each, reasons.pop(each)) for each in range(n_done, len(files)))


def embed_files(
    find_network: Callable[[], Openable],
    files: Sequence[ImageFile],
    stored: StoredEmbeddings,
    runtime: Runtime,
    on_unusable: Callable[[int, UnusableImageError], None],
) -> Iterator[Embedded]:
    """Rows of `files` and their embeddings, in order; those that are stored are not computed.

    A file whose `content_sha256` is given and stored is not even read. `on_unusable` is called with
    the row of each file that cannot be used, before a later row is yielded.
    """
    opened, stopwatch, n_stored = _OpenedOnce(find_network), Stopwatch(), 0
    for chunk in row_blocks(len(files), CHUNK_FILES):
        rows = range(len(files))[chunk]
        known = {row: files[row].content_sha256 for row in rows}
        known = {row: content for row, content in known.items() if content in stored}
        unread = [row for row in rows if row not in known]
        images = _new_images(files, unread, known, stored, stopwatch, on_unusable)
        for found, embeddings in embed_images(opened, images, runtime, stopwatch):
            before = sorted(row for row in list(known) if row < found[-1])
            n_stored += len(before)
            yield _merged(found, embeddings, before, _taken(known, before, stored))
        if rest := sorted(known):
            n_stored += len(rest)
            yield Embedded(np.array(rest), _taken(known, rest, stored))
    if n_stored:
        LOG.info(f"{n_stored} of {len(files)} embeddings were stored already")


def _together(
    batches: Iterable[Embedded], n: int
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Batches put together until they have `n` rows."""
    rows: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for found, embeddings in batches:
        rows += found.tolist()
        parts.append(embeddings)
        if len(rows) >= n:
            yield rows, np.concatenate(parts)
            rows, parts = [], []
    if rows:
        yield rows, np.concatenate(parts)


def _new_images(
    files: Sequence[ImageFile],
    unread: list[int],
    known: dict[int, Any],
    stored: StoredEmbeddings,
    stopwatch: Stopwatch,
    on_unusable: Callable[[int, UnusableImageError], None],
) -> Iterator[Any]:
    """Decode files; contents that turn out to be stored are added to `known`."""
    decoded = decoded_images(
        [files[row] for row in unread],
        resizing_of(stored.identity),
        lambda number, reason: on_unusable(unread[number], reason),
        stopwatch,
        stored,
        lambda number, content: known.__setitem__(unread[number], content),
    )
    return (each._replace(row=unread[each.row]) for each in decoded)


def _taken(known: dict[int, Any], rows: list[int], stored: StoredEmbeddings) -> NDArray[np.float32]:
    return stored.read([known.pop(row) for row in rows])


def _merged(
    rows: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    before: list[int],
    taken: NDArray[np.float32],
) -> Embedded:
    if not before:
        return Embedded(rows, embeddings)
    every = np.concatenate([rows, before])
    order = np.argsort(every)
    return Embedded(every[order], np.concatenate([embeddings, taken])[order])
