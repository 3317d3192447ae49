"""Where the images of a list lie: beside it, elsewhere on this machine, or behind a URL."""

import os
from pathlib import Path

from cache.format import leads_inside

FILE = "file://"


def is_url(name: str) -> bool:
    """Whether a name is a URL."""
    return "://" in name


def address(manifest: str, path: str) -> str:
    """What a path in a list is called from here on: the same for all that lead to one place.

    Parameters
    ----------
    manifest : str
        Path or URL of the list.
    path : str
        Relative to its folder, absolute, or a URL.

    Returns
    -------
    str
        POSIX, relative to the folder of the list where it lies in there; else a URL, which for a
        file of this machine begins with ``file://``.

    Raises
    ------
    ValueError
        If it leads nowhere; with what was expected.
    """
    if is_url(path) and not path.startswith(f"{FILE}/"):
        found = path
    elif is_url(manifest):
        found = _beside_url(path)
    else:
        found = _on_disk(manifest, path.removeprefix(FILE))
    if not leads_inside(found):
        raise ValueError("expected the path or URL of a file")
    return found


def place(manifest: str, path: str) -> Path | str:
    """Where to read what `address` gave: a path of this machine, or a URL."""
    if path.startswith(FILE):
        return Path(path.removeprefix(FILE))
    if is_url(path):
        return path
    if is_url(manifest):
        # Of a chain such as zip://list.csv::s3://bucket/photos.zip the first link is the list.
        first, chained, others = manifest.partition("::")
        return f"{first.rpartition('/')[0]}/{path}{chained}{others}"
    return Path(manifest).parent / path


def _beside_url(path: str) -> str:
    if is_url(path):
        return path
    if path.startswith("/"):
        raise ValueError("expected a path relative to the list, or a URL, since the list is one")
    found = os.path.normpath(path)
    if not leads_inside(found):
        raise ValueError("leads out of the folder of the list: write its URL")
    return found


def _on_disk(manifest: str, path: str) -> str:
    if leads_inside(path):
        return "/".join(part for part in path.split("/") if part not in ("", "."))
    folder = os.path.abspath(os.path.dirname(manifest))
    whole = "/" + os.path.normpath(os.path.join(folder, path)).lstrip("/")
    inside = os.path.relpath(whole, folder)
    return inside if leads_inside(inside) else f"{FILE}{whole}"
