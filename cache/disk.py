"""Atomic replacement of files and folders, one writer at a time, free space, few open files."""

import errno
import os
import shutil
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout

from headbench.cache.errors import FeatureFileError, StorageError

try:
    import resource
except ImportError:  # of Unix alone
    resource = None  # type: ignore[assignment]

# Errors of the disk; any other error while a folder is filled has another cause.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
# Windows has no call for folders, and for files only one that needs them open for writing.
FLUSHES_FOLDERS = os.name == "posix"
# Ending of a folder's name while another one takes its place.
ASIDE = ".old"
# A writer that finds the lock file while its last holder deletes it tries again for so long.
LOCK_SECONDS = 0.1


def temporary_path(target: Path, writer: str = "") -> Path:
    """Where `replacing` writes; always the same name, so that the next run cleans up."""
    return target.with_name(f".{target.name}{writer}.tmp")


@contextmanager
def replacing(target: Path, writer: str = "") -> Iterator[Path]:
    """Give a temporary path beside `target`; on success flush that file to disk and rename it.

    Only one writer at a time may replace a target (`one_writer`), unless each has its own `writer`
    name. Raises `StorageError` if the disk is full, the folder cannot be written to, or the device
    fails.
    """
    temporary = temporary_path(target, writer)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise _unwritten(target, error) from error
    finally:
        # If even that fails, the first error is the one to report, and the next writer overwrites
        # the file.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Replace text files of a folder, given by name; all are written before the first is renamed.

    Raises `StorageError` as `replacing` does; each file is then either the old or the new one.
    """
    with ExitStack() as stack:
        for name, text in texts.items():
            path = stack.enter_context(replacing(folder / name))
            path.write_text(text, "utf-8", newline="\n")


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a new, empty folder beside `target`; on success flush it to disk and rename it.

    At every moment `whole_folder` finds the complete old or new content. Raises `StorageError` if
    the disk is full or fails.
    """
    temporary, aside = target.with_name(f".{target.name}.new"), _aside(target)
    try:
        if whole_folder(target) == aside:
            aside.rename(target)
        _delete(temporary, aside)
        temporary.mkdir(parents=True)
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            _flush(path)
        _swap(temporary, target)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise _unwritten(target, error) from error
    finally:
        _delete(temporary)


def whole_folder(target: Path) -> Path:
    """The folder that has the content which `replacing_folder` wrote for `target`.

    It is another one than `target` only if a process was killed between the two renames of a
    replacement.
    """
    aside = _aside(target)
    return aside if aside.exists() and not target.exists() else target


def replaced_name(folder: Path) -> str:
    """The name of the `target` for which `whole_folder` gives this folder."""
    return folder.name.removeprefix(".").removesuffix(ASIDE) if _is_aside(folder) else folder.name


def _is_aside(folder: Path) -> bool:
    return folder.name.startswith(".") and folder.name.endswith(ASIDE)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{ASIDE}")


def _swap(new: Path, target: Path) -> None:
    """Put a complete folder in place of another: no system call does that everywhere."""
    aside = _aside(target)
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    _flush(target.parent)
    _delete(new, aside)


def _delete(temporary: Path, aside: Path | None = None) -> None:
    """Delete both. The folder put aside is renamed first, so that no half of it is ever found."""
    shutil.rmtree(temporary, ignore_errors=True)
    if aside is not None and aside.exists():
        aside.rename(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def _unwritten(target: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{target}: cannot be written: {error.strerror or error}. The previous content and all "
        "finished parts are undamaged. Fix that and run the same command again."
    )


@contextmanager
def one_writer(target: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the right to write `target`; it ends with the process, however that ends.

    The lock is the operating system's, on a file beside the target. Another file names the holder:
    Windows lets nobody else read a locked file. Readers need no lock, because a file is only ever
    replaced whole. Raises `FeatureFileError` if another process, or another thread of this one, is
    writing for so many seconds; `StorageError` if the folder cannot be written to.
    """
    path, holder = (target.with_name(f"{target.name}.{end}") for end in ("lock", "writer"))
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds, poll_interval=LOCK_SECONDS / 10)
    except Timeout as error:
        raise _is_held(target, holder) from error
    except OSError as error:
        raise StorageError(
            f"{path.parent}: cannot be written to ({error.strerror}). Fix that, or choose another "
            "run (--name NAME)."
        ) from error
    try:
        with suppress(OSError):  # on a full disk the holder has no name
            holder.write_text(_whoami(), "utf-8", newline="\n")
        yield
    finally:
        for each in (holder, path):  # deleted first: the lock of a deleted file is never taken
            with suppress(OSError):  # Windows deletes no open file
                each.unlink()
        lock.release()


def _is_held(target: Path, holder: Path) -> FeatureFileError:
    try:
        who = holder.read_text("utf-8", "replace")
    except OSError:  # not written yet
        who = ""
    return FeatureFileError(
        f"{target}: is being written by {who or 'another process'}. Wait until it is done, or "
        "choose another run (--name NAME)."
    )


def _whoami() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}: {' '.join(sys.argv)}"


def require_free(folder: Path, n_bytes: int, what: str = "the new embeddings") -> None:
    """Raise `StorageError` if a folder, existing or not, has no room for `n_bytes` of `what`."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    n_free = shutil.disk_usage(there).free
    if n_bytes > n_free:
        raise StorageError(
            f"{folder}: expected {n_bytes:,} bytes of free space for {what}, found "
            f"{n_free:,}. Free some, or write elsewhere."
        )


def _flush(path: Path) -> None:
    """Write a file, or the names in a folder, through to the disk."""
    if path.is_dir() and not FLUSHES_FOLDERS:
        return
    descriptor = os.open(path, os.O_RDONLY if FLUSHES_FOLDERS else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Files that each reader holds open: this share of what the process may open, within limits.
# Opening one again takes a millisecond, for which a GPU waits where rows come in random order; each
# open file takes a megabyte.
OPEN_SHARE, FEWEST, MOST = 1 / 8, 16, 128

Content = TypeVar("Content")


class OpenFiles(Generic[Content]):
    """Open files, and what was read from each; the least recently used file is closed first.

    Not thread-safe: a reader has to hold a lock.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, tuple[Any, Content]] = OrderedDict()

    def get(self, path: Path, open_file: Callable[[Path], tuple[Any, Content]]) -> Content:
        """What is read from a file; if it is not open, `open_file` opens it and returns both."""
        if path in self._open:
            self._open.move_to_end(path)
        else:
            while len(self._open) >= most_open():
                self._open.popitem(last=False)[1][0].close()
            self._open[path] = open_file(path)
        return self._open[path][1]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][0].close()


def most_open() -> int:
    """Number of files that one reader may hold open."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else 0
    return min(max(FEWEST, int(OPEN_SHARE * allowed)), MOST)
