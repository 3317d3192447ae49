"""Image files to pixels: decoded side by side, handed out in order, in bounded memory."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.decode import decode
from extract.errors import UnusableImageError
from extract.read import read_file
from extract.stopwatch import Stopwatch
from extract.threads import map_ahead

# Pillow lets go of the interpreter lock while it decodes and resizes, so threads do help.
N_THREADS = os.cpu_count() or 1
# Results that may wait to be taken: enough that no thread idles, few enough to bound memory.
N_AHEAD = 64


class ImageFile(NamedTuple):
    """A file to decode.

    Attributes
    ----------
    path : Path
    content_sha256 : bytes or None
        What its bytes must hash to; None where nobody knows yet.
    """

    path: Path
    content_sha256: bytes | None = None


class Batch(NamedTuple):
    """Some decoded images.

    Attributes
    ----------
    rows : int64 (n,)
        Which of the files each image is.
    images : uint8 (n, size_px, size_px, 3)
        RGB, 0-255.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]


class DecodedImage(NamedTuple):
    """One image.

    Attributes
    ----------
    row : int
        Which of the files it is.
    image : uint8 (size_px, size_px, 3)
        RGB, 0-255.
    """

    row: int
    image: NDArray[np.uint8]


def hash_files(paths: Iterable[Path]) -> Iterator[bytes | UnusableImageError]:
    """SHA-256 of the bytes of each file, or why it cannot be read, in order."""
    return map_ahead(_hash, paths, N_THREADS, N_AHEAD)


def decoded_images(
    files: Iterable[ImageFile],
    size_px: int,
    on_unusable: Callable[[int, UnusableImageError], None],
    stopwatch: Stopwatch,
) -> Iterator[DecodedImage]:
    """Decode files, in order.

    Parameters
    ----------
    files : iterable of ImageFile
    size_px : int
        Height and width of the images.
    on_unusable : callable
        Told the row of each file that cannot be used, and why; it is not handed out.
    stopwatch : Stopwatch
        Counts the stages ``read`` and ``decode``.
    """
    decode_next = partial(decode_file, size_px=size_px, stopwatch=stopwatch)
    for row, image in enumerate(map_ahead(decode_next, files, N_THREADS, N_AHEAD)):
        if isinstance(image, UnusableImageError):
            on_unusable(row, image)
        else:
            yield DecodedImage(row, image)


def in_batches(images: Iterable[DecodedImage], batch_size: int) -> Iterator[Batch]:
    """Put images together, `batch_size` at a time; the last batch may hold fewer."""
    remaining = iter(images)
    while some := list(islice(remaining, batch_size)):
        rows, pixels = zip(*some, strict=True)
        yield Batch(np.array(rows), np.stack(pixels))


def image_batches(
    files: Iterable[ImageFile],
    size_px: int,
    batch_size: int,
    on_unusable: Callable[[int, UnusableImageError], None],
) -> Iterator[Batch]:
    """Decode files into batches, in order; see `decoded_images` and `in_batches`."""
    return in_batches(decoded_images(files, size_px, on_unusable, Stopwatch()), batch_size)


def _hash(path: Path) -> bytes | UnusableImageError:
    try:
        return hashlib.sha256(read_file(path)).digest()
    except UnusableImageError as error:
        return error


def decode_file(
    file: ImageFile, size_px: int, stopwatch: Stopwatch
) -> NDArray[np.uint8] | UnusableImageError:
    """Pixels of one file, uint8 (size_px, size_px, 3), or why it cannot be used."""
    try:
        with stopwatch.measure("read"):
            data = read_file(file.path)
            is_changed = file.content_sha256 not in (None, hashlib.sha256(data).digest())
        if is_changed:
            return UnusableImageError("its content changed after it was listed: run again")
        with stopwatch.measure("decode"):
            return decode(data, size_px)
    except UnusableImageError as error:
        return error
