"""One large file, here or behind a URL: read from its beginning on, or some bytes of it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from extract.errors import DataError, UnusableImageError
from extract.sources.folder import file_stamp
from extract.sources.patience import patiently, words
from extract.sources.remote import open_url, read_remote
from extract.sources.stamps import stamp

HERE = "file://"
SKIP_BYTES = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where a file lies.

    Attributes
    ----------
    url : str
        A path on this machine, or a URL.
    """

    url: str

    @property
    def is_here(self) -> bool:
        """Whether it is a path on this machine."""
        return "://" not in self.url

    def stamp(self) -> tuple[int, ...]:
        """What changes when the file does; see `extract.sources.source.N_STAMPS`.

        Raises
        ------
        FileNotFoundError
        DataError
            If nobody can say.
        """
        try:
            if self.is_here:
                os.stat(self.url)  # what is not there has a stamp, too: -1
                return file_stamp(self.url)
            filesystem, path = open_url(self.url)
            return stamp(patiently(lambda: filesystem.info(path)))
        except (DataError, FileNotFoundError):
            raise
        except Exception as error:  # each store has errors of its own
            raise DataError(f"{self.url}: cannot be opened ({words(error)}).") from error

    def open(self) -> Any:
        """The file, opened for reading bytes."""
        if self.is_here:
            return Path(self.url).open("rb")
        filesystem, path = open_url(self.url)
        return filesystem.open(path, "rb")

    def read(self, start: int, n_bytes: int) -> bytes:
        """Some bytes of it; `UnusableImageError` if they are not to be had."""
        if not self.is_here:
            data = read_remote(*open_url(self.url), start, start + n_bytes)
            # A server that knows no ranges gives the whole file.
            return data if len(data) <= n_bytes else data[start : start + n_bytes]
        try:
            with self.open() as file:
                file.seek(start)
                return bytes(file.read(n_bytes))
        except OSError as error:
            reason = f"its shard cannot be read: {error.strerror}"
            raise UnusableImageError(reason) from error


class Stream:
    """The bytes of a file in order, once; where a connection breaks, on from the same byte.

    Parameters
    ----------
    place : Place
    n_bytes : int
        How many there are; -1 where nobody knows. A connection that ends before is a broken one.

    Attributes
    ----------
    last : bytes
        What was read last.
    """

    def __init__(self, place: Place, n_bytes: int) -> None:
        self._place, self._n_bytes = place, n_bytes
        self._file: Any = None
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position

    def seek(self, position: int) -> None:
        """Read on up to a position."""
        while self._position < position and self.read(min(position - self._position, SKIP_BYTES)):
            pass

    def read(self, n_bytes: int) -> bytes:
        """The next bytes; fewer at the end.

        Raises
        ------
        DataError
            If they are not to be had.
        """
        try:
            self.last = patiently(partial(self._read, n_bytes))
        except Exception as error:
            raise DataError(
                f"{self._place.url}: cannot be read on from byte {self._position} "
                f"({words(error)}). What was finished is kept: run the same command again."
            ) from error
        self._position += len(self.last)
        return self.last

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            with suppress(Exception):  # it is broken, or it is not needed any more
                self._file.close()
        self._file = None

    def _read(self, n_bytes: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._place.open()
                self._go_to(self._position)
            return self._all_of(n_bytes)
        except BaseException:
            self.close()
            raise

    def _all_of(self, n_bytes: int) -> bytes:
        pieces = [self._file.read(n_bytes)]
        # Some connections hand out what has just come.
        while pieces[-1] and sum(map(len, pieces)) < n_bytes:
            pieces.append(self._file.read(n_bytes - sum(map(len, pieces))))
        data = b"".join(pieces)
        if len(data) < n_bytes and self._position + len(data) < self._n_bytes:
            raise ConnectionError(f"it ended before its {self._n_bytes} bytes had come")
        return data

    def _go_to(self, position: int) -> None:
        if position == 0:
            return
        try:
            self._file.seek(position)
        except (OSError, ValueError):  # a server that gives files from their beginning only
            while skipped := self._file.read(min(position, SKIP_BYTES)):
                position -= len(skipped)


def absolute(url: str) -> str:
    """A path on this machine from its root on; a URL as it is."""
    path = url.removeprefix(HERE)
    return os.path.abspath(path) if Place(path).is_here else url
