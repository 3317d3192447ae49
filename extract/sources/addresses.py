"""Addresses that hold a secret: nothing that is written or said may."""

import re

from extract.errors import DataError

# fsspec's: s3://bucket/photos, zip://photos::s3://bucket/all.zip, zip::all.zip
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
WEB, STORE = r"\b(?:https?|ftps?|webdavs?|webhdfs)://+", r"\b(?:s3[an]?|gs|gcs|oss)://+"
# What follows a URL in a sentence.
END = r"(?=['\")>\],.;:]*(?:\s|$))"
SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # What stands alone before a host may be a token; elsewhere it is a user or a container.
        rf"({WEB})[^/\s]*(?=@)",
        # Keys of S3 have slashes. What may be a port is none of them where there are ports.
        rf"({STORE})(?!arn:)[^/\s:]*:(?!:)(?:(?!::)\S)*(?=@)",
        r"(://)(?!arn:)[^/\s:]*:(?!:|\d+(?:[/:?#]|$))(?:(?!::)\S)*(?=@)",
        rf"({WEB}[^\s?]*\?)(?!\.{{3}}{END})\S+?{END}",
    )
)
# Also of addresses without their beginning.
SIGNATURE = re.compile(rf"(\?)[^\s'\")>]*=\S*?{END}")


def is_address(data: str) -> bool:
    """Whether this is a URL, and no folder of this machine."""
    return ADDRESS.match(data) is not None


def without_secrets(text: str) -> str:
    """The same with passwords, tokens and queries left out of its URLs: rather too many of them."""
    for pattern in (*SECRETS, SIGNATURE):
        text = pattern.sub(r"\1...", text)
    return text


def refuse_secrets(url: str) -> None:
    """`DataError` for a URL that would carry a secret into the feature file."""
    whole = re.sub(r"\s", "%20", url)  # in a sentence a space ends it, not here
    is_secret = any(pattern.search(whole) for pattern in SECRETS)
    if is_secret or any(map(_is_signed, whole.split("::"))):
        raise DataError(
            f"{without_secrets(whole)}: expected an address without password, token and query, "
            "which would stand in the feature file. Let the library behind it find credentials: in "
            "its environment variables, its own files, or fsspec's (FSSPEC_..., ~/.config/fsspec)."
        )


def _is_signed(link: str) -> bool:
    """Whether a link of a chain has a query; in the keys of stores a question mark is none."""
    is_key = "://" not in link or re.match(STORE, link, re.IGNORECASE)
    return not is_key and SIGNATURE.search(link) is not None
