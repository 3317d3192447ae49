"""Files behind URLs, by fsspec: opened, read with several tries, and versions told apart.

The libraries behind fsspec find credentials as in every other program. headbench neither asks for
them nor stores them.
"""

import hashlib
import io
import os
import random
import re
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from headbench.extract.errors import DataError, TooLargeError, UnusableImageError
from headbench.extract.images.stream import N_READERS
from headbench.extract.sources.bodies import Body, bounded_tar_headers, copy, http_status

Result = TypeVar("Result")
Stamp = tuple[int, int, int, int]

EXTRA = 'pip install "headbench[remote]" (for other stores than S3 also gcsfs, adlfs ...)'
# Prefix of a path of this machine.
FILE = "file://"
# A URL names a store, or archives in one, nested. fsspec knows more protocols: some download what a
# file names, and ``reference`` has run code from a file.
STORES = ("s3", "gs", "az", "abfs", "abfss", "hdfs", "http", "https", "file", "memory")
ARCHIVES = ("zip", "tar")
# Of a link in a chain; a path of this machine has none. As wide as fsspec's own rules, or wider.
PROTOCOL = re.compile(r"[^/:]*(?=:)|[^./:]+\Z")
# fsspec's: s3://bucket/photos, zip://photos::s3://bucket/all.zip, zip::all.zip
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
# What follows a URL in a sentence.
END = r"(?=['\")>\],.;:]*(?:\s|$))"
# What stands behind a path, encoded or not, however often.
BEHIND = r"[?#;&]|%(?:25)*(?:3F|23|3B|26)"
SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # A user's name, which may be a token. In Azure that is a container, in archives a file.
        r"(?<!abfs)(?<!abfss)(?<!zip)(?<!tar)(://)[^/\s]*(?=@)",
        r"(://)(?!arn:)[^/\s:]*:(?!:|\d+(?:[/?#]|$))\S*(?=@)",  # user:password@, not host:port
        rf"(https?://[^\s?#;]*[?#;])(?!\.{{3}}{END})\S+?{END}",  # all that is behind the path
        # In object stores these are letters like others, except before a name such as token=.
        rf"({BEHIND})(?:(?!{BEHIND})\S)*?(?:key|token|secret|sig|pass|credential)"
        rf"(?:(?!{BEHIND})[^\s=]){{0,64}}?(?:=|%(?:25)*3D)(?!\.{{3}}{END})\S*?{END}",
    )
)

# Characters that are searched for secrets: the time grows with their square.
MOST_CHARACTERS = 4096

N_TRIES = 4
# Before the second try, and twice as long before each further one; half as much to half as much
# again, so that many that failed together do not come back together.
PAUSE_SECONDS = 0.5
# Libraries repeat calls too, which may take long: no further try after so many seconds.
PATIENCE_SECONDS = 60.0
# A read that takes longer is given up and tried again: some connections hang forever.
READ_SECONDS = 120.0
# After so many files in a row without an answer, no more files are tried.
MOST_UNANSWERED = 32
# Errors that a second try does not change.
LASTING = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError,
    ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error, TooLargeError,
)  # fmt: skip
# Statuses of refused requests (4xx) that may pass: timeout, too early, too many requests.
PASSING_STATUSES = (408, 425, 429)

TIMES = (
    "LastModified", "Last-Modified", "mtime", "last_modified", "modified", "updated", "created",
)  # fmt: skip
TAGS = ("ETag", "etag", "md5Hash", "CRC")
UNKNOWN: Stamp = (-1, -1, -1, -1)
# One file system for all threads, and one position in an archive.
_OPENING, _ARCHIVES = threading.Lock(), threading.Lock()


class UnansweredError(UnusableImageError):
    """An image that may be readable later: the store gave no answer, or not in time."""


def is_url(name: str) -> bool:
    """Whether a name is a URL."""
    return "://" in name


def without_file(url: str) -> str:
    """The path in a ``file://`` URL; any other text as it is.

    Windows writes a slash before a drive there, ``file:///C:/photos``.
    """
    path = url.removeprefix(FILE)
    return path[1:] if os.path.splitdrive(path[1:])[0] else path


def is_address(data: str) -> bool:
    """Whether this is a URL or a chain of URLs, and no folder of this machine."""
    return ADDRESS.match(data) is not None


