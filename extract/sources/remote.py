"""A folder of images behind a URL, by fsspec: object stores, HTTP, archives, and all else it knows.

Credentials are found by the libraries behind fsspec, as they find them for every program; headbench
neither asks for them nor keeps them.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.format import leads_inside
from extract.errors import DataError, UnusableImageError
from extract.read import ImageFile
from extract.sources.layouts import label_paths
from extract.sources.listing import NOTHING, Files, files_below, is_archive, join
from extract.sources.pages import has_pages, link_to
from extract.sources.patience import is_lasting, patiently, words
from extract.sources.source import N_STAMPS, Listing
from extract.sources.stamps import asked_stamp
from extract.stream import N_READERS
from extract.threads import map_ahead

EXTRA = "make install EXTRAS=remote (pip install fsspec s3fs; gcsfs, adlfs ... for other stores)"
# A file that takes longer is given up, and tried again: some connections hang without an end.
READ_SECONDS = 120.0
# When so many files in a row could not be read for want of an answer, no other is tried.
MOST_UNANSWERED = 32
# One file system, and one position in an archive, for all threads.
_OPENING, _ARCHIVES = threading.Lock(), threading.Lock()


class UnansweredError(UnusableImageError):
    """An image that may be read another time: nobody answered, or not in time."""


@dataclass
class State:
    """What is found out about a store while it is read: not known to other processes.

    Attributes
    ----------
    files : Files
        What was listed.
    n_unanswered : int
        Files in a row for which there was no answer.
    """

    files: Files = NOTHING
    n_unanswered: int = 0

    def read(self, read: Callable[[str], bytes], path: str, name: str) -> bytes:
        """Read an image of the store called `name`; `DataError` if it does not answer any more."""
        try:
            data = read(path)
        except UnansweredError as error:
            self.n_unanswered += 1
            if self.n_unanswered >= MOST_UNANSWERED:
                raise DataError(
                    f"{name}: no answer for {MOST_UNANSWERED} files in a row, the last {path} "
                    f"({error}). Run again when the store answers."
                ) from error
            raise
        self.n_unanswered = 0
        return data


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
    _state: State = field(default_factory=State, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["RemoteFolder"], tuple[str]]:
        # To other processes go neither connections nor the listing.
        return RemoteFolder, (self.name,)

    def find(self) -> Listing:
        """Find and label the files in it; `DataError` if it cannot be listed."""
        filesystem, root = self._place
        if filesystem.async_impl and not root:
            raise DataError(f"{self.name}: expected a bucket and a folder in it, found neither.")
        self._state.files = self._list(filesystem, root)
        return label_paths(self._state.files.paths, self.name, self._read_text)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read; `DataError` for a path that leads out of it."""
        if not leads_inside(path):
            raise DataError(f"{path!r}: a path that leaves {self.name} is not opened.")
        return ImageFile(path, content, self._read_image)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Size, time and ETag as they were listed, int64 (n_paths, 4); pages are without them.

        A web server is asked for those of each file.
        """
        if not has_pages(self._place[0]):
            return self._state.files.stamps_of(paths)
        asked = map_ahead(
            lambda path: asked_stamp(*self._address(path)), paths, N_READERS, 2 * N_READERS
        )
        return np.array(list(asked), dtype=np.int64).reshape(-1, N_STAMPS)

    @property
    def _place(self) -> tuple[Any, str]:
        with _OPENING:
            return self._opened

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_url(self.name)

    def _list(self, filesystem: Any, root: str) -> Files:
        try:
            files = files_below(filesystem, root)
        except FileNotFoundError:
            files = NOTHING
        except NotADirectoryError as error:
            raise DataError(f"{self.name}: expected a folder of images, found a file.") from error
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error
        except Exception as error:  # each store has errors of its own
            raise DataError(
                f"{self.name}: cannot be listed ({words(error)}).{_advice(filesystem)}"
            ) from error
        if not files.paths:
            raise DataError(
                f"{self.name}: expected a folder of images, found nothing.{_advice(filesystem)}"
            )
        return files

    def _read(self, path: str) -> bytes:
        return read_remote(*self._address(path))

    def _address(self, path: str) -> tuple[Any, str]:
        """The file system, and what it calls a file of the folder."""
        filesystem, root = self._place
        return filesystem, join(root, link_to(path) if has_pages(filesystem) else path)

    def _read_text(self, path: str) -> bytes:
        try:
            return self._read(path)
        except UnusableImageError as error:
            raise DataError(f"{self.name}/{path}: {error}.") from error

    def _read_image(self, path: str) -> bytes:
        return self._state.read(self._read, path, self.name)


def open_url(url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it.

    Raises
    ------
    DataError
        If what reads it is not installed, nothing knows such a URL, or there is no such archive.
    """
    try:
        import fsspec
    except ImportError as error:
        raise DataError(f"{url}: to read it, {EXTRA}.") from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **_options(url, fsspec.config.conf))
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{url}: cannot be opened ({words(error)}). To read it, {EXTRA}."
        ) from error
    except FileNotFoundError as error:  # of a web server, why that is thought is its cause
        cause = error.__cause__
        reason = words(cause) if cause else f"no such file: {error.filename or words(error)}"
        raise DataError(f"{url}: cannot be opened ({reason}).") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{url}: expected an archive after '::', as in zip://photos::s3://bucket/all.zip "
            "or zip://::all.zip."
        ) from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{url}: cannot be opened ({words(error)}).") from error
    return filesystem, path


def _options(url: str, configured: dict[str, Any]) -> dict[str, Any]:
    """What s3fs lacks for many small files.

    By itself it asks for the size of each before it reads it, over ten connections.
    """
    if not url.startswith("s3://"):
        return {}
    connections = {"max_pool_connections": N_READERS}
    configured = configured.get("s3", {}).get("config_kwargs", {})
    return {"max_concurrency": 1, "config_kwargs": connections | configured}


def read_remote(
    filesystem: Any, path: str, start: int | None = None, end: int | None = None
) -> bytes:
    """All bytes of a file of fsspec's, or those from `start` to `end`.

    Raises
    ------
    UnusableImageError
        If there are none to be had; `UnansweredError` if there may be another time.
    """
    try:
        return bytes(patiently(partial(_read_once, filesystem, path, start, end)))
    except FileNotFoundError as error:
        raise UnusableImageError("no such file") from error
    except PermissionError as error:
        raise UnusableImageError("no permission to read it") from error
    except Exception as error:  # each store has errors of its own
        kind = UnusableImageError if is_lasting(error) else UnansweredError
        raise kind(f"cannot be read: {words(error)}") from error


def _read_once(filesystem: Any, path: str, start: int | None, end: int | None) -> bytes:
    if is_archive(filesystem):
        with _ARCHIVES:
            return filesystem.cat_file(path, start=start, end=end)  # type: ignore[no-any-return]
    if not filesystem.async_impl:
        return filesystem.cat_file(path, start=start, end=end)  # type: ignore[no-any-return]
    from fsspec.asyn import sync

    # fsspec's own cat_file has no limit of time.
    return sync(  # type: ignore[no-any-return]
        filesystem.loop, filesystem._cat_file, path, start=start, end=end, timeout=READ_SECONDS
    )


def _advice(filesystem: Any) -> str:
    if not has_pages(filesystem):
        return ""
    return (
        " Over HTTP a folder can be listed only where the server shows an index of it; where it "
        "does not, name the files in a manifest."
    )
