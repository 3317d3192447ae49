"""Single files behind URLs, by fsspec: whatever a list of images may name."""

import threading
from pathlib import Path

from extract.errors import DataError
from extract.sources.patience import patiently, words
from extract.sources.remote import EXTRA, open_url, read_remote
from extract.sources.stamps import Stamp, asked_stamp

# One file system for all threads.
_OPENING = threading.Lock()


def require_reader(url: str) -> None:
    """Refuse, as `DataError`, a URL that nothing here reads; asks nobody far away."""
    try:
        import fsspec

        for link in url.split("::"):
            fsspec.get_filesystem_class(link.partition("://")[0])
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{url}: cannot be opened ({words(error)}). To read it, {EXTRA}."
        ) from error


def read_url(url: str) -> bytes:
    """All bytes behind a URL; raises what `open_url` and `read_remote` do."""
    with _OPENING:
        filesystem, path = open_url(url)
    return read_remote(filesystem, path)


def url_stamp(url: str) -> Stamp:
    """What tells versions of a file apart, as far as it can be had by asking once."""
    with _OPENING:
        filesystem, path = open_url(url)
    return asked_stamp(filesystem, path)


def fetch(url: str, target: Path) -> None:
    """Copy a file from behind a URL; `DataError` if it cannot be had."""
    filesystem, path = open_url(url)
    try:
        patiently(lambda: filesystem.get_file(path, str(target)))
    except FileNotFoundError as error:
        raise DataError(f"{url}: no such file.") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{url}: cannot be read ({words(error)}).") from error
