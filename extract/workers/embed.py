"""From files to finished parts of embeddings: the work of one process, here or elsewhere."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.cache.writer import Location, Parts
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.resizing import Resizing
from headbench.extract.images.stream import (
    MAX_FILE_BYTES,
    DecodedImage,
    ImageFile,
    decoded_images,
    give,
)
from headbench.extract.networks.backbone import Openable, embed_images
from headbench.extract.networks.engines import Embedded
from headbench.extract.settings import Runtime
from headbench.extract.sources.tar import Entry
from headbench.extract.stopwatch import Stopwatch


@dataclass(frozen=True)
class Job:
    """What to do with files, whichever they are.

    A part holds at most `part_images`, and is finished after `part_seconds`, however few it holds.
    `identity` is that of the embeddings to be made: another process may find other weights under
    the same name.
    """

    network: Openable
    resizing: Resizing | int
    runtime: Runtime
    parts: Parts
    part_images: int
    part_seconds: float
    identity: Identity
    max_file_bytes: int = MAX_FILE_BYTES


class Outcome(NamedTuple):
    """The outcome of one file.

    Attributes
    ----------
    row : int
        Position of the file.
    content : bytes
        SHA-256 of its bytes; empty if they could not be read, or are not the expected ones.
    reason : str
        Why it cannot be used; empty if it can.
    location : Location or None
        Where its embedding is stored; None if it was known already, or cannot be used.
    """

    row: int
    content: bytes
    reason: str = ""
    location: Location | None = None


class Recorder(Protocol):
    """Receives the outcome of each image, from this process, another one, or a cluster."""

    def note(self, outcome: Outcome) -> None:
        """Record the outcome of one image, once; for an embedding, when its part is finished."""

    def advance(self, n_images: int) -> None:
        """Record that this many images have just passed through the network."""


class Noted(list[Outcome]):
    """A list of outcomes, for the process that started this worker."""

    note = list.append

    def advance(self, n_images: int) -> None:
        """Do nothing: the list holds everything."""


@dataclass
class Work:
    """Files that are being embedded for a job.

    Files whose content is known are read but not embedded again; `known` may grow meanwhile.
    """

    job: Job
    known: Container[bytes]
    recorder: Recorder
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _under_way: set[bytes] = field(default_factory=set)
    _paths: dict[int, Path | str] = field(default_factory=dict)

    def do(self, files: Iterable[ImageFile]) -> None:
        """Embed files, taking each when it is needed.

        Raises `DataError` if an embedding is not finite; and `WeightsError`, `DeviceError`,
        `StorageError`.
        """
        job = self.job
        images = decoded_images(
            self._remembered(files),
            job.resizing,
            self._reject,
            self.stopwatch,
            self.known,
            self._skip,
        )
        new = self._each_content_once(images)
        embedded = embed_images(job.network, new, job.runtime, self.stopwatch)
        for rows, embeddings in self._in_parts(embedded):
            refuse_infinite(embeddings, [self._paths[row] for row in rows.tolist()])
            self._finish(rows.tolist(), embeddings)

    def _remembered(self, files: Iterable[ImageFile]) -> Iterator[ImageFile]:
        for row, file in enumerate(files):
            self._paths[row] = file.path
            yield file

    def _reject(self, row: int, reason: UnusableImageError) -> None:
        del self._paths[row]
        self.recorder.note(Outcome(row, reason.content, str(reason)))

    def _skip(self, row: int, content: bytes) -> None:
        del self._paths[row]
        self.recorder.note(Outcome(row, content))

    def _each_content_once(self, images: Iterator[DecodedImage]) -> Iterator[DecodedImage]:
        """All images except copies of those that were decoded shortly before."""
        for image in images:
            content = image.content_sha256
            if content in self._under_way or content in self.known:
                self._skip(image.row, content)
            else:
                self._contents[image.row] = content
                self._under_way.add(content)
                yield image

    def _finish(self, rows: list[int], embeddings: NDArray[np.float32]) -> None:
        contents = [self._contents.pop(row) for row in rows]
        with self.stopwatch.measure("write"):
            locations = self.job.parts.add(contents, embeddings)
        for row, content in zip(rows, contents, strict=True):
            del self._paths[row]
            self.recorder.note(Outcome(row, content, location=locations[content]))
        self._under_way.difference_update(contents)

    def _in_parts(self, embedded: Iterator[Embedded]) -> Iterator[Embedded]:
        """Gather batches until a part is due."""
        waiting: list[Embedded] = []
        started = time.monotonic()
        for batch in embedded:
            waiting.append(batch)
            self.recorder.advance(len(batch.rows))
            is_full = sum(len(each.rows) for each in waiting) >= self.job.part_images
            if is_full or time.monotonic() - started > self.job.part_seconds:
                yield _concatenate(waiting)
                waiting, started = [], time.monotonic()
        if waiting:
            yield _concatenate(waiting)


def _concatenate(batches: list[Embedded]) -> Embedded:
    return Embedded(
        np.concatenate([batch.rows for batch in batches]),
        np.concatenate([batch.embeddings for batch in batches]),
    )


def refuse_infinite(embeddings: NDArray[np.float32], paths: Sequence[Path | str]) -> None:
    """`DataError` if an embedding is not finite; `paths` name the image of each."""
    is_finite = np.isfinite(embeddings).all(axis=1)
    if not is_finite.all():
        first = paths[int(np.flatnonzero(~is_finite)[0])]
        raise DataError(
            f"{first}: its embedding is not finite, nor are those of {(~is_finite).sum() - 1} "
            "more images. Either the weights are damaged or belong to another network: give others "
            "with --weights. Or they are too large for float16: use --precision float32."
        )


# An image or an unusable entry, and the bytes of the image or a function that reads them.
Streamed = tuple[Entry, bytes | Callable[[Any, int], bytes]]


@dataclass
class _Stream:
    number: int
    entries: list[Entry] = field(default_factory=list)
    n_waiting: int = 0
    is_read: bool = False


class OnePass:
    """A recorder for streams of images that notices when a stream is complete.

    Another recorder receives each outcome first. `on_complete` is called with the number of a
    stream and its entries once the outcomes of all are known, so that what it writes comes after
    the embeddings.
    """

    def __init__(
        self, recorder: Recorder, on_complete: Callable[[int, list[Entry]], object]
    ) -> None:
        self._recorder, self._on_complete = recorder, on_complete
        self._rows: dict[int, tuple[_Stream, int]] = {}
        self.advance = recorder.advance

    def files(self, streams: Iterable[Iterable[Streamed]]) -> Iterator[ImageFile]:
        """The images of all streams in order, for `Work.do`."""
        n_rows = 0
        for number, images in enumerate(streams):
            stream = _Stream(number)
            for entry, data in images:
                stream.entries.append(entry)
                if not entry.reason:
                    self._rows[n_rows] = (stream, len(stream.entries) - 1)
                    stream.n_waiting += 1
                    n_rows += 1
                    read = partial(give, data) if isinstance(data, bytes) else data
                    yield ImageFile(entry.path, None, read)
            stream.is_read = True
            self._look_at(stream)

    def note(self, outcome: Outcome) -> None:
        """Record the outcome of an image."""
        self._recorder.note(outcome)
        stream, position = self._rows.pop(outcome.row)
        stream.entries[position] = stream.entries[position]._replace(
            content=outcome.content, reason=outcome.reason
        )
        stream.n_waiting -= 1
        self._look_at(stream)

    def _look_at(self, stream: _Stream) -> None:
        if stream.is_read and not stream.n_waiting:
            self._on_complete(stream.number, stream.entries)
