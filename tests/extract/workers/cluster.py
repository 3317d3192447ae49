"""A Dask scheduler and workers as processes of their own on loopback, and files that are held back.

``python -m tests.extract.workers.cluster features PHOTOS OPTIONS`` is ``headbench features`` over
`HeldFolder`.
"""

import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from headbench.extract import stage
from headbench.extract.images.stream import ImageFile, read_file
from headbench.extract.sources.folder import Folder, image_path
from headbench.extract.sources.source import Source
from headbench.extract.workers import parallel as workers
from tests.conftest import ROOT

PATIENCE_SECONDS = 120
BLOCK_ROWS = 10


class HeldFolder(Folder):
    """A folder whose files are read once nobody holds them back; it notes who reads what.

    Beside it lie ``reads``, a line "PID PATH" for each, and ``held``: files whose path has the text
    in it have to wait.
    """

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        read = partial(_read_in_time, self.root.absolute().parent)
        return ImageFile(image_path(self.root, path), content, read)


def _read_in_time(notes: Path, path: Path, max_bytes: int) -> bytes:
    with (notes / "reads").open("a") as reads:
        reads.write(f"{os.getpid()} {path}\n")
    while (notes / "held").exists() and (notes / "held").read_text() in str(path):
        time.sleep(0.05)
    return read_file(path, max_bytes)


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s until {what}"
        time.sleep(0.05)


class Cluster:
    """Processes, each with a log in the folder; all are ended with it.

    Parameters
    ----------
    folder : Path
    config : str
        Of Dask, such as ``DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=10s``.
    """

    scheduler: subprocess.Popen[bytes]
    address: str

    def __init__(self, folder: Path, **config: str) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        own = dict.fromkeys(("HOME", "TMPDIR", "DASK_TEMPORARY_DIRECTORY"), str(folder))
        self._environment = {**os.environ, **own, "PYTHONPATH": str(ROOT), **config}

    def start_scheduler(self) -> None:
        self.scheduler = self._start("scheduler", "--port", 0)
        self._wait_for_log(self.scheduler, "Scheduler at:")
        found = re.search(r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)", self._log(self.scheduler))
        assert found
        self.address = found[1]

    def start_workers(self, n_workers: int) -> None:
        # Without a nanny, which would start a new one where we kill one. Imports come before a
        # worker is asked for signs of life: they take seconds on a busy machine.
        options = ("--nthreads", 1, "--no-nanny", "--preload", __name__)
        started = [self._start("worker", self.address, *options) for _ in range(n_workers)]
        for worker in started:
            self._wait_for_log(worker, "Registered to:")

    def worker(self, pid: int) -> subprocess.Popen[bytes]:
        [found] = [each for each in self._processes if each.pid == pid]
        return found

    def mend(self, n_workers: int) -> None:
        """A scheduler, and so many workers, whatever has become of those that were there."""
        if self.scheduler.poll() is not None:
            self.end()
            self.start_scheduler()
        is_alive = [each.poll() is None for each in self._processes if each is not self.scheduler]
        self.start_workers(n_workers - sum(is_alive))

    def end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _log(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"{self._processes.index(process)}.log").read_text()

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        options = ("--host", "127.0.0.1", "--no-dashboard")
        call = [sys.executable, "-m", "dask", *map(str, arguments), *options]
        with (self.folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                call, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def _wait_for_log(self, process: subprocess.Popen[bytes], text: str) -> None:
        def is_there() -> bool:
            assert process.poll() is None, self._log(process)
            return text in self._log(process)

        wait_until(is_there, f"a log has {text!r}")


@contextmanager
def cluster_of(n_workers: int, folder: Path, **config: str) -> Iterator[Cluster]:
    cluster = Cluster(folder, **config)
    try:
        cluster.start_scheduler()
        cluster.start_workers(n_workers)
        yield cluster
    finally:
        cluster.end()


def main() -> None:
    workers.FEWEST_ROWS = BLOCK_ROWS
    find_images = stage.find_images

    def find_held(source: Source):
        return find_images(HeldFolder(Path(source.name)))

    stage.find_images = find_held
    runpy.run_module("headbench", run_name="__main__")


if __name__ == "__main__":
    # Under its own name, so that workers find the folder's class by it.
    from tests.extract.workers import cluster

    cluster.main()
