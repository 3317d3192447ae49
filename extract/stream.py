"""Image files to pixels: decoded side by side, handed out in order, in bounded memory."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from extract.decode import decode
from extract.errors import UnusableImageError

# Pillow lets go of the interpreter lock while it decodes and resizes, so threads do help.
N_THREADS = os.cpu_count() or 1
# Results that may wait to be taken: enough that no thread idles, few enough to bound memory.
N_AHEAD = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def hash_files(paths: Iterable[Path]) -> Iterator[bytes | UnusableImageError]:
    """SHA-256 of the bytes of each file, or why it cannot be read, in order."""
    return _map_ahead(_hash, paths)


def image_batches(
    files: Iterable[ImageFile],
    size_px: int,
    batch_size: int,
    on_unusable: Callable[[int, str], None],
) -> Iterator[Batch]:
    """Decode files into batches, in order.

    Parameters
    ----------
    files : iterable of ImageFile
    size_px : int
        Height and width of the images.
    batch_size : int
        Images in each batch; the last may hold fewer.
    on_unusable : callable
        Told the row of each file that cannot be used, and the reason; it is in no batch.

    Yields
    ------
    Batch
    """
    rows: list[int] = []
    images: list[NDArray[np.uint8]] = []
    for row, image in enumerate(_map_ahead(lambda file: _decode_file(file, size_px), files)):
        if isinstance(image, UnusableImageError):
            on_unusable(row, str(image))
            continue
        rows.append(row)
        images.append(image)
        if len(rows) == batch_size:
            yield Batch(np.array(rows), np.stack(images))
            rows, images = [], []
    if rows:
        yield Batch(np.array(rows), np.stack(images))


def _map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Like `map`, in threads: at most `N_AHEAD` results wait, however many items there are."""
    with ThreadPoolExecutor(N_THREADS) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= N_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _hash(path: Path) -> bytes | UnusableImageError:
    try:
        return hashlib.sha256(_read(path)).digest()
    except UnusableImageError as error:
        return error


def _decode_file(file: ImageFile, size_px: int) -> NDArray[np.uint8] | UnusableImageError:
    try:
        data = _read(file.path)
        if file.content_sha256 not in (None, hashlib.sha256(data).digest()):
            return UnusableImageError("its content changed after it was listed: run again")
        return decode(data, size_px)
    except UnusableImageError as error:
        return error


def _read(path: Path) -> bytes:
    # Asked first, because opening a pipe that is called x.jpg would wait for ever.
    if path.exists() and not path.is_file():
        raise UnusableImageError("not a regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableImageError(f"cannot be read: {error.strerror}") from error
