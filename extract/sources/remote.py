"""A folder of images behind a URL, by fsspec: object stores, HTTP, archives, and all else it knows.

Credentials are found by the libraries behind fsspec, as they find them for every program; headbench
neither asks for them nor keeps them.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cache.format import leads_inside
from extract.errors import DataError, UnusableImageError
from extract.read import ImageFile
from extract.sources.layouts import is_system_file, label_paths
from extract.sources.source import N_STAMPS, Listing

Result = TypeVar("Result")

N_TRIES = 4
# Before the second try; twice as long before each further one.
PAUSE_SECONDS = 0.5
EXTRA = "make install EXTRAS=remote (pip install fsspec s3fs; gcsfs, adlfs ... for other stores)"


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind a URL, laid out like one on disk.

    Attributes
    ----------
    name : str
        The URL, as the user wrote it.
    """

    name: str
    is_near = False
    is_there = True
    _details: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # To other processes go neither connections nor the listing.
        return {"name": self.name, "_details": {}}

    def find(self) -> Listing:
        """Find and label the files in it; `DataError` if it cannot be listed."""
        filesystem, root = self._place
        try:
            found = patiently(lambda: filesystem.find(root, detail=True))
        except Exception as error:  # each store has errors of its own
            raise DataError(f"{self.name}: cannot be listed ({_words(error)}).") from error
        prefix = f"{root.rstrip('/')}/" if root else ""
        for path, details in found.items():
            below = path.removeprefix(prefix)
            if not any(is_system_file(part) for part in below.split("/")):
                self._details[below] = details
        if not self._details:
            raise DataError(f"{self.name}: expected a folder of images, found nothing.")
        return label_paths(sorted(self._details), self.name, self._read)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read; `DataError` for a path that leads out of it."""
        if not leads_inside(path):
            raise DataError(f"{path!r}: a path that leaves {self.name} is not opened.")
        return ImageFile(path, content, self._read)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Size, time and ETag as they were listed, int64 (n_paths, 4)."""
        stamps = np.full((len(paths), N_STAMPS), -1, dtype=np.int64)
        for row, path in enumerate(paths):
            stamps[row] = stamp(self._details.get(path, {}))
        return stamps

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return open_url(self.name)

    def _read(self, path: str) -> bytes:
        filesystem, root = self._place
        return read_remote(filesystem, f"{root.rstrip('/')}/{path}" if root else path)


def open_url(url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it.

    Raises
    ------
    DataError
        If what reads it is not installed, or nothing knows such a URL.
    """
    with _words_of_fsspec(url) as fsspec:
        filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def require_reader(url: str) -> None:
    """Raise what `open_url` would where nothing reads such a URL; asks nobody far away."""
    with _words_of_fsspec(url) as fsspec:
        for part in url.split("::"):
            fsspec.get_filesystem_class(part.partition("://")[0])


def read_url(url: str) -> bytes:
    """All bytes behind a URL; raises what `open_url` and `read_remote` do."""
    return read_remote(*open_url(url))


def url_stamp(url: str) -> tuple[int, int, int, int]:
    """What `stamp` knows of the file behind a URL; asks once."""
    filesystem, path = open_url(url)
    try:
        return stamp(filesystem.info(path))
    except Exception:  # each store has errors of its own; whoever reads the file finds out why
        return stamp({})


def fetch(url: str, target: Path) -> None:
    """Copy a file from behind a URL; `DataError` if it cannot be had."""
    filesystem, path = open_url(url)
    try:
        patiently(lambda: filesystem.get_file(path, str(target)))
    except FileNotFoundError as error:
        raise DataError(f"{url}: no such file.") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{url}: cannot be read ({_words(error)}).") from error


def read_remote(filesystem: Any, path: str) -> bytes:
    """All bytes of a file of fsspec's; `UnusableImageError` if there are none to be had."""
    try:
        return bytes(patiently(lambda: filesystem.cat_file(path)))
    except FileNotFoundError as error:
        raise UnusableImageError("no such file") from error
    except PermissionError as error:
        raise UnusableImageError("no permission to read it") from error
    except Exception as error:  # each store has errors of its own
        raise UnusableImageError(
            f"cannot be read, tried {N_TRIES} times: {_words(error)}"
        ) from error


def patiently(call: Callable[[], Result]) -> Result:
    """Call something that may fail for a while; what is not there or not allowed stays so."""
    for number in range(N_TRIES - 1):
        try:
            return call()
        except (FileNotFoundError, PermissionError, NotImplementedError):
            raise
        except Exception:
            time.sleep(PAUSE_SECONDS * 2**number)
    return call()


def stamp(details: dict[str, Any]) -> tuple[int, int, int, int]:
    """What is known of a version of a file; -1 throughout where nothing tells versions apart."""
    modified = next(
        (
            details[key]
            for key in ("LastModified", "mtime", "modified", "created")
            if details.get(key)
        ),
        None,
    )
    etag = next(
        (details[key] for key in ("ETag", "etag", "md5Hash", "CRC") if details.get(key)), None
    )
    if modified is None and etag is None:
        return (-1,) * N_STAMPS  # type: ignore[return-value]
    return (int(details.get("size") or 0), _nanoseconds(modified), 0, _number(etag))


@contextmanager
def _words_of_fsspec(url: str) -> Iterator[Any]:
    """fsspec, whose errors about a URL come as `DataError`."""
    try:
        import fsspec
    except ImportError as error:
        raise DataError(f"{url}: to read it, {EXTRA}.") from error
    try:
        yield fsspec
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: cannot be opened ({error}). To read it, {EXTRA}.") from error
    except OSError as error:
        raise DataError(f"{url}: cannot be opened ({_words(error)}).") from error


def _nanoseconds(modified: Any) -> int:
    if isinstance(modified, datetime):
        return int(modified.timestamp() * 1e9)
    return int(modified * 1e9) if isinstance(modified, int | float) else _number(modified)


def _number(tag: Any) -> int:
    """A number that stands for a tag: the same for equal ones."""
    if tag is None:
        return 0
    return int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:8]) >> 1


def _words(error: BaseException) -> str:
    return str(error).split("\n", maxsplit=1)[0] or type(error).__name__
