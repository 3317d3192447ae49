"""Streams of labelled images that are read once: labels, hashes and embeddings in one go."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from extract.read import ImageFile
from extract.sources.tar import Entry
from extract.stream import give
from extract.work import Listeners, Outcome

# An image, or what cannot be used, and the bytes of the image.
Streamed = tuple[Entry, bytes]


@dataclass
class _Stream:
    number: int
    entries: list[Entry] = field(default_factory=list)
    n_waiting: int = 0
    is_read: bool = False


class OnePass:
    """What becomes of the images of some streams while they go through a `Work`.

    Parameters
    ----------
    on_complete : callable
        Told the number of each stream and its entries, once the outcomes of all are known: what it
        writes is written after the embeddings.
    """

    def __init__(self, on_complete: Callable[[int, list[Entry]], object]) -> None:
        self._on_complete = on_complete
        self._rows: dict[int, tuple[_Stream, int]] = {}

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
                    yield ImageFile(entry.path, None, partial(give, data))
            stream.is_read = True
            self._look_at(stream)

    def told(self, listeners: Listeners) -> Listeners:
        """Those of the `Work`: `listeners` first, and then this."""

        def tell_both(outcome: Outcome) -> None:
            listeners.tell(outcome)
            self._note(outcome)

        return replace(listeners, tell=tell_both)

    def _note(self, outcome: Outcome) -> None:
        stream, position = self._rows.pop(outcome.row)
        stream.entries[position] = stream.entries[position]._replace(
            content=outcome.content, reason=outcome.reason
        )
        stream.n_waiting -= 1
        self._look_at(stream)

    def _look_at(self, stream: _Stream) -> None:
        if stream.is_read and not stream.n_waiting:
            self._on_complete(stream.number, stream.entries)