def protocols_of(url: str) -> tuple[str, ...]:
    """The protocol of each link of a URL; ``file`` for a path. `DataError` if it is not supported.

    Examples
    --------
    >>> protocols_of("zip://photos::s3://bucket/all.zip"), protocols_of("zip::./all.zip")
    (('zip', 's3'), ('zip', 'file'))
    """
    found = map(PROTOCOL.match, url.split("::"))
    *archives, store = (each[0] if each else "file" for each in found)
    wrong = [*(each for each in archives if each not in ARCHIVES), *{store}.difference(STORES)]
    if wrong:
        raise DataError(
            f"{without_secrets(url)}: cannot be opened (protocol {wrong[0]!r}, expected one of "
            f"{', '.join(STORES)}). Write an archive after '::', as in zip://photos::all.zip; only "
            "zip and tar can be chained."
        )
    return (*archives, store)


def without_secrets(text: str) -> str:
    """The text without user names, passwords, tokens and queries in URLs; cut off if long."""
    text = text[:MOST_CHARACTERS]
    for pattern in SECRETS:
        text = pattern.sub(r"\1...", text)
    return text


def refuse_secrets(url: str) -> None:
    """`DataError` for a URL that would put a secret into the feature file."""
    whole = re.sub(r"\s", "%20", url)  # in a sentence a space ends it, not here
    if any(pattern.search(whole) for pattern in SECRETS):
        raise DataError(
            f"{without_secrets(whole)}: expected a URL without password, user name, token and "
            "anything after its path ('?', '#', ';'), because the feature file stores the URL. Put "
            "credentials where the store's library finds them: in its environment variables, its "
            "own files, or those of fsspec (FSSPEC_..., ~/.config/fsspec)."
        )


