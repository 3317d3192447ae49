"""Read and decode image files in parallel; results come in order, in bounded memory."""

import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from headbench.cache.untrusted import IrregularFileError, open_regular
from headbench.extract.errors import TooLargeError, UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.settings import ExtractSettings
from headbench.extract.stopwatch import Stopwatch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int, n_ahead: int
) -> Iterator[Result]:
    """Like `map`, in threads, working ahead of the consumer.

    The function should release the interpreter lock for most of its time. Items are read in the
    caller's thread. At most `n_ahead` results are being computed or waiting, which bounds memory.
    Results come in the order of the items; an error comes in place of its result.
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


MB = 1_000_000
# Of an image file; larger ones are refused, wherever they come from.
MAX_FILE_BYTES = ExtractSettings.max_file_mb * MB
# Files that wait to be decoded, at most 128, are no larger: larger ones are read one at a time.
LARGE_BYTES = 16 * MB
_ONE_LARGE = threading.Lock()
REASONS = {
    errno.ELOOP: "a link that leads in a circle",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
}


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """All bytes of a file; `UnusableImageError` if it cannot be read or has more."""
    try:
        with open_regular(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            data = file.read(n_bytes + 1) if n_bytes <= max_bytes else b""
            if len(data) > n_bytes:  # it grows
                data += file.read(max_bytes)
        if max(n_bytes, len(data)) > max_bytes:
            raise TooLargeError(larger_than(max_bytes))
        return data
    except IrregularFileError as error:
        raise UnusableImageError(str(error.strerror)) from error
    except OSError as error:
        raise UnusableImageError(_describe(path, error)) from error


LARGER = "larger than"


def larger_than(max_bytes: int) -> str:
    """The reason why a file with more bytes is refused."""
    return f"{LARGER} {max_bytes / MB:g} MB (limit of feature extraction: --max-file-size)"


def was_too_large(reason: str) -> bool:
    """Whether a file was refused because it had more bytes than were allowed then."""
    return reason.startswith(LARGER)


class ImageFile(NamedTuple):
    """A file to decode.

    Attributes
    ----------
    path : Path or str
        Where it is, for `read` and for messages.
    content_sha256 : bytes or None
        The hash that its bytes must have; None if it is unknown.
    read : callable
        Returns all bytes at a path, or raises `UnusableImageError`; `TooLargeError` if there are
        more than its second argument.
    max_bytes : int
        A larger file is refused.
    """

    path: Path | str
    content_sha256: bytes | None = None
    read: Callable[[Any, int], bytes] = read_file
    max_bytes: int = MAX_FILE_BYTES

    @contextmanager
    def opened(self) -> Iterator[bytes]:
        """All bytes; raises what `read` raises. Only one large file is open at a time."""
        is_large = False
        try:
            data = self.read(self.path, min(self.max_bytes, LARGE_BYTES))
        except TooLargeError:
            is_large = self.max_bytes > LARGE_BYTES
            if not is_large:
                raise
        if not is_large:
            yield data
            return
        with _ONE_LARGE:
            yield self.read(self.path, self.max_bytes)


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

    `rows`, int64 (n,), are the positions of their files.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]


class DecodedImage(NamedTuple):
    """One image, uint8 (size_px, size_px, 3), RGB, 0-255, and the position of its file.

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
    resizing: Resizing | int,
    on_unusable: Callable[[int, UnusableImageError], None],
    stopwatch: Stopwatch,
    known: Container[bytes] = (),
    on_known: Callable[[int, bytes], object] = lambda *_: None,
) -> Iterator[DecodedImage]:
    """Decode files, in order; the stages ``read`` and ``decode`` are timed.

    `on_unusable` is called with the row of each file that cannot be used, and the reason. Contents
    in `known`, which may grow meanwhile, are not decoded again: `on_known` is called with their row
    and content.
    """
    decode_next = partial(_unless_known, resizing=resizing, stopwatch=stopwatch, known=known)
    decoded = map_ahead(decode_next, _read_ahead(files), N_THREADS, N_AHEAD)
    for row, (content, image) in enumerate(decoded):
        if isinstance(image, UnusableImageError):
            on_unusable(row, image)
        elif image is None:
            on_known(row, content)
        else:
            yield DecodedImage(row, image, content)


def in_batches(images: Iterable[DecodedImage], batch_size: int) -> Iterator[Batch]:
    """Group images into batches of `batch_size`; the last batch may be smaller."""
    remaining = iter(images)
    while some := list(islice(remaining, batch_size)):
        yield Batch(np.array([each.row for each in some]), np.stack([each.image for each in some]))


def image_batches(
    files: Iterable[ImageFile],
    resizing: Resizing | int,
    batch_size: int,
    on_unusable: Callable[[int, UnusableImageError], None],
) -> Iterator[Batch]:
    """Decode files into batches, in order; see `decoded_images` and `in_batches`."""
    return in_batches(decoded_images(files, resizing, on_unusable, Stopwatch()), batch_size)


def decode_file(
    file: ImageFile, resizing: Resizing | int, stopwatch: Stopwatch
) -> NDArray[np.uint8] | UnusableImageError:
    """Pixels of one file, uint8 (size_px, size_px, 3), or why it cannot be used."""
    return _unless_known(file, resizing, stopwatch, ())[1]  # type: ignore[return-value]  # not None


def _unless_known(
    file: ImageFile, resizing: Resizing | int, stopwatch: Stopwatch, known: Container[bytes]
) -> tuple[bytes, NDArray[np.uint8] | UnusableImageError | None]:
    """The content of a file and its pixels, why it cannot be used, or None if it is known."""
    content = b""
    try:
        with ExitStack() as until_decoded:
            with stopwatch.measure("read"):
                data = until_decoded.enter_context(file.opened())
                found = hashlib.sha256(data).digest()
            if file.content_sha256 not in (None, found):
                raise UnusableImageError("its content changed after it was listed: run again")
            content = found
            if content in known:
                return content, None
            with stopwatch.measure("decode"):
                return content, decode(data, resizing)
    except UnusableImageError as error:
        return content, UnusableImageError(str(error), content)


def _hash(file: ImageFile) -> bytes | UnusableImageError:
    try:
        with file.opened() as data:
            return hashlib.sha256(data).digest()
    except UnusableImageError as error:
        return error


def _read_ahead(files: Iterable[ImageFile]) -> Iterator[ImageFile]:
    """The same files; those that are not on a disk of this machine are read here, many at a time.

    Large files are not.
    """
    return map_ahead(_fetched, files, N_READERS, 2 * N_READERS)


def _fetched(file: ImageFile) -> ImageFile:
    if file.read is read_file:
        return file
    try:
        data = file.read(file.path, min(file.max_bytes, LARGE_BYTES))
    except UnusableImageError as error:
        if isinstance(error, TooLargeError) and file.max_bytes > LARGE_BYTES:
            return file
        return file._replace(read=partial(_refuse, error))
    return file._replace(read=partial(give, data))


def give(data: bytes, _: object, max_bytes: int) -> bytes:
    """Bytes that are in memory, as an `ImageFile` reads them."""
    if len(data) > max_bytes:
        raise TooLargeError(larger_than(max_bytes))
    return data


def _refuse(error: UnusableImageError, *_: object) -> bytes:
    raise error
