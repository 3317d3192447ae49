"""Blocks of files embedded by other processes, on this machine or on a Dask cluster."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.cache.writer import Location, created_by
from headbench.extract.errors import WAY_ON, ClusterError, WeightsError
from headbench.extract.images.stream import ImageFile, hash_files
from headbench.extract.networks.backbone import Openable
from headbench.extract.networks.devices import pin_gpu, share_cores
from headbench.extract.networks.engines import Embedder
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from headbench.extract.workers.embed import Job, Noted, Outcome, Recorder, Work
from headbench.extract.workers.machines import Machines, at_work

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownContents:
    """Contents that have embeddings, in 8 bytes each, for other processes.

    With a million of them, a new content is taken for a known one with a probability of 1 in 10^13;
    even then it is found missing at the end, and embedded. `prefixes` are the first 8 bytes of
    each, uint64 (n_known,), ascending.
    """

    prefixes: NDArray[np.uint64]

    @classmethod
    def of(cls, contents: Iterable[bytes]) -> "KnownContents":
        """The `KnownContents` of some SHA-256 digests."""
        whole = b"".join(content[:8] for content in contents)
        return cls(np.sort(np.frombuffer(whole, dtype=">u8").astype(np.uint64)))

    def __contains__(self, content: object) -> bool:
        wanted = np.uint64(int.from_bytes(bytes(content)[:8]))  # type: ignore[call-overload]
        position = np.searchsorted(self.prefixes, wanted)
        return bool(position < len(self.prefixes) and self.prefixes[position] == wanted)


# A task for a worker: 512 files, and more where there would be more than so many tasks.
FEWEST_ROWS, MOST_ROWS, MOST_BLOCKS = 512, 8192, 1024
# The network that this process has open.
_OPEN: dict[Any, Embedder] = {}
# A Dask worker may do several blocks at a time, in threads.
_OPENING = threading.Lock()


class BlockDone(NamedTuple):
    """The outcomes of a block of files, or of a shard.

    Their rows count from `first`, the row of the first file. `said` are the lines logged meanwhile.
    """

    first: int
    outcomes: list[Outcome]
    said: list[str]
    worker: str

    @property
    def n_embedded(self) -> int:
        """Number of its files that passed through the network."""
        return sum(each.location is not None for each in self.outcomes)

    def tell(self, recorder: Recorder) -> None:
        """Tell a recorder the outcome of each image, by its row among all files."""
        for outcome in self.outcomes:
            recorder.note(outcome._replace(row=self.first + outcome.row))
        recorder.advance(self.n_embedded)


@dataclass(frozen=True)
class BlockJob:
    """What all blocks have in common.

    `made_by` is the version of headbench that must do them. `n_processes` share the cores of this
    machine.
    """

    job: Job
    known: KnownContents
    made_by: str
    n_processes: int


@dataclass(frozen=True)
class OpenOnce:
    """A network that a process loads once, for any number of blocks.

    Networks with the same identity are the same network.
    """

    network: Openable
    identity: Identity

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        """Load the network, or take the loaded one; `WeightsError` if this process has another."""
        # Weights may have changed under the same name since a worker was started.
        key = (self.network, self.identity.fingerprint, runtime)
        with _OPENING:
            if key not in _OPEN:
                self._refuse_other()
                _OPEN.clear()
                _OPEN[key] = self.network.open(runtime, sample, stopwatch)
            return _OPEN[key]

    def _refuse_other(self) -> None:
        found = getattr(self.network, "identity", self.identity)
        if differences := self.identity.differences(found):
            raise WeightsError(
                f"{whoami()}: has another network ({'; '.join(differences)}). Every machine needs "
                "the same weights, Keras and TensorFlow."
            )


def embed_files(
    job: Job,
    cached: Mapping[bytes, Location],
    files: Sequence[ImageFile],
    machines: Machines,
    recorder: Recorder,
) -> str:
    """Embed files into parts, on the given machines; returns how the time was spent.

    `recorder` may add new embeddings to `cached`. Raises `ClusterError` if workers are lost.
    Finished blocks are kept.
    """
    if machines.are_this_process:
        work = Work(job, cached, recorder)
        work.do(files)
        return f": {work.stopwatch}"
    # Files whose content is given have no embedding, whatever their prefixes say.
    is_unread = any(file.content_sha256 is None for file in files)
    common = block_job(job, cached if is_unread else (), machines)
    n_rows = block_rows(len(files))
    blocks = (
        (common, first, [_from_anywhere(file) for file in files[first : first + n_rows]])
        for first in range(0, len(files), n_rows)
    )
    with closing(blocks_done(embed_block, blocks, machines)) as all_done:
        for done in all_done:
            for outcome in done.outcomes:
                _require_unreadable(files[done.first + outcome.row], outcome, done.worker)
            done.tell(recorder)
    return f", on {machines}"


def block_job(job: Job, known: Iterable[bytes], machines: Machines) -> BlockJob:
    """What all blocks of a job have in common."""
    return BlockJob(job, KnownContents.of(known), created_by(), machines.n_jobs)


def blocks_done(
    function: Callable[..., BlockDone], tasks: Iterable[tuple[Any, ...]], machines: Machines
) -> Generator[BlockDone, None, None]:
    """Results of the workers as they come; each of their messages is logged once.

    Raises `ClusterError` if workers are lost, or write where this process cannot read.
    """
    said: set[str] = set()
    with at_work(machines) as workers, closing(workers(function, tasks)) as all_done:
        for done in all_done:
            _require_parts(done)
            for line in dict.fromkeys(done.said):
                if line not in said:
                    LOG.info(line)
            said.update(done.said)
            yield done


def _from_anywhere(file: ImageFile) -> ImageFile:
    """The same file for a process that works in another folder."""
    return file._replace(path=file.path.absolute()) if isinstance(file.path, Path) else file


def _require_parts(done: BlockDone) -> None:
    """Refuse parts that only the worker can see, before hours of work."""
    for path in dict.fromkeys(each.location.path for each in done.outcomes if each.location):
        if not path.exists():
            raise ClusterError(
                f"{path}: {done.worker} wrote this file, but it does not exist here. All machines "
                "must share the folder of the run, under the same path."
            )


def _require_unreadable(file: ImageFile, outcome: Outcome, worker: str) -> None:
    """Refuse to leave out a file that only the worker cannot read."""
    if outcome.content or not outcome.reason:
        return
    [found] = hash_files([file])
    if isinstance(found, bytes) and file.content_sha256 in (None, found):
        raise ClusterError(
            f"{file.path}: {worker} cannot read it ({outcome.reason}), but this machine can. All "
            f"machines must reach the images under the same path. {WAY_ON}"
        )


def block_rows(n_files: int) -> int:
    """Number of files in a block; a lost worker costs one block, and each becomes a part."""
    return int(np.clip(n_files // MOST_BLOCKS, FEWEST_ROWS, MOST_ROWS))


def embed_block(common: BlockJob, first: int, files: Sequence[ImageFile]) -> BlockDone:
    """Embed a block of files into one part; repeated, it gives the same part.

    Raises `ClusterError` if this process has another version of headbench; and `WeightsError`,
    `DeviceError`, `DataError`, `StorageError`.
    """
    with heard() as said:
        outcomes = Noted()
        work_at(common, len(files), outcomes).do(files)
    return BlockDone(first, outcomes, said, whoami())


@contextmanager
def heard() -> Iterator[list[str]]:
    """The lines that this thread logs inside: a worker returns them with its result."""
    hearing = _Hearing()
    logger = logging.getLogger("headbench")
    logger.setLevel(logging.INFO)
    logger.addHandler(hearing)
    try:
        yield hearing.lines
    finally:
        logger.removeHandler(hearing)


class _Hearing(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.lines.append(record.getMessage())


def work_at(common: BlockJob, part_images: int, recorder: Recorder) -> Work:
    """The work of a worker; only the number of images ends a part, so that parts are always alike.

    Raises `ClusterError` if this process has another version of headbench.
    """
    if common.made_by != created_by():
        raise ClusterError(
            f"{whoami()}: has {created_by()}, expected {common.made_by}. Every machine needs the "
            "same version."
        )
    pin_gpu()
    share_cores(common.n_processes)
    network = OpenOnce(common.job.network, common.job.identity)
    job = replace(common.job, network=network, part_images=part_images, part_seconds=np.inf)
    return Work(job, common.known, recorder)


def whoami() -> str:
    """The name of this process in messages."""
    return f"worker {os.getpid()} on {socket.gethostname()}"
