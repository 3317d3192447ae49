"""Blocks of files embedded by other processes, and what a process does once for all of them."""

import logging
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headbench.cache import writer
from headbench.extract.errors import ClusterError, DataError, WeightsError
from headbench.extract.images.stream import ImageFile
from headbench.extract.networks.backbone import MeanColor
from headbench.extract.networks.devices import pin_gpu
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.stage import extract_features
from headbench.extract.workers import parallel as workers
from headbench.extract.workers.machines import Machines
from headbench.extract.workers.parallel import (
    BlockDone,
    BlockJob,
    KnownContents,
    OpenOnce,
    block_rows,
    embed_block,
)
from tests.conftest import ROOT, content_of, listen, needs_posix
from tests.extract.workers.test_work import files, job_in

LOG = logging.getLogger("headbench.tests")

__all__ = ["files"]
SETTINGS = ExtractSettings(backbone="mean-color", size_px=16, batch_size=5)
HERE = "headbench 0.1.0"


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker's settings of its own process must not outlive a test."""
    monkeypatch.setattr(workers, "_OPEN", {})
    monkeypatch.setattr(workers, "share_cores", lambda _: None)
    pin_gpu.cache_clear()
    yield
    pin_gpu.cache_clear()


def order(folder: Path, **changes: object) -> BlockJob:
    job, known = job_in(folder), KnownContents.of([])
    return replace(BlockJob(job, known, workers.created_by(), 1), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_files", "rows"), [(1, 512), (100_000, 512), (1_000_000, 976), (10**8, 8192)]
)
def test_blocks_are_small_and_not_too_many(n_files: int, rows: int) -> None:
    assert block_rows(n_files) == rows


def test_a_block_becomes_one_part(tmp_path: Path, files: list[ImageFile]) -> None:
    done = embed_block(order(tmp_path), 40, files)
    assert done.first == 40
    assert [each.location.row for each in sorted(done.outcomes) if each.location] == [*range(10)]
    assert len({each.location.path for each in done.outcomes if each.location}) == 1
    assert f"worker {os.getpid()} on " in done.worker


def test_a_block_done_twice_is_the_same_part(tmp_path: Path, files: list[ImageFile]) -> None:
    once = embed_block(order(tmp_path), 0, files).outcomes
    [part] = tmp_path.glob("features.h5.parts/*/*")
    written = part.stat().st_ino
    assert embed_block(order(tmp_path), 0, files).outcomes == once
    assert [path.stat().st_ino for path in part.parent.iterdir()] == [written]
    # Unless it is damaged.
    part.write_bytes(b"")
    assert embed_block(order(tmp_path), 0, files).outcomes == once
    assert len(job_in(tmp_path).parts.find()) == len(files)


def test_two_workers_at_the_same_part_do_not_disturb_each_other(
    tmp_path: Path, files: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.write_array
    done = []

    def overtaken(*arguments: object) -> None:
        monkeypatch.setattr(writer, "write_array", write)
        done.append(embed_block(order(tmp_path), 0, files))
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "write_array", overtaken)
    done.append(embed_block(order(tmp_path), 0, files))
    assert done[0].outcomes == done[1].outcomes
    assert len(job_in(tmp_path).parts.find()) == len(files)
    assert len(list(tmp_path.glob("features.h5.parts/*/*"))) == 1


def test_no_embeddings_travel(tmp_path: Path, files: list[ImageFile]) -> None:
    sent = pickle.dumps(embed_block(order(tmp_path), 0, files))
    assert b"numpy" not in sent
    assert len(sent) < 200 * len(files)
    # The job and the paths on the way there, too: no images.
    assert len(pickle.dumps((order(tmp_path), 0, files))) < 2000 + 200 * len(files)


def test_another_version_of_headbench_is_named(tmp_path: Path, files: list[ImageFile]) -> None:
    with pytest.raises(ClusterError, match=r"worker \d+ on .*: has headbench .*, expected 9\.9\."):
        embed_block(order(tmp_path, made_by="9.9"), 0, files)


