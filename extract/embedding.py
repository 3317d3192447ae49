"""What a run puts through the network, whatever it comes from, and what became of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from cache.disk import require_free
from cache.format import Rejected
from cache.writer import Location
from extract.machines import Machines
from extract.plan import Known, refuse_if_most
from extract.progress import Progress
from extract.read import ImageFile
from extract.sources.source import Dataset
from extract.work import Job, Listeners, Outcome
from extract.workers import embed_files

Item = TypeVar("Item", contravariant=True)


class Embed(Protocol[Item]):
    """Embeds some items into parts, such as `extract.workers.embed_files`."""

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
    job : Job
    known : Known
        Grows as parts are finished, and as images turn out to be unusable.
    out : Path
        The feature file to be.
    dim : int
        Length of an embedding.
    machines : Machines
    say : callable
        Told what happens, a line at a time.
    """

    job: Job
    known: Known
    out: Path
    dim: int
    machines: Machines
    say: Callable[[str], None]

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
            listeners = Listeners(tell, self.say, progress.update)
            how = embed(self.job, self.known.cached, items, self.machines, listeners)
        self.say(f"{progress.summary()}{how}")