def open_url(url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it; `DataError` if it cannot be opened."""
    protocols_of(url)
    try:
        import fsspec

        with _OPENING, bounded_tar_headers():
            options = _options(url, fsspec.config.conf)
            return fsspec.core.url_to_fs(url, **options)  # type: ignore[no-any-return]
    except Exception as error:  # each store has errors of its own
        raise _not_opened(url, error) from error


def require_reader(url: str) -> None:
    """`DataError` for a URL that no installed library can read; no store is asked."""
    try:
        import fsspec

        for protocol in protocols_of(url):
            fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise _not_opened(url, error) from error


def is_archive(filesystem: Any) -> bool:
    """Whether the files are in one archive: listed at once, and read one at a time."""
    from fsspec.archive import AbstractArchiveFileSystem

    return isinstance(filesystem, AbstractArchiveFileSystem)


def read_remote(
    filesystem: Any, path: str, max_bytes: int, span: tuple[int, int] | None = None
) -> bytes:
    """All bytes of a file of fsspec, or those from the first to the second number of `span`.

    Raises `TooLargeError` if there are more than `max_bytes`; `UnansweredError` if the file may be
    readable later; `UnusableImageError` if not.
    """
    try:
        return patiently(partial(_read_once, filesystem, path, max_bytes, span))
    except TooLargeError:
        raise
    except FileNotFoundError as error:
        raise UnusableImageError("no such file") from error
    except PermissionError as error:
        raise UnusableImageError("no permission to read it") from error
    except Exception as error:  # each store has errors of its own
        kind = UnusableImageError if is_lasting(error) else UnansweredError
        raise kind(f"cannot be read: {words(error)}") from error


def read_url(url: str, max_bytes: int) -> bytes:
    """All bytes behind a URL; raises what `open_url` and `read_remote` raise."""
    return read_remote(*open_url(url), max_bytes)


def fetch(url: str, path: Path, max_bytes: int) -> None:
    """Copy a file behind a URL to a path; `DataError` if it cannot be read.

    Raises `TooLargeError` once it is more than `max_bytes`.
    """
    filesystem, remote = open_url(url)

    def once() -> None:
        with path.open("wb") as file:
            copy(filesystem, remote, Body(file, max_bytes))

    try:
        patiently(once)
    except TooLargeError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{url}: no such file.") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{url}: cannot be read ({words(error)}).") from error


@dataclass
class Answers:
    """Counts the files in a row for which a store gave no answer."""

    n_unanswered: int = 0

    def read(self, read: Callable[[str], bytes], path: str, name: str) -> bytes:
        """Read an image of the source `name`; `DataError` if its store stopped answering."""
        try:
            data = read(path)
        except UnansweredError as error:
            self.n_unanswered += 1
            if self.n_unanswered >= MOST_UNANSWERED:
                raise DataError(
                    f"{name}: no answer for {MOST_UNANSWERED} files in a row, the last {path} "
                    f"({error}). Run the same command again when the store answers."
                ) from error
            raise
        self.n_unanswered = 0
        return data


def url_stamp(url: str) -> Stamp:
    """The `stamp` of the file behind a URL, requested once; `UNKNOWN` without an answer."""
    filesystem, path = open_url(url)
    try:
        return stamp(filesystem.info(path))
    except Exception:  # each store has errors of its own; whoever reads the file finds out why
        return UNKNOWN


def stamp(details: Mapping[str, Any]) -> Stamp:
    """The stamp of a file, from what its store tells about it.

    With an ETag or a checksum, two versions differ however quickly they follow each other; then the
    times of the stamp are 0. If nothing tells versions apart, it is `UNKNOWN`.
    """
    size, modified = int(details.get("size") or 0), _first(details, TIMES)
    if (tag := _first(details, TAGS)) is not None:
        digest = hashlib.sha256(f"{tag} {modified}".encode()).digest()
        return (size, 0, 0, int.from_bytes(digest[:8]) >> 1)
    nanoseconds = _nanoseconds(modified)
    return UNKNOWN if nanoseconds is None else (size, nanoseconds, 0, 0)


def patiently(call: Callable[[], Result]) -> Result:
    """Call a function that may fail for a while; raises its last error if it keeps failing."""
    impatient_at = time.monotonic() + PATIENCE_SECONDS
    for number in range(N_TRIES - 1):
        try:
            return call()
        except Exception as error:  # each store has errors of its own
            if is_lasting(error) or time.monotonic() > impatient_at:
                raise
        pause(PAUSE_SECONDS * 2**number)
    return call()


def pause(seconds: float) -> None:
    """Wait for about this long."""
    time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311, no secret


def is_lasting(error: BaseException) -> bool:
    """Whether a failed call would fail again: missing or forbidden files stay so."""
    if isinstance(error, TimeoutError):
        return False
    status = http_status(error)
    is_refused = 400 <= status < 500 and status not in PASSING_STATUSES
    return is_refused or isinstance(error, LASTING)


def words(error: BaseException) -> str:
    """The message of an error, in one line and without secrets."""
    said = without_secrets(str(error).split("\n", maxsplit=1)[0])
    return said or ("no answer" if isinstance(error, TimeoutError) else type(error).__name__)


def _not_opened(url: str, error: Exception) -> DataError:
    reason, way_out = words(error), ""
    if isinstance(error, FileNotFoundError):  # of a web server, the cause says more
        cause = error.__cause__
        reason = words(cause) if cause else f"no such file: {error.filename or reason}"
    elif isinstance(error, IsADirectoryError):
        way_out = " Write an archive after '::', as in zip://photos::all.zip."
    elif isinstance(error, ImportError | ValueError):
        way_out = f" To read it: {EXTRA}."
    return DataError(f"{url}: cannot be opened ({reason}).{way_out}")


def _options(url: str, configured: dict[str, Any]) -> dict[str, Any]:
    """Options that s3fs needs for many small files.

    By default it requests the size of each file before reading it, over ten connections.
    """
    if not url.startswith("s3://"):
        return {}
    connections = {"max_pool_connections": N_READERS}
    configured = configured.get("s3", {}).get("config_kwargs", {})
    return {"max_concurrency": 1, "config_kwargs": connections | configured}


def _read_once(filesystem: Any, path: str, max_bytes: int, span: tuple[int, int] | None) -> bytes:
    data = io.BytesIO()
    with _ARCHIVES if is_archive(filesystem) else nullcontext():
        copy(filesystem, path, Body(data, max_bytes), span, READ_SECONDS)
    return data.getvalue()


def _first(details: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((details[key] for key in keys if details.get(key)), None)


def _nanoseconds(modified: Any) -> int | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):  # the second is of HTTP
        if isinstance(modified, str):
            with suppress(ValueError):
                modified = read(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    return int(modified * 1e9) if isinstance(modified, int | float) else None
