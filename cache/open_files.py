"""Some of many files held open: what a process may open is not for one reader alone."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import h5py

# Held open at a time, by each reader. Opening one again takes less than a millisecond.
OPEN_PARTS = 16

Content = TypeVar("Content")


class OpenFiles(Generic[Content]):
    """What is read of each file; the file that was asked for longest ago is closed first.

    Not safe in several threads: whoever reads has to hold a lock.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, tuple[h5py.File, Content]] = OrderedDict()

    def get(self, path: Path, open_file: Callable[[Path], tuple[h5py.File, Content]]) -> Content:
        """What is read of a file, which `open_file` opens, and gives with that, if it is not."""
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = open_file(path)
            if len(self._open) > OPEN_PARTS:
                self._open.popitem(last=False)[1][0].close()
        return self._open[path][1]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][0].close()
