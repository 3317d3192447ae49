"""Files embedded here, or in blocks by other processes, each of which loads the network once."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.parts import Location
from extract.backbones import Openable
from extract.devices import NVIDIA_GPUS
from extract.embedder import Embedder
from extract.machines import Machines, at_work
from extract.read import ImageFile
from extract.settings import Runtime
from extract.stopwatch import Stopwatch
from extract.work import Job, Outcome, Work

# A task for a worker: 512 files, and more where there would be more than so many tasks.
FEWEST_ROWS, MOST_ROWS, MOST_BLOCKS = 512, 8192, 1024
# Networks that this process has open.
_OPEN: dict[Any, Embedder] = {}


class BlockDone(NamedTuple):
    """What became of a block of files, or of a shard.

    Attributes
    ----------
    first : int
        Row of its first file.
    outcomes : list of Outcome
        Rows count from `first`.
    said : list of str
        What there was to say of the device.
    """

    first: int
    outcomes: list[Outcome]
    said: list[str]

    @property
    def n_embedded(self) -> int:
        """How many of its files went through the network."""
        return sum(each.location is not None for each in self.outcomes)


@dataclass(frozen=True)
class KnownContents:
    """Contents whose embeddings are there, in 8 bytes each: for other processes.

    The odds that a new content is taken for one of a million are 1 in 10^13; even then it is found
    missing at the end, and embedded.

    Attributes
    ----------
    prefixes : uint64 (n_known,)
        The first 8 bytes of each, ascending.
    """

    prefixes: NDArray[np.uint64]

    @classmethod
    def of(cls, contents: Iterable[bytes]) -> "KnownContents":
        """Those of some SHA-256 digests."""
        whole = b"".join(content[:8] for content in contents)
        return cls(np.sort(np.frombuffer(whole, dtype=">u8").astype(np.uint64)))

    def __contains__(self, content: object) -> bool:
        wanted = np.uint64(int.from_bytes(bytes(content)[:8]))  # type: ignore[call-overload]
        position = np.searchsorted(self.prefixes, wanted)
        return bool(position < len(self.prefixes) and self.prefixes[position] == wanted)


@dataclass(frozen=True)
class OpenOnce:
    """A network that a process loads once, whatever number of blocks come.

    Attributes
    ----------
    network : Openable
        Equal ones are one and the same.
    """

    network: Openable

    def open(
        self,
        runtime: Runtime,
        sample: NDArray[np.uint8],
        stopwatch: Stopwatch,
        say: Callable[[str], None],
    ) -> Embedder:
        """Load the network, or take the one that is there."""
        key = (self.network, runtime)
        if key not in _OPEN:
            _OPEN[key] = self.network.open(runtime, sample, stopwatch, say)
        return _OPEN[key]


def embed_files(
    job: Job,
    cached: Mapping[bytes, Location],
    files: Sequence[ImageFile],
    machines: Machines,
    tell: Callable[[Outcome], object],
    on_embedded: Callable[[int], object],
    say: Callable[[str], None],
) -> str:
    """Embed files into parts, wherever machines are.

    Parameters
    ----------
    job : Job
    cached : mapping of bytes to Location
        Embeddings that are there; `tell` may add to it.
    files : sequence of ImageFile
    machines : Machines
    tell, on_embedded, say : callable
        See `extract.work.Work`.

    Returns
    -------
    str
        How the time was spent, for the end of a line.

    Raises
    ------
    ClusterError
        If workers are lost. Blocks that were finished are kept.
    """
    if machines.are_this_process:
        work = Work(job, cached, tell, say, on_embedded)
        work.do(files)
        return f": {work.stopwatch}"
    known, n_rows = KnownContents.of(cached), block_rows(len(files))
    blocks = (
        (job, known, first, files[first : first + n_rows]) for first in range(0, len(files), n_rows)
    )
    for done in blocks_done(embed_block, blocks, machines, say):
        for outcome in done.outcomes:
            tell(outcome._replace(row=done.first + outcome.row))
        on_embedded(done.n_embedded)
    return f", on {machines}"


def blocks_done(
    function: Callable[..., BlockDone],
    tasks: Iterable[tuple[Any, ...]],
    machines: Machines,
    say: Callable[[str], None],
) -> Iterator[BlockDone]:
    """What workers make of tasks, as they are done; what they say is said once."""
    said: set[str] = set()
    with at_work(machines) as workers:
        for done in workers(function, tasks):
            for line in dict.fromkeys(done.said):
                if line not in said:
                    say(line)
            said.update(done.said)
            yield done


def block_rows(n_files: int) -> int:
    """Files in a block: a lost worker costs one, and each becomes a part."""
    return int(np.clip(n_files // MOST_BLOCKS, FEWEST_ROWS, MOST_ROWS))


def embed_block(
    job: Job, known: KnownContents, first: int, files: Sequence[ImageFile]
) -> BlockDone:
    """Embed a block of files into one part; done twice, it gives the same part."""
    done = BlockDone(first, [], [])
    work_at(job, known, len(files), done, done.outcomes.append).do(files)
    return done


def work_at(
    job: Job,
    known: KnownContents,
    part_images: int,
    done: BlockDone,
    tell: Callable[[Outcome], object],
) -> Work:
    """The work of a worker; parts are cut by the number of images alone, so always alike."""
    pin_gpu()
    once = replace(job, network=OpenOnce(job.network), part_images=part_images, part_seconds=np.inf)
    return Work(once, known, tell, done.said.append)


@cache
def pin_gpu() -> int | None:
    """Take a GPU of this machine for this process, before TensorFlow is imported.

    Returns
    -------
    int or None
        Which; None where there are none, or somebody has chosen already (CUDA_VISIBLE_DEVICES).
    """
    n_gpus = len(list(NVIDIA_GPUS.glob("*")))
    if "CUDA_VISIBLE_DEVICES" in os.environ or not n_gpus:
        return None
    # More processes than GPUs: they share.
    taken = next(filter(_take, range(n_gpus)), os.getpid() % n_gpus)
    os.environ["CUDA_VISIBLE_DEVICES"] = str(taken)
    return taken


def _take(number: int) -> bool:
    """Hold a lock for as long as this process lives; whoever has it has the GPU."""
    path = Path(tempfile.gettempdir()) / f"headbench-gpu-{os.getuid()}-{number}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
