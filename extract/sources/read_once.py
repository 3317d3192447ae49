"""Images that are read once and are kept nowhere: those that Python hands over."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cache.format import Rejected
from extract.errors import DataError
from extract.read import ImageFile
from extract.sources.source import N_STAMPS, Found, LabelledImage, Listing, order_of_numbers
from extract.sources.tar import Entry

TF_DATA, TFRECORD = "tf.data", "TFRecord"
LAYOUTS = (TF_DATA, TFRECORD)


@dataclass(frozen=True)
class ReadOnce:
    """Labelled images, one after the other.

    Attributes
    ----------
    name : str
    layout : {"tf.data", "TFRecord"}
    class_order : sequence of str
        Names of all classes, where whoever hands the images over has an order of them.
    images : callable
        Gives them from the first one on: the entry and the bytes of each.
    entries : list of Entry
        What was there, once it has been read.
    """

    name: str
    layout: str
    class_order: Sequence[str] = ()
    images: Callable[[], Iterable[tuple[Entry, bytes]]] = tuple
    entries: list[Entry] = field(default_factory=list)
    is_near = True
    is_there = False

    def find(self) -> Listing:
        """What was there."""
        labels = {entry.class_name for entry in self.entries if entry.class_name}
        order = self.class_order or order_of_numbers(labels)
        return Listing(self.layout, [_found(entry) for entry in self.entries], order)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:  # noqa: ARG002
        """Nothing but a `DataError`."""
        raise DataError(f"{path!r}: {self.absence}")

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Nothing is known of any, int64 (n_paths, 4)."""
        return np.full((len(paths), N_STAMPS), -1, dtype=np.int64)

    @property
    def absence(self) -> str:
        """Why there are no images to look at."""
        return (
            f"the images came from {self.name}, which was read once from its beginning to its end: "
            "they cannot be looked at again."
        )


def _found(entry: Entry) -> Found:
    if entry.class_name:
        return LabelledImage(entry.path, entry.class_name, None)
    return Rejected(entry.path, entry.reason)
