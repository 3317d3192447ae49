"""Arrays on disk, never with a pickle; and how much memory is free for those that are read."""

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from headbench.cache.untrusted import open_archive

GROUPS = Path("/sys/fs/cgroup")
# The groups of this process, a line each: number:controllers:path
MEMBERSHIP = Path("/proc/self/cgroup")
# Limit, usage, and the part of it that is given up where memory is short: files read long ago.
NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as ``.npz``, refusing any that would need a pickle."""
    # Opened here, because NumPy appends .npz to names that end otherwise.
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an ``.npz`` of `save_arrays` whole; a pickle inside is refused.

    Raises `ValueError` if an array claims more bytes than the file holds of it, before it is read.
    """
    with open_archive(path) as archive:
        return {
            member.filename.removesuffix(".npy"): _array(archive, member)
            for member in archive.infolist()
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        n_bytes = member.file_size - file.tell()
    # The length of a pickle is not that of its array; it is refused below.
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"{member.filename}: expected {dtype} {shape}, found {n_bytes} bytes")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def free_memory(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Bytes that may still be used before this process is killed, or memory is swapped.

    Parameters
    ----------
    groups : Path
        Where control groups are mounted; those of version 1 in its folder ``memory``.
    membership : Path
        Which of them this process is in.
    """
    within = [
        free
        for folder in _folders(groups, membership)
        for names in NAMES
        if (free := _free(folder, *names)) is not None
    ]
    return min([int(psutil.virtual_memory().available), *within])


def _folders(groups: Path, membership: Path) -> Iterator[Path]:
    """Those of the groups that this process is in, and of all around them: each may have a limit.

    A container may see its own group alone, as the root of all, and be told its path outside.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        lines = ["0::/", "1:memory:/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        root = groups / "memory" if controllers else groups
        yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _free(folder: Path, limit: str, usage: str, inactive: str) -> int | None:
    """Bytes that a group leaves; None where it has no limit, or its files do not say."""
    try:
        most, used = (int((folder / name).read_text("utf-8")) for name in (limit, usage))
    except (OSError, ValueError):  # no such group, or "max"
        return None
    return max(0, most - used + _given_up(folder / "memory.stat", inactive))


def _given_up(path: Path, inactive: str) -> int:
    try:
        rows = map(str.split, path.read_text("utf-8").splitlines())
        return next((int(value) for name, value in rows if name == inactive), 0)
    except (OSError, ValueError):
        return 0
