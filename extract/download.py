"""One file from the web to disk: resumed, checked, and only then there under its name."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from cache.disk import require_free
from cache.errors import StorageError
from extract.errors import DownloadError
from extract.partial import PartialFile, Version
from extract.progress import BYTES, Progress

TIMEOUT_SECONDS = 30.0
# Before each further attempt, as long as nothing more comes; what comes starts the count anew.
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
CHUNK_BYTES = 1 << 20
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE, SERVER_ERROR = 206, 416, 500
# Answers that are other ones after a while: slow request, the file is shorter than what has come
# (which is dropped then), too many requests; and all from SERVER_ERROR on.
PASSING = (408, RANGE_NOT_SATISFIABLE, 429)


class _BrokenError(Exception):
    """What another attempt may mend."""


class _UnreachableError(_BrokenError):
    """There was no connection at all."""


def download(url: str, target: Path, sha256: str, room: float, say: Callable[[str], None]) -> None:
    """Fetch a file, or the rest of it, however often the connection breaks.

    Only one process at a time may do so for a target: see `cache.disk.one_writer`.

    Parameters
    ----------
    url : str
        http or https.
    target : Path
        Where to put it. What has come so far lies beside it, as ``NAME.part``.
    sha256 : str
        Of the whole file, in hexadecimal.
    room : float
        Free space to ask for first, in sizes of the file: 1 for the file alone.
    say : callable
        Told of each broken connection.

    Raises
    ------
    DownloadError
        If the server cannot be reached, has no such file, or has another one.
    StorageError
        If the disk has no room, or cannot be written to.
    """
    part = PartialFile(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, room, say)
        check_sha256(part.path, sha256, target)
        part.finish()
    except OSError as error:
        raise StorageError(
            f"{part.path}: cannot be written: {error.strerror or error}. What has come is kept; "
            "mend that and run the same command again."
        ) from error


def check_sha256(path: Path, expected: str, target: Path) -> None:
    """Move a file aside that is not what it should be.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        Its SHA-256, in hexadecimal.
    target : Path
        The name that it is to have, or has.

    Raises
    ------
    DownloadError
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        n_bytes, aside = path.stat().st_size, target.with_name(f"{target.name}.wrong")
        path.replace(aside)
        raise DownloadError(
            f"{target}: expected SHA-256 {expected}, found {found} in {n_bytes:,} bytes: damaged, "
            f"or another file. It is {aside} now, to look at or to delete. Run the same command "
            "again to fetch it anew."
        )


def _fetch(url: str, part: PartialFile, room: float, say: Callable[[str], None]) -> None:
    pauses, is_reached = list(PAUSES_SECONDS), False
    while not part.is_complete:
        n_before = part.n_bytes
        try:
            with _open(url, part) as response:
                _receive(response, part, room)
        except _BrokenError as error:
            is_reached = is_reached or not isinstance(error, _UnreachableError)
            if part.n_bytes > n_before:
                pauses = list(PAUSES_SECONDS)
            # A server that was never reached is most likely no matter of seconds.
            if not is_reached or not pauses:
                raise _failure(url, error, part) from error
            say(f"{url}: {error}; {part.n_bytes:,} bytes are here, again in {pauses[0]:g} s")
            time.sleep(pauses.pop(0))


@contextmanager
def _open(url: str, part: PartialFile) -> Iterator[HTTPResponse]:
    """Ask for what is missing; the answer may be the whole file all the same."""
    try:
        # http or https: the command line sees to that.
        request = Request(url, headers={"User-Agent": "headbench", **_range(part)})  # noqa: S310
        response = urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except HTTPError as error:
        error.close()
        answer = _BrokenError(f"the server answers {error.code} {error.reason}")
        if error.code == RANGE_NOT_SATISFIABLE:
            part.discard()
        if error.code < SERVER_ERROR and error.code not in PASSING:
            raise _failure(url, answer, part) from error
        raise answer from error
    except (InvalidURL, ValueError) as error:
        raise _failure(url, f"expected an address ({error})", part) from error
    except URLError as error:
        raise _UnreachableError(f"cannot be reached ({error.reason})") from error
    except (OSError, HTTPException) as error:
        raise _broken(error) from error
    with response:
        yield response


def _range(part: PartialFile) -> dict[str, str]:
    version, n_bytes = part.version, part.n_bytes
    if version is None or not n_bytes:
        return {}
    # If that version is gone, all of the new one comes. Without a name for it, the checksum tells.
    condition = {"If-Range": version.validator} if version.validator else {}
    return {"Range": f"bytes={n_bytes}-", **condition}


def _receive(response: HTTPResponse, part: PartialFile, room: float) -> None:
    is_rest = response.status == PARTIAL_CONTENT
    n_total = _go_on(response, part) if is_rest else _start(response, part)
    n_there = part.n_bytes
    n_needed = round(room * n_total) - n_there
    require_free(part.path.parent, n_needed, "the download and what is made of it")
    with part.path.open("ab") as file, Progress("download", n_total, BYTES) as progress:
        progress.update(n_there)
        for chunk in _chunks(response):
            file.write(chunk)
            progress.update(len(chunk))
    if not part.is_complete:
        raise _BrokenError(f"the connection closed before the end of {n_total:,} bytes")


def _start(response: HTTPResponse, part: PartialFile) -> int:
    """Begin with the first byte; returns how many there are in all."""
    n_total = response.headers["Content-Length"] or ""
    if not n_total.isdecimal():
        raise _failure(response.url, "the server does not say how long the file is", part)
    etag = response.headers["ETag"] or ""
    # A weak one stands for files that are alike, not the same to the byte.
    is_strong = etag and not etag.startswith("W/")
    validator = etag if is_strong else response.headers["Last-Modified"] or ""
    part.begin(Version(int(n_total), validator))
    return int(n_total)


def _go_on(response: HTTPResponse, part: PartialFile) -> int:
    """Make sure that this begins where ours ends; returns how many bytes there are in all."""
    offered = response.headers["Content-Range"] or ""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", offered)
    version = part.version
    if found and version and (int(found[1]), int(found[2])) == (part.n_bytes, version.n_bytes):
        return version.n_bytes
    part.discard()
    raise _BrokenError(f"the server offers {offered!r}, which is not the rest")


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _broken(error) from error


def _broken(error: Exception) -> _BrokenError:
    return _BrokenError(f"the connection broke ({error or type(error).__name__})")


def _failure(url: str, reason: object, part: PartialFile) -> DownloadError:
    return DownloadError(
        f"{url}: {reason}. What has come is kept: run the same command again to go on. Or fetch "
        f"the file in another way, put it at {part.target}, and run the same command again."
    )