def test_another_network_under_the_same_name_is_refused(
    tmp_path: Path, files: list[ImageFile]
) -> None:
    job = job_in(tmp_path)
    job = replace(job, identity=replace(job.identity, weights_hash="sha256:00"))
    with pytest.raises(WeightsError, match=r"worker \d+ on .* another network \(.*weights_hash"):
        embed_block(order(tmp_path, job=job), 0, files)


def test_a_process_hashes_the_weights_that_it_has_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.h5"
    weights.write_bytes(b"some")
    here = KerasBackbone("resnet50", "w.h5", 32)
    assert here.identity.weights_hash.startswith("sha256:")
    sent = pickle.dumps(here)
    weights.write_bytes(b"others")
    monkeypatch.chdir(ROOT)
    there = pickle.loads(sent)  # noqa: S301, just made
    assert there.weights_source != here.weights_source
    assert there.identity.weights_hash != here.identity.weights_hash
    random = KerasBackbone("resnet50", "random", 32)
    assert pickle.loads(pickle.dumps(random)) == random  # noqa: S301


class Counting(MeanColor):
    """Counts how often it is opened, and speaks of it, then and at each batch."""

    n_opened = 0

    def open(self, runtime, sample, stopwatch):
        type(self).n_opened += 1
        LOG.info("opened")
        embedder = super().open(runtime, sample, stopwatch)

        def embed(batches):
            LOG.info("embeds")
            return embedder(batches)

        embed.batch_size = 2
        return embed


def test_a_network_is_opened_once_and_speaks_to_whom_it_works_for(
    tmp_path: Path, files: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "n_opened", 0)
    common = order(tmp_path, job=job_in(tmp_path, network=Counting(16)))
    assert [embed_block(common, 0, files).said for _ in range(2)] == [
        ["opened", "embeds"],
        ["embeds"],
    ]
    assert Counting.n_opened == 1


