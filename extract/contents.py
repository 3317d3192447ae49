"""What a source holds, found out by reading what was not read before."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from headbench.cache.disk import require_free
from headbench.cache.format import Rejected
from headbench.cache.writer import Location
from headbench.extract.errors import UnusableImageError
from headbench.extract.hashes import Hashed, Hashes
from headbench.extract.images.stream import ImageFile
from headbench.extract.plan import Known, refuse_if_most
from headbench.extract.progress import Progress
from headbench.extract.sources.open import list_images, require_classes
from headbench.extract.sources.python import PythonImages
from headbench.extract.sources.source import Dataset
from headbench.extract.workers.embed import Job, Listeners, OnePass, Outcome, Work
from headbench.extract.workers.machines import Machines
from headbench.extract.workers.parallel import embed_files

LOG = logging.getLogger(__name__)

Item = TypeVar("Item", contravariant=True)


class Embed(Protocol[Item]):
    """Embeds some items into parts, such as `headbench.extract.workers.parallel.embed_files`."""

    def __call__(
        self,
        job: Job,
        cached: Mapping[bytes, Location],
        items: Sequence[Item],
        machines: Machines,
        listeners: Listeners,
        /,
    ) -> str:
        """How the time was spent, for the end of a line."""


@dataclass(frozen=True)
class Embedding:
    """The way of images into parts, in one run.

    Attributes
    ----------
    known : Known
        Grows as parts are finished, and as images turn out to be unusable.
    out : Path
        The feature file to be.
    dim : int
        Length of an embedding.
    """

    job: Job
    known: Known
    out: Path
    dim: int
    machines: Machines

    def files(
        self, dataset: Dataset, files: Sequence[ImageFile], note: Callable[[Outcome], object]
    ) -> None:
        """Embed image files of a data set, here or elsewhere; `note` is told the outcome of each.

        Raises
        ------
        DataError
            As soon as more than half of the data set cannot be used.
        """
        rejected: list[Rejected] = []

        def note_and_refuse(outcome: Outcome) -> None:
            note(outcome)
            if outcome.reason:
                rejected.append(Rejected(str(files[outcome.row].path), outcome.reason))
                refuse_if_most(dataset, rejected)

        self(embed_files, files, len(files), note_and_refuse)

    def __call__(
        self,
        embed: Embed[Item],
        items: Sequence[Item],
        n_images: int | None,
        note: Callable[[Outcome], object] = lambda _: None,
    ) -> None:
        """Embed items that hold so many images, as far as it is known how many."""
        if not items:
            return
        if n_images is not None:
            require_free(self.out.parent, n_images * 4 * self.dim)
        progress = Progress("extract", n_images)

        def tell(outcome: Outcome) -> None:
            if outcome.location is not None:
                self.known.cached[outcome.content] = outcome.location
            elif outcome.reason:
                progress.reject()
                if outcome.content:
                    self.known.unusable[outcome.content] = outcome.reason
            else:
                progress.reread()
            note(outcome)

        with progress:
            listeners = Listeners(tell, progress.update)
            how = embed(self.job, self.known.cached, items, self.machines, listeners)
        LOG.info(f"{progress.summary()}{how}")


class Held(NamedTuple):
    """All that a source holds.

    Attributes
    ----------
    hashes : sequence of bytes or UnusableImageError, length n_images
        SHA-256 of each image, or why it cannot be read.
    """

    dataset: Dataset
    hashes: Sequence[Hashed]


class Contents(Protocol):
    """How it is found out what a source holds."""

    def unread(self, known: Known) -> str:
        """What `read` has to read and to embed, in a line; empty if that is nothing."""

    def read(self, embedding: Embedding) -> None:
        """Read what was not read before; where that is embedded in one go, embed it."""

    def held(self) -> Held:
        """All of it, once it has been read; `DataError` if no classifier can be trained on it."""


class FileContents:
    """Those of image files, which are listed before any is read.

    Parameters
    ----------
    out : Path
        The feature file: what is known of the files lies beside it.
    reads_first : bool
        Whether files are hashed here before any is embedded, so that the plan is known first. Else
        each is read once, hashed and embedded in one go: those that lie far away, or for which
        there is a cluster.
    """

    def __init__(self, dataset: Dataset, out: Path, reads_first: bool) -> None:
        self._dataset, self._reads_first = dataset, reads_first
        paths = [image.path for image in dataset.images]
        self._hashes = Hashes(dataset.source, paths, out.with_name(f"{out.name}.hashes"))

    def unread(self, known: Known) -> str:  # noqa: ARG002, hashes are of any network
        """How many files have to be read and embedded in one go."""
        if self._reads_first:
            self._hashes.read()
        if n_unread := len(self._hashes.unread):
            return (
                f"{self._dataset.source.name}: {n_unread} of {len(self._dataset.images)} files not "
                "read before: to be read, and extracted where their content is new"
            )
        return ""

    def read(self, embedding: Embedding) -> None:
        """Hash files; those that are far away are embedded on the way."""
        try:
            if words := self.unread(embedding.known):
                LOG.info(words)
                self._embed_unread(embedding)
        finally:
            self._hashes.keep()  # of an interrupted run too: far away, reading is what takes long

    def held(self) -> Held:
        """All of it."""
        return Held(self._dataset, self._hashes.complete())

    def _embed_unread(self, embedding: Embedding) -> None:
        unread, source = self._hashes.unread, self._dataset.source
        files = [source.file(self._dataset.images[row].path) for row in unread]

        def note(outcome: Outcome) -> None:
            found: Hashed = outcome.content or UnusableImageError(outcome.reason)
            self._hashes.found[unread[outcome.row]] = found

        embedding.files(self._dataset, files, note)


class PythonContents:
    """Those that Python hands over: all are read, once, whenever a run is made of them."""

    def __init__(self, source: PythonImages) -> None:
        self._source = source

    def unread(self, known: Known) -> str:  # noqa: ARG002, nothing is known before it is read
        """All of it, every time."""
        return f"{self._source.name}: to be read, and extracted where content is new"

    def read(self, embedding: Embedding) -> None:
        """Read it all; images without an embedding are embedded."""
        embedding(_embed_stream, [self._source], None)

    def held(self) -> Held:
        """All that came."""
        dataset = list_images(self._source)
        require_classes(dataset, "pairs of image and label")
        entries = [entry for entry in self._source.entries if entry.class_name]
        return Held(dataset, [each.content or UnusableImageError(each.reason) for each in entries])


def _embed_stream(
    job: Job,
    cached: Mapping[bytes, Location],
    sources: Sequence[PythonImages],
    machines: Machines,  # noqa: ARG001, Python hands the images to this process
    listeners: Listeners,
) -> str:
    one_pass = OnePass(lambda number, entries: sources[number].entries.extend(entries))
    work = Work(job, cached, one_pass.told(listeners))
    work.do(one_pass.files(source.images() for source in sources))
    return f": {work.stopwatch}"
