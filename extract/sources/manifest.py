"""A list of images: a CSV or Parquet file that says of each where it lies and what it shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.format import leads_inside
from extract.errors import DataError
from extract.read import ImageFile
from extract.sources.folder import file_stamp
from extract.sources.manifest_rows import ManifestRows, choose_columns
from extract.sources.places import is_url, place
from extract.sources.remote import State
from extract.sources.source import N_STAMPS, Listing, order_of_numbers
from extract.sources.tables import open_rows
from extract.sources.urls import read_url, url_stamp
from extract.stream import N_READERS
from extract.threads import map_ahead

LAYOUT = "manifest"


@dataclass(frozen=True)
class Manifest:
    """A CSV or Parquet file with a row for each image.

    Columns are found by name, in small or capital letters: ``path`` (relative to the folder of the
    file, absolute, or a URL), ``label``, and, if wanted, ``split``, ``group`` and ``weight``. White
    space around a value does not count. Classes whose labels are all integers are in the order of
    numbers, others in that of text.

    Attributes
    ----------
    name : str
        Its path or URL, as the user wrote it.
    """

    name: str
    _schemes: set[str] = field(default_factory=set, repr=False, compare=False)
    _state: State = field(default_factory=State, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["Manifest"], tuple[str]]:
        # To other processes goes nothing that was found out in this one.
        return Manifest, (self.name,)

    @property
    def is_near(self) -> bool:
        """Whether it, and all that it lists, lies on a disk of this machine; known once listed."""
        return not self._schemes and not is_url(self.name)

    @property
    def is_there(self) -> bool:
        """Whether there is such a file; taken for granted far away."""
        return is_url(self.name) or Path(self.name).is_file()

    def find(self) -> Listing:
        """Read it; `DataError`, with the line, for what it may not say."""
        if not self.is_there:
            raise DataError(f"{self.name}: expected a list of images, found nothing.")
        with open_rows(self.name) as rows:
            columns = choose_columns(self.name, rows.columns, rows.lists)
            reading = ManifestRows(self.name, rows.unit, list(columns))
            for number, values in rows.read(list(columns.values())):
                reading.add(number, values)
            unused = [name for name in rows.columns if name not in columns.values()]
        images = reading.finish()
        self._schemes.update(reading.schemes)
        notes = [f"{self.name}: columns not used: {', '.join(unused)}"] if unused else []
        return Listing(LAYOUT, images, order_of_numbers(reading.labels), notes)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read; `DataError` for a path that it could not list."""
        if not leads_inside(path):
            raise DataError(
                f"{path!r}: a path that leaves the folder of {self.name} is not opened."
            )
        found = place(self.name, path)
        if isinstance(found, Path):
            return ImageFile(found, content)
        return ImageFile(found, content, self._read_far)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """The `file_stamp` of each file here, `url_stamp` of the others; int64 (n_paths, 4)."""
        if self.is_near:
            stamps: Iterable[tuple[int, ...]] = map(self._stamp, paths)
        else:
            stamps = map_ahead(self._stamp, paths, N_READERS, 2 * N_READERS)
        return np.array(list(stamps), dtype=np.int64).reshape(-1, N_STAMPS)

    def _read_far(self, url: str) -> bytes:
        return self._state.read(read_url, url, self.name)

    def _stamp(self, path: str) -> tuple[int, int, int, int]:
        found = place(self.name, path)
        return file_stamp(found) if isinstance(found, Path) else url_stamp(found)