def test_new_weights_under_the_same_name_are_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "n_opened", 0)
    for weights_hash in ("a", "a", "b"):
        identity = replace(MeanColor(16).identity, weights_hash=weights_hash)
        monkeypatch.setattr(Counting, "identity", identity)
        OpenOnce(Counting(16), identity).open(Runtime(), None, None)  # type: ignore[arg-type]
    assert Counting.n_opened == 2
    assert len(workers._OPEN) == 1


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that are this process after all."""

    @contextmanager
    def at_work(_: Machines) -> Iterator[Callable[..., Iterator[BlockDone]]]:
        yield lambda function, tasks: (function(*task) for task in tasks)

    monkeypatch.setattr(workers, "at_work", at_work)
    monkeypatch.setattr(workers, "FEWEST_ROWS", 10)


@pytest.mark.usefixtures("in_this_process")
def test_blocks_in_any_order_make_the_same_file(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(photos, tmp_path / "alone.h5", SETTINGS)

    @contextmanager
    def backwards(_: Machines) -> Iterator[Callable[..., Iterator[BlockDone]]]:
        def work(function: Callable[..., BlockDone], tasks: Iterator[tuple[object, ...]]):
            yield from reversed([function(*task) for task in tasks])

        yield work

    monkeypatch.setattr(workers, "at_work", backwards)
    # Machines that read and embed in one pass: there rows are those of all files.
    machines = Machines(backend="dask", scheduler="tcp://127.0.0.1:1")
    extract_features(photos, tmp_path / "many.h5", SETTINGS, machines)
    assert content_of(tmp_path / "many.h5") == content_of(tmp_path / "alone.h5")


@pytest.mark.usefixtures("in_this_process")
def test_a_part_that_only_the_worker_sees_is_refused_at_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*task: object) -> BlockDone:
        done = embed_block(*task)  # type: ignore[arg-type]
        for part in tmp_path.glob("*.parts/*/*"):
            part.unlink()
        return done

    monkeypatch.setattr(workers, "embed_block", elsewhere)
    with pytest.raises(ClusterError, match=r"worker .* wrote this file, .* must share the folder"):
        extract_features(photos, tmp_path / "f.h5", SETTINGS, Machines(3))


@needs_posix
@pytest.mark.usefixtures("in_this_process")
def test_a_file_that_nobody_can_read_is_rejected_as_ever(photos: Path, tmp_path: Path) -> None:
    (photos / "red/gone.png").symlink_to(tmp_path / "nothing")
    machines = Machines(backend="dask", scheduler="tcp://127.0.0.1:1")
    table = extract_features(photos, tmp_path / "f.h5", SETTINGS, machines)
    assert [(each.path, each.reason) for each in table.rejected] == [
        ("red/gone.png", "a link to nothing")
    ]


@pytest.mark.usefixtures("in_this_process")
def test_known_contents_that_collide_are_found_missing_and_embedded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(photos, tmp_path / "alone.h5", SETTINGS)
    wanted = content_of(tmp_path / "alone.h5")
    # All but a class, then all: as long as anything is known, every content is taken for it.
    (photos / "green").rename(tmp_path / "green")
    machines = Machines(backend="dask", scheduler="tcp://127.0.0.1:1")
    extract_features(photos, tmp_path / "f.h5", SETTINGS, machines)
    (tmp_path / "green").rename(photos / "green")
    monkeypatch.setattr(KnownContents, "__contains__", lambda self, _: len(self.prefixes) > 0)
    said = listen()
    extract_features(photos, tmp_path / "f.h5", SETTINGS, machines)
    assert any("30 of 90 files to read" in line for line in said)
    assert content_of(tmp_path / "f.h5") == wanted


def test_several_processes_make_the_very_file_of_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FEWEST_ROWS", 10)
    extract_features(photos, tmp_path / "alone.h5", SETTINGS)
    said = listen()
    extract_features(photos, tmp_path / "two.h5", SETTINGS, Machines(2))
    assert content_of(tmp_path / "two.h5") == content_of(tmp_path / "alone.h5")
    assert any("on 2 processes" in line for line in said)


def embed_or_die(common: BlockJob, first: int, files: list[ImageFile]) -> BlockDone:
    if first == 70:
        os.kill(os.getpid(), signal.SIGKILL)
    return embed_block(common, first, files)


def embed_or_refuse(common: BlockJob, first: int, files: list[ImageFile]) -> BlockDone:
    if first == 70:
        raise DataError("what a worker says")
    return embed_block(common, first, files)


@needs_posix
@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (embed_or_die, ClusterError, "was killed.*run the same command again"),
        (embed_or_refuse, DataError, "^what a worker says$"),
    ],
)
def test_a_lost_process_or_an_error_in_it_ends_the_run_and_the_next_goes_on(
    function: Callable[..., BlockDone],
    error: type[Exception],
    text: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "f.h5"
    extract_features(photos, tmp_path / "alone.h5", SETTINGS)
    monkeypatch.setattr(workers, "FEWEST_ROWS", 10)
    monkeypatch.setattr(workers, "embed_block", function)
    with pytest.raises(error, match=text):
        extract_features(photos, out, SETTINGS, Machines(2))
    n_finished = 10 * len(list(tmp_path.glob("f.h5.parts/*/*.h5")))
    assert n_finished >= 20
    monkeypatch.setattr(workers, "embed_block", embed_block)
    said = listen()
    extract_features(photos, out, SETTINGS, Machines(2))
    assert any(f"({n_finished} more were finished before)" in line for line in said)
    assert content_of(out) == content_of(tmp_path / "alone.h5")


def test_known_contents_are_those_with_the_same_first_eight_bytes() -> None:
    contents = [bytes([number]) * 32 for number in (7, 255, 0, 128)]
    known = KnownContents.of(contents)
    assert all(content in known for content in contents)
    assert bytes([7]) * 8 + bytes(24) in known
    assert bytes([7]) * 7 + bytes(25) not in known
    assert bytes([255]) * 7 + bytes(25) not in known
    assert bytes(32) not in KnownContents.of([])
    assert known.prefixes.nbytes == 8 * len(contents)
