"""The files in a request, read into memory and never beyond its limit."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser

MOST_FILES = 16
# The last is what curl --data-binary says of whatever it sends.
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
FORM_TYPE, CHARSET = "multipart/form-data", b"utf-8"


class SentFile(NamedTuple):
    """A file of a request.

    Attributes
    ----------
    name : str or None
        As the client calls it, for the client's eyes only; None of a body that is the file itself.
    data : bytes
    """

    name: str | None
    data: bytes


class _FormInMemory(MultiPartParser):
    # No image is put on a disk; the body's limit bounds what is held.
    spool_max_size = 2**40


async def read_files(request: Request, max_bytes: int) -> list[SentFile]:
    """The files that a request sends.

    Parameters
    ----------
    request : Request
    max_bytes : int
        Largest body, all files together.

    Raises
    ------
    HTTPException
        400 for a body that is empty or no form, 413 for one that is too large, 415 for one of
        another type.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    chunks = _limited(request, max_bytes)
    if kind == FORM_TYPE:
        return await _form_files(request, chunks)
    if kind not in RAW_TYPES and not kind.startswith("image/"):
        raise HTTPException(
            415, f"expected an image file as the body, or {FORM_TYPE}; found {kind}"
        )
    data = b"".join([chunk async for chunk in chunks])
    if not data:
        raise HTTPException(400, "expected an image file as the body, found nothing")
    return [SentFile(None, data)]


async def _form_files(request: Request, chunks: AsyncGenerator[bytes, None]) -> list[SentFile]:
    _, options = parse_options_header(request.headers["content-type"])
    # Python knows encodings that fail in ways of their own, or give text that JSON cannot hold.
    if options.get(b"charset", CHARSET).lower() != CHARSET:
        raise HTTPException(400, f"expected a form in {CHARSET.decode()}")
    try:
        parser = _FormInMemory(request.headers, chunks, max_files=MOST_FILES, max_fields=0)
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise HTTPException(400, f"not a form of 1 to {MOST_FILES} files: {error}") from error
    sent = [each for _, each in form.multi_items() if not isinstance(each, str)]
    files = [SentFile(each.filename or "", await each.read()) for each in sent]
    await form.close()
    if not files:
        raise HTTPException(400, "expected image files in the form, found none")
    return files


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    too_large = HTTPException(413, f"the body is larger than {max_bytes} bytes")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > max_bytes:
            raise too_large
        yield chunk
