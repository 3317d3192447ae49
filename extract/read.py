"""The bytes of a file, or why they cannot be had."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from extract.errors import UnusableImageError

NOT_FILES = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}
REASONS = {
    errno.ELOOP: "a link that leads in a circle",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
}


def read_file(path: Path) -> bytes:
    """All bytes of a file; `UnusableImageError` if there are none to be had."""
    try:
        # Asked first, because opening a pipe that is called x.jpg would wait for ever.
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind != stat.S_IFREG:
            raise UnusableImageError(NOT_FILES.get(kind, "not a regular file"))
        return path.read_bytes()
    except OSError as error:
        raise UnusableImageError(_describe(path, error)) from error


class ImageFile(NamedTuple):
    """A file to decode.

    Attributes
    ----------
    path : Path or str
        Where it lies, for `read` and for people.
    content_sha256 : bytes or None
        What its bytes must hash to; None where nobody knows yet.
    read : callable
        Gives all bytes at a path, or raises `UnusableImageError`.
    """

    path: Path | str
    content_sha256: bytes | None = None
    read: Callable[[Any], bytes] = read_file


def _describe(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return "a link to nothing"
    return REASONS.get(error.errno or 0, f"cannot be read: {error.strerror}")
