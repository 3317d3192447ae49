"""Contents of shards: each new shard is read once, here or by a worker, and embedded."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from headbench.cache.writer import Location, created_by
from headbench.extract.contents import Embedding, Fates, Held
from headbench.extract.errors import WAY_ON, DataError
from headbench.extract.hashes import TICK_NS
from headbench.extract.images.kinds import may_be_read_now
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import LARGE_BYTES, ImageFile, was_too_large
from headbench.extract.sources.open import list_images, require_classes
from headbench.extract.sources.shards import Shard, ShardIndex, Shards, read_member
from headbench.extract.sources.source import N_STAMPS
from headbench.extract.sources.tar import Entry, Stream, read_samples
from headbench.extract.workers.embed import Job, Noted, OnePass, Recorder, Streamed, Work
from headbench.extract.workers.machines import Machines
from headbench.extract.workers.parallel import (
    MOST_ROWS,
    BlockDone,
    BlockJob,
    block_job,
    blocks_done,
    heard,
    whoami,
    work_at,
)

LOG = logging.getLogger(__name__)

UNKNOWN_STAMP = (-1,) * N_STAMPS


def embed_shards(
    job: Job,
    cached: Mapping[bytes, Location],
    shards: Sequence[Shard],
    machines: Machines,
    recorder: Recorder,
) -> str:
    """Read each shard once, from start to end: embeddings go into parts, then its index is written.

    Parameters and return value are those of `headbench.extract.workers.parallel.embed_files`.
    Raises `ClusterError` if workers are lost; `DataError` if a shard cannot be read to its end.
    Finished shards are kept.
    """
    if machines.are_this_process:
        one_pass, files = _reading(shards, recorder, job.max_file_bytes)
        work = Work(job, cached, one_pass)
        work.do(files)
        return f": {work.stopwatch}"
    common = block_job(job, cached, machines)
    tasks = ((common, shard) for shard in shards)
    with closing(blocks_done(embed_shard, tasks, machines)) as all_done:
        for done in all_done:
            done.tell(recorder)
    return f", on {machines}"


def embed_shard(common: BlockJob, shard: Shard) -> BlockDone:
    """Embed a shard; repeated, it gives the same parts and the same index."""
    with heard() as said:
        outcomes = Noted()
        one_pass, files = _reading([shard], outcomes, common.job.max_file_bytes)
        work_at(common, MOST_ROWS, one_pass).do(files)
    return BlockDone(0, outcomes, said, whoami())


def _reading(
    shards: Sequence[Shard], recorder: Recorder, max_bytes: int
) -> tuple[OnePass, Iterator[ImageFile]]:
    """Shards being read, and their images."""
    stamps: list[tuple[int, ...]] = []

    def write_index(number: int, entries: list[Entry]) -> None:
        ShardIndex(stamps[number], entries).write(shards[number].index_path)

    one_pass = OnePass(recorder, write_index)
    streams = (_samples(shard, stamps, max_bytes) for shard in shards)
    return one_pass, (file._replace(max_bytes=max_bytes) for file in one_pass.files(streams))


def _samples(shard: Shard, stamps: list[tuple[int, ...]], max_bytes: int) -> Iterator[Streamed]:
    """The samples of a shard; its stamp is appended to `stamps`."""
    stamp, now_ns = _stamp(shard), time.time_ns()
    # A shard that changed just now could change once more and keep its times.
    is_settled = max(stamp[1:3]) < now_ns - TICK_NS
    stamps.append(stamp if is_settled else UNKNOWN_STAMP)
    with closing(Stream(shard.place, stamp[0])) as stream:
        for entry, data in read_samples(stream, max_bytes):
            # Large images are read when they are decoded, one at a time.
            later = partial(read_member, shard.place, entry.offset, entry.n_bytes)
            yield entry, later if entry.n_bytes > LARGE_BYTES else data
    if _stamp(shard) != stamp:
        stamps[-1] = UNKNOWN_STAMP  # changed meanwhile: next time it is read again


def _stamp(shard: Shard) -> tuple[int, ...]:
    try:
        return shard.place.stamp()
    except FileNotFoundError as error:
        raise DataError(
            f"{shard.place.url}: {whoami()} cannot find this shard. All machines must reach the "
            f"shards under the same path. {WAY_ON}"
        ) from error


EXPECTED = "images in tar files with their class beside them, KEY.jpg and KEY.cls"


class ShardContents:
    """Images in shards, labelled by what is beside them; `DataError` if shards are missing."""

    def __init__(self, source: Shards) -> None:
        self._source, self.name = source, source.name
        self._stamps = source.shard_stamps()

    def ahead(self, embedding: Embedding) -> str:
        """The number of shards to read."""
        n_shards, n_unread = len(self._stamps), len(self._unread(embedding))
        return f"{self._source.name}: {n_unread} of {n_shards} shards to read" if n_unread else ""

    def read(self, embedding: Embedding) -> None:
        """Read and embed shards that are new, changed, or hold images without an embedding."""
        if shards := self._unread(embedding):
            LOG.info(self.ahead(embedding))
            with Fates(embedding.known, None) as fates:
                fates.how = embed_shards(
                    embedding.job, embedding.known.cached, shards, embedding.machines, fates
                )
            self._source.forget()
        self._clear_up()

    def held(self) -> Held:
        """Everything that the indexes list."""
        dataset = list_images(self._source)
        require_classes(dataset, EXPECTED)
        contents = {
            f"{shard.name}/{entry.path}": entry.content
            for shard in self._source.shards.values()
            for entry in self._source.known(shard).entries
            if entry.class_name  # an unusable entry may have the name of a usable image
        }
        return Held(dataset, [contents[image.path] for image in dataset.images])

    def _unread(self, embedding: Embedding) -> list[Shard]:
        return [
            shard
            for shard in self._source.shards.values()
            if not self._is_done(shard, self._source.index(shard), embedding)
        ]

    def _is_done(self, shard: Shard, index: ShardIndex | None, embedding: Embedding) -> bool:
        """Whether everything in a shard is known; unusable images are recorded on the way."""
        known, max_bytes = embedding.known, embedding.job.max_file_bytes
        resizing = resizing_of(embedding.job.identity)
        if index is None or not index.is_of(self._stamps[shard.name]):
            return False
        if any(was_too_large(each.reason) and each.n_bytes <= max_bytes for each in index.entries):
            return False
        for entry in index.entries if index.created_by == created_by() else ():
            if not (entry.class_name and entry.reason) or may_be_read_now(entry.reason):
                continue
            if resizing.still_refuses(entry.reason):
                known.unusable[entry.content] = entry.reason
        return all(
            entry.content in known.cached or entry.content in known.unusable
            for entry in index.entries
            if entry.class_name
        )

    def _clear_up(self) -> None:
        """Remove the indexes of shards that are no longer wanted."""
        wanted = {shard.index_path for shard in self._source.shards.values()}
        for path in self._source.indexes.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()
