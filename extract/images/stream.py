"""Image files to pixels: read and decoded side by side, handed out in order, in bounded memory."""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from headbench.cache.untrusted import IrregularFileError, open_regular
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.progress import Stopwatch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int, n_ahead: int
) -> Iterator[Result]:
    """Like `map`, in threads, working ahead of the consumer.

    The function should let go of the interpreter lock for most of its time. Items are read in the
    caller's thread. At most `n_ahead` are at work or done and not yet taken: that bounds memory,
    however many come. Results come in the order of the items; an error comes in its place.
    """
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


REASONS = {
    errno.ELOOP: "a link that leads in a circle",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
}


def read_file(path: Path) -> bytes:
    """All bytes of a file; `UnusableImageError` if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except IrregularFileError as error:
        raise UnusableImageError(str(error.strerror)) from error
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


# Pillow lets go of the interpreter lock while it decodes and resizes, so threads do help.
N_THREADS = os.cpu_count() or 1
# Results that may wait to be taken: enough that no thread idles, few enough to bound memory.
N_AHEAD = 64
# Files that come over a network, read at a time: at 50 ms each, 640 a second.
N_READERS = 32


class Batch(NamedTuple):
    """Decoded images, uint8 (n, size_px, size_px, 3), RGB, 0-255.

    `rows`, int64 (n,), say which of the files each is.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]


class DecodedImage(NamedTuple):
    """One image, uint8 (size_px, size_px, 3), RGB, 0-255, and which of the files it is.

    `content_sha256` is that of the file's bytes; empty for pixels that came from no file.
    """

    row: int
    image: NDArray[np.uint8]
    content_sha256: bytes = b""


def hash_files(files: Iterable[ImageFile]) -> Iterator[bytes | UnusableImageError]:
    """SHA-256 of the bytes of each file, or why it cannot be read, in order."""
    return map_ahead(_hash, _read_ahead(files), N_THREADS, N_AHEAD)


def decoded_images(
    files: Iterable[ImageFile],
    size_px: int,
    on_unusable: Callable[[int, UnusableImageError], None],
    stopwatch: Stopwatch,
    known: Container[bytes] = (),
    on_known: Callable[[int, bytes], object] = lambda *_: None,
) -> Iterator[DecodedImage]:
    """Decode files, in order; the stages ``read`` and ``decode`` are timed.

    `on_unusable` is told the row of each file that cannot be used, and why. Contents that are
    `known`, which may grow meanwhile, are not decoded again: `on_known` is told their row and
    content.
    """
    decode_next = partial(_unless_known, size_px=size_px, stopwatch=stopwatch, known=known)
    decoded = map_ahead(decode_next, _read_ahead(files), N_THREADS, N_AHEAD)
    for row, (content, image) in enumerate(decoded):
        if isinstance(image, UnusableImageError):
            on_unusable(row, image)
        elif image is None:
            on_known(row, content)
        else:
            yield DecodedImage(row, image, content)


def in_batches(images: Iterable[DecodedImage], batch_size: int) -> Iterator[Batch]:
    """Put images together, `batch_size` at a time; the last batch may hold fewer."""
    remaining = iter(images)
    while some := list(islice(remaining, batch_size)):
        yield Batch(np.array([each.row for each in some]), np.stack([each.image for each in some]))


def image_batches(
    files: Iterable[ImageFile],
    size_px: int,
    batch_size: int,
    on_unusable: Callable[[int, UnusableImageError], None],
) -> Iterator[Batch]:
    """Decode files into batches, in order; see `decoded_images` and `in_batches`."""
    return in_batches(decoded_images(files, size_px, on_unusable, Stopwatch()), batch_size)


def decode_file(
    file: ImageFile, size_px: int, stopwatch: Stopwatch
) -> NDArray[np.uint8] | UnusableImageError:
    """Pixels of one file, uint8 (size_px, size_px, 3), or why it cannot be used."""
    try:
        return _pixels(_read(file, stopwatch)[1], size_px, stopwatch)
    except UnusableImageError as error:
        return error


def _unless_known(
    file: ImageFile, size_px: int, stopwatch: Stopwatch, known: Container[bytes]
) -> tuple[bytes, NDArray[np.uint8] | UnusableImageError | None]:
    """The content of a file and its pixels, why it cannot be used, or None if it is known."""
    content = b""
    try:
        content, data = _read(file, stopwatch)
        return content, None if content in known else _pixels(data, size_px, stopwatch)
    except UnusableImageError as error:
        return content, UnusableImageError(str(error), content)


def _read(file: ImageFile, stopwatch: Stopwatch) -> tuple[bytes, bytes]:
    """SHA-256 of the bytes of a file, and the bytes."""
    with stopwatch.measure("read"):
        data = file.read(file.path)
        content = hashlib.sha256(data).digest()
    if file.content_sha256 not in (None, content):
        raise UnusableImageError("its content changed after it was listed: run again")
    return content, data


def _pixels(data: bytes, size_px: int, stopwatch: Stopwatch) -> NDArray[np.uint8]:
    with stopwatch.measure("decode"):
        return decode(data, size_px)


def _hash(file: ImageFile) -> bytes | UnusableImageError:
    try:
        return hashlib.sha256(file.read(file.path)).digest()
    except UnusableImageError as error:
        return error


def _read_ahead(files: Iterable[ImageFile]) -> Iterator[ImageFile]:
    """The same files, with the bytes of those that lie on no disk here read, many at a time."""
    return map_ahead(_fetched, files, N_READERS, 2 * N_READERS)


def _fetched(file: ImageFile) -> ImageFile:
    if file.read is read_file:
        return file
    try:
        return file._replace(read=partial(give, file.read(file.path)))
    except UnusableImageError as error:
        return file._replace(read=partial(_refuse, error))


def give(data: bytes, _: object) -> bytes:
    """Bytes that are at hand, as an `ImageFile` reads them."""
    return data


def _refuse(error: UnusableImageError, _: object) -> bytes:
    raise error
