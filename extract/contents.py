"""Images of a source: read once, hashed, and embedded if their content is new."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from headbench.cache.disk import require_free
from headbench.cache.format import Rejected
from headbench.cache.progress import Progress
from headbench.extract.errors import UnusableImageError
from headbench.extract.hashes import Hashed, Hashes
from headbench.extract.networks.backbone import Backbone
from headbench.extract.plan import Known, refuse_if_most
from headbench.extract.sources.open import list_images, require_classes
from headbench.extract.sources.python import PythonImages
from headbench.extract.sources.source import Dataset
from headbench.extract.workers.embed import Job, OnePass, Outcome, Work
from headbench.extract.workers.machines import Machines
from headbench.extract.workers.parallel import embed_files

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedding:
    """How the images of one run are embedded.

    `known` grows as parts are finished, and as images turn out to be unusable.
    """

    job: Job
    known: Known
    machines: Machines
    backbone: Backbone


class Fates:
    """Receives the outcome of each image, wherever that is embedded: see `Recorder`.

    It updates what is known and shows progress, without a total if `n_images` is None. The last
    line says `how` the time was spent.
    """

    how = ""

    def __init__(self, known: Known, n_images: int | None) -> None:
        self._known, self._progress = known, Progress("extract", n_images)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._progress.__exit__()
        if kind is None:
            LOG.info(f"{self._progress.summary()}{self.how}")

    def advance(self, n_images: int) -> None:
        """Show that this many images have passed through the network."""
        self._progress.update(n_images)

    def note(self, outcome: Outcome) -> None:
        """Record the outcome of an image."""
        if outcome.location is not None:
            self._known.cached[outcome.content] = outcome.location
        elif outcome.reason:
            self._progress.reject()
            if outcome.content:
                self._known.unusable[outcome.content] = outcome.reason
        else:
            self._progress.reread()


class FileFates(Fates):
    """`Fates` of the listed files in some rows of a data set; their hashes are stored too."""

    def __init__(self, known: Known, dataset: Dataset, hashes: Hashes, rows: Sequence[int]) -> None:
        super().__init__(known, len(rows))
        self._dataset, self._hashes, self._rows = dataset, hashes, rows
        self._rejected: list[Rejected] = []

    def note(self, outcome: Outcome) -> None:
        """Record the outcome of a file; `DataError` once more than half cannot be used."""
        super().note(outcome)
        row = self._rows[outcome.row]
        self._hashes.found[row] = outcome.content or UnusableImageError(outcome.reason)
        if outcome.reason:
            self._rejected.append(Rejected(self._dataset.images[row].path, outcome.reason))
            refuse_if_most(self._dataset, self._rejected)


class Held(NamedTuple):
    """Everything that a source holds, and the SHA-256 of each image or why it cannot be read."""

    dataset: Dataset
    hashes: Sequence[Hashed]


class Contents(Protocol):
    """The images of a source, and how they are read."""

    name: str

    def ahead(self, embedding: Embedding) -> str:
        """What `read` must read before a plan can be made, in one line; empty if nothing."""

    def read(self, embedding: Embedding) -> None:
        """Read what is new or changed, each image once, and embed new images."""

    def held(self) -> Held:
        """Everything, once it was read; `DataError` if no classifier can be trained on it."""


class FileContents:
    """Image files, which are listed before any is read.

    Hashes of files are kept beside `out`, the feature file.
    """

    def __init__(self, dataset: Dataset, out: Path) -> None:
        self._dataset, self._out, self.name = dataset, out, dataset.source.name
        paths = [image.path for image in dataset.images]
        self._hashes = Hashes(dataset.source, paths, out.with_name(f"{out.name}.hashes"))

    def ahead(self, embedding: Embedding) -> str:
        """The number of remote files to read; local files are hashed now, for the plan."""
        if self._dataset.source.is_near:
            self._hashes.read(embedding.job.max_file_bytes)
        if n_unread := len(self._hashes.unread):
            return (
                f"{self._dataset.source.name}: {n_unread} of {len(self._dataset.images)} files are "
                "new or changed; would read them and extract new images"
            )
        return ""

    def read(self, embedding: Embedding) -> None:
        """Read files that are new, changed or without an embedding; embed new content."""
        try:
            if rows := self._waiting(embedding.known):
                self._require_room(embedding, rows)
                self._embed(embedding, rows, are_hashed=False)
            # Contents that other processes took for known ones: see `KnownContents`.
            if rows := self._waiting(embedding.known):
                self._embed(embedding, rows, are_hashed=True)
        finally:
            self._hashes.keep()  # of an interrupted run too: reading remote files takes long

    def held(self) -> Held:
        """All files."""
        return Held(self._dataset, self._hashes.complete())

    def _waiting(self, known: Known) -> list[int]:
        """Rows of files that have to be read."""
        return [
            row
            for row, content in enumerate(self._hashes.found)
            if content is None
            or (
                isinstance(content, bytes)
                and content not in known.cached
                and content not in known.unusable
            )
        ]

    def _embed(self, embedding: Embedding, rows: list[int], are_hashed: bool) -> None:
        source, images, found = self._dataset.source, self._dataset.images, self._hashes.found
        if len(rows) < len(images):
            LOG.info(f"{source.name}: {len(rows)} of {len(images)} files to read")
        contents = [found[row] if are_hashed else None for row in rows]
        files = [
            source.file(images[row].path, content if isinstance(content, bytes) else None)._replace(
                max_bytes=embedding.job.max_file_bytes
            )
            for row, content in zip(rows, contents, strict=True)
        ]
        with FileFates(embedding.known, self._dataset, self._hashes, rows) as fates:
            fates.how = embed_files(
                embedding.job, embedding.known.cached, files, embedding.machines, fates
            )

    def _require_room(self, embedding: Embedding, rows: list[int]) -> None:
        """Require room for new parts and the new file, if the names of images are new."""
        old = embedding.known.old
        paths = set() if old is None else set(old.paths)
        if n_new := sum(self._dataset.images[row].path not in paths for row in rows):
            row_bytes = embedding.backbone.dim * np.dtype(embedding.job.parts.store).itemsize
            require_free(self._out.parent, (n_new + len(self._dataset.images)) * row_bytes)


class PythonContents:
    """Images that Python hands over; every run reads all of them once."""

    def __init__(self, source: PythonImages) -> None:
        self._source, self.name = source, source.name

    def ahead(self, embedding: Embedding) -> str:  # noqa: ARG002, it is known once it is read
        """All images, every time."""
        return f"{self._source.name}: would read all images and extract new ones"

    def read(self, embedding: Embedding) -> None:
        """Read all images, in this process, and embed new ones."""
        with Fates(embedding.known, None) as fates:
            one_pass = OnePass(fates, lambda _, entries: self._source.entries.extend(entries))
            work = Work(embedding.job, embedding.known.cached, one_pass)
            work.do(one_pass.files([self._source.images(embedding.job.max_file_bytes)]))
            fates.how = f": {work.stopwatch}"

    def held(self) -> Held:
        """All images that came."""
        dataset = list_images(self._source)
        require_classes(dataset, "pairs of image and label")
        entries = [entry for entry in self._source.entries if entry.class_name]
        return Held(dataset, [each.content or UnusableImageError(each.reason) for each in entries])
