"""What images hold that are read once, whole, whenever a run is made of them."""

from collections.abc import Mapping, Sequence

from cache.parts import Location
from extract.contents import Held
from extract.embedding import Embedding
from extract.machines import Machines
from extract.one_pass import OnePass
from extract.plan import Known
from extract.sources.open import list_images, require_classes
from extract.sources.read_once import ReadOnce
from extract.work import Job, Listeners, Work


class OnceContents:
    """Those of one stream of labelled images.

    Parameters
    ----------
    source : ReadOnce
    """

    def __init__(self, source: ReadOnce) -> None:
        self._source = source

    def unread(self, known: Known) -> str:  # noqa: ARG002, nothing is known before it is read
        """All of it, every time."""
        return f"{self._source.name}: to be read, and extracted where content is new"

    def read(self, embedding: Embedding) -> None:
        """Read it all; images without an embedding are embedded."""
        self._source.entries.clear()
        embedding(_embed_stream, [self._source], None)

    def held(self) -> Held:
        """All that came."""
        dataset = list_images(self._source)
        require_classes(dataset, "pairs of image and label")
        contents = {entry.path: entry.content for entry in self._source.entries}
        return Held(dataset, [contents[image.path] for image in dataset.images])


def _embed_stream(
    job: Job,
    cached: Mapping[bytes, Location],
    sources: Sequence[ReadOnce],
    machines: Machines,  # noqa: ARG001, what Python hands over is handed over here
    listeners: Listeners,
) -> str:
    one_pass = OnePass(lambda number, entries: sources[number].entries.extend(entries))
    work = Work(job, cached, one_pass.told(listeners))
    work.do(one_pass.files(source.images() for source in sources))
    return f": {work.stopwatch}"
