"""Shards through the network, one after the other here, or each by a worker elsewhere."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from cache.writer import Location, created_by
from extract.errors import WAY_ON, DataError
from extract.hashes import TICK_NS
from extract.known_contents import KnownContents
from extract.machines import Machines
from extract.one_pass import OnePass, Streamed
from extract.read import ImageFile
from extract.sources.shards import Shard, ShardIndex
from extract.sources.source import N_STAMPS
from extract.sources.tar import Entry, Stream, read_samples
from extract.work import Job, Listeners, Work
from extract.workers import (
    MOST_ROWS,
    BlockDone,
    BlockJob,
    blocks_done,
    whoami,
    work_at,
)

UNKNOWN_STAMP = (-1,) * N_STAMPS


def embed_shards(
    job: Job,
    cached: Mapping[bytes, Location],
    shards: Sequence[Shard],
    machines: Machines,
    listeners: Listeners,
) -> str:
    """Read shards once, each from its beginning to its end: embeddings into parts, then its index.

    Parameters
    ----------
    shards : sequence of Shard
    job, cached, machines, listeners
        See `extract.workers.embed_files`.

    Returns
    -------
    str
        How the time was spent, for the end of a line.

    Raises
    ------
    ClusterError
        If workers are lost. Shards that were finished are kept.
    DataError
        If a shard cannot be read to its end.
    """
    if machines.are_this_process:
        one_pass, files = _reading(shards)
        work = Work(job, cached, one_pass.told(listeners))
        work.do(files)
        return f": {work.stopwatch}"
    common = BlockJob(job, KnownContents.of(cached), created_by(), machines.n_jobs)
    tasks = ((common, shard) for shard in shards)
    with closing(blocks_done(embed_shard, tasks, machines, listeners.say)) as all_done:
        for done in all_done:
            for outcome in done.outcomes:
                listeners.tell(outcome)
            listeners.on_embedded(done.n_embedded)
    return f", on {machines}"


def embed_shard(common: BlockJob, shard: Shard) -> BlockDone:
    """Embed a shard; done twice, it gives the same parts and the same index."""
    done = BlockDone(0, [], [], whoami())
    one_pass, files = _reading([shard])
    listeners = one_pass.told(Listeners(done.outcomes.append, done.said.append))
    work_at(common, MOST_ROWS, listeners).do(files)
    return done


def _reading(shards: Sequence[Shard]) -> tuple[OnePass, Iterator[ImageFile]]:
    """Shards on their way, and their images."""
    stamps: list[tuple[int, ...]] = []

    def write_index(number: int, entries: list[Entry]) -> None:
        ShardIndex(stamps[number], entries).write(shards[number].index_path)

    one_pass = OnePass(write_index)
    return one_pass, one_pass.files(_samples(shard, stamps) for shard in shards)


def _samples(shard: Shard, stamps: list[tuple[int, ...]]) -> Iterator[Streamed]:
    """The samples of a shard; its stamp is added to those of the shards before it."""
    stamp, now_ns = _stamp(shard), time.time_ns()
    # Changed so shortly before, it could change once more and keep its times.
    is_settled = max(stamp[1:3]) < now_ns - TICK_NS
    stamps.append(stamp if is_settled else UNKNOWN_STAMP)
    with closing(Stream(shard.place, stamp[0])) as stream:
        yield from read_samples(stream)
    if _stamp(shard) != stamp:
        stamps[-1] = UNKNOWN_STAMP  # changed meanwhile: next time it is read again


def _stamp(shard: Shard) -> tuple[int, ...]:
    try:
        return shard.place.stamp()
    except FileNotFoundError as error:
        raise DataError(
            f"{shard.place.url}: {whoami()} does not find it. Shards have to lie where all "
            f"machines find them, under the same path. {WAY_ON}"
        ) from error
