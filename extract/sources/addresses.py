"""Addresses that hold a secret: nothing that is written or said may."""

import re

from extract.errors import DataError

# fsspec's: s3://bucket/photos, zip://photos::s3://bucket/all.zip, zip::all.zip
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
QUERY = re.compile(r"(?<=\?)[^\s'\")>]*=[^\s'\")>]*")


def is_address(data: str) -> bool:
    """Whether this is a URL, and no folder of this machine."""
    return ADDRESS.match(data) is not None


def without_secrets(text: str) -> str:
    """The same with passwords, and queries, which may be signatures, left out of its URLs."""
    return QUERY.sub("...", PASSWORD.sub("...", text))


def refuse_secrets(url: str) -> None:
    """`DataError` for a URL that would carry a secret into the feature file."""
    shown = without_secrets(url)
    if shown != url:
        raise DataError(
            f"{shown}: expected an address without a password or a query, which would stand in the "
            "feature file. Let the library behind it find credentials: in its environment "
            "variables, its own files, or fsspec's (FSSPEC_..., ~/.config/fsspec)."
        )
