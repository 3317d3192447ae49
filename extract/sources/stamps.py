"""What tells versions of a file far away apart, by what its store says of it."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

TIMES = (
    "LastModified", "Last-Modified", "mtime", "last_modified", "modified", "updated", "created",
)  # fmt: skip
TAGS = ("ETag", "etag", "md5Hash", "CRC")
Stamp = tuple[int, int, int, int]
UNKNOWN: Stamp = (-1, -1, -1, -1)


def stamp(details: dict[str, Any]) -> Stamp:
    """What is known of a version of a file, by what its store says of it.

    Where there is a tag, two versions differ in it however quickly they follow each other, and the
    times of the stamp are 0. -1 throughout where nothing tells versions apart.
    """
    size = int(details.get("size") or 0)
    modified = _first(details, TIMES)
    if (tag := _first(details, TAGS)) is not None:
        return (size, 0, 0, _number(f"{tag} {modified}"))
    if (nanoseconds := _nanoseconds(modified)) is not None:
        return (size, nanoseconds, 0, 0)
    return UNKNOWN


def asked_stamp(filesystem: Any, path: str) -> Stamp:
    """The `stamp` of a file whose store is asked once; -1 throughout if it says nothing."""
    try:
        return stamp(filesystem.info(path))
    except Exception:  # each store has errors of its own; whoever reads the file finds out why
        return UNKNOWN


def _first(details: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((details[key] for key in keys if details.get(key)), None)


def _nanoseconds(modified: Any) -> int | None:
    if isinstance(modified, str):
        modified = _read_time(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    return int(modified * 1e9) if isinstance(modified, int | float) else None


def _read_time(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):  # the second is of HTTP
        with suppress(ValueError):
            return read(text)
    return None


def _number(tag: str) -> int:
    """A number that stands for a tag: the same for equal ones."""
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8]) >> 1
