"""Files that are there whole or not at all, and room for them on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.errors import StorageError


def temporary_path(target: Path, writer: str = "") -> Path:
    """Where `replacing` writes: always the same name, so the next run clears up."""
    return target.with_name(f".{target.name}{writer}.tmp")


@contextmanager
def replacing(target: Path, writer: str = "") -> Iterator[Path]:
    """Give a temporary name beside `target`; on success flush it to disk and rename it.

    Only one writer at a time may replace a target, see :mod:`cache.lock`, unless each has a name.

    Raises
    ------
    StorageError
        If the disk is full, the folder cannot be written to, or the device fails.
    """
    temporary = temporary_path(target, writer)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise StorageError(
            f"{target}: cannot be written: {error.strerror or error}. What was there before and "
            "all finished parts are whole; mend that and run the same command again."
        ) from error
    finally:
        # If even that fails, the error that led here is the one to tell, and the next writer starts
        # over on the same name.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a new, empty folder beside `target`; on success it takes the place of that."""
    temporary = target.with_name(f".{target.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(folder: Path, n_bytes: int, what: str = "the new embeddings") -> None:
    """Refuse to start what the disk has no room for.

    Parameters
    ----------
    folder : Path
        Where to write; it need not be there yet.
    n_bytes : int
        How much, at most, will be written.
    what : str
        That.

    Raises
    ------
    StorageError
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    n_free = shutil.disk_usage(there).free
    if n_bytes > n_free:
        raise StorageError(
            f"{folder}: expected {n_bytes:,} bytes of free space for {what}, found "
            f"{n_free:,}. Free some, or write elsewhere."
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
