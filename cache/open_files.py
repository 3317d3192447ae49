"""Some of many files held open: what a process may open is not for one reader alone."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import h5py

try:
    import resource
except ImportError:  # of Unix alone
    resource = None  # type: ignore[assignment]

# Held open at a time, by each reader: this share of what the process may open, within limits.
# Opening one again takes a millisecond, which a GPU would wait for where rows come in random order;
# each that is open takes a megabyte.
OPEN_SHARE, FEWEST, MOST = 1 / 8, 16, 128

Content = TypeVar("Content")


class OpenFiles(Generic[Content]):
    """What is read of each file; the file that was asked for longest ago is closed first.

    Not safe in several threads: a reader has to hold a lock.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, tuple[h5py.File, Content]] = OrderedDict()

    def get(self, path: Path, open_file: Callable[[Path], tuple[h5py.File, Content]]) -> Content:
        """What is read of a file, which `open_file` opens, and gives with that, if it is not."""
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
    """Files that one reader holds open."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else 0
    return min(max(FEWEST, int(OPEN_SHARE * allowed)), MOST)
