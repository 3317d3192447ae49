"""One writer at a time; readers need no lock, because a file is only ever replaced whole."""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.errors import FeatureFileError, StorageError


@contextmanager
def one_writer(target: Path) -> Iterator[None]:
    """Hold the right to write `target`; it goes with the process, however that ends.

    The lock is the operating system's (flock), on a file beside the target that says who holds it.

    Raises
    ------
    FeatureFileError
        If another process, or another thread of this one, is writing.
    StorageError
        If the folder cannot be written to.
    """
    path = target.with_name(f"{target.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, target)
    except OSError as error:
        raise StorageError(
            f"{path.parent}: cannot be written to ({error.strerror}). Mend that, or write another "
            "file (--out PATH; make: NAME=...)."
        ) from error
    try:
        yield
    finally:
        # Deleted before it is let go: who opened it meanwhile finds out in _acquire.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, target: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Deleted by its holder between our opening and locking it, it guards nothing any more.
            if _is_same_file(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _whoami().encode(), 0)
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 1000, 0).decode("utf-8", "replace")
            os.close(descriptor)
            raise FeatureFileError(
                f"{target}: is being written by {holder or 'another process'}. Wait until it is "
                "done, or write another file (--out PATH; make: NAME=...)."
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _whoami() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}: {' '.join(sys.argv)}"
