"""Folders that a web server shows as pages of links: the names behind links, and the way back."""

from typing import Any
from urllib.parse import quote, unquote

from cache.format import leads_inside
from extract.errors import DataError


def has_pages(filesystem: Any) -> bool:
    """Whether a file system of fsspec's lists folders by the links on their pages."""
    return "http" in filesystem.protocol


def name_of(link: str) -> str:
    """The path that a link stands for: ``red one/#1.png`` for ``red%20one/%231.png``.

    Bytes that are not UTF-8 become what they become in a folder of this machine.

    Raises
    ------
    DataError
        If it is no name of a file below the page, or one with a slash in it.
    """
    name = unquote(link, errors="surrogateescape")
    if name.count("/") > link.count("/") or "\0" in name or not leads_inside(name):
        raise DataError(
            f"its page has the link {link!r}, expected the name of a file or folder in it. Rename "
            "that, or name the files in a manifest."
        )
    return name


def link_to(path: str) -> str:
    """What is asked for to get a file: the link that `name_of` reads, in one spelling of many."""
    return quote(path, errors="surrogateescape")
