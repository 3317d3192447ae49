"""Extraction on a real Dask cluster on loopback whose processes are killed and paused."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract.errors import ClusterError
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from headbench.extract.workers import dask_cluster
from headbench.extract.workers import parallel as workers
from headbench.extract.workers.machines import Machines, at_work
from tests.conftest import ROOT, content_of, listen, needs_posix, write_class_folders
from tests.extract.workers.cluster import BLOCK_ROWS, Cluster, HeldFolder, cluster_of, wait_until
from tests.small_network import SIZE_PX, SMALL

N_WORKERS, N_PER_CLASS = 3, 40
OPTIONS = ("--backbone", "mean-color", "--size", "16", "--batch-size", "5")
# In half the time of a test's patience a worker that is silent is given up.
CONFIG = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"}
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, read in this order: blue, green, red."""
    return write_class_folders(tmp_path_factory.mktemp("held") / "photos", N_PER_CLASS)


@pytest.fixture(scope="module")
def wanted(photos: Path) -> tuple[object, ...]:
    """What one process makes of them."""
    out = photos.parent / "alone.h5"
    settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=5)
    extract_features(photos, out, settings)
    return content_of(out)


@pytest.fixture(scope="module")
def processes(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:  # noqa: ARG001, they have to be older
    with cluster_of(N_WORKERS, tmp_path_factory.mktemp("cluster"), **CONFIG) as cluster:
        yield cluster


@pytest.fixture
def cluster(processes: Cluster) -> Cluster:
    """A scheduler and three workers, whatever the test before has done to them."""
    processes.mend(N_WORKERS)
    return processes


class Held:
    """An extraction whose files can be held back."""

    def __init__(self, photos: Path, out: Path) -> None:
        self.photos, self.out = photos, out
        self._held, self._reads = photos.parent / "held", photos.parent / "reads"

    def hold(self, text: str) -> None:
        """Make files with the text in their path wait."""
        self._held.write_text(text)

    def let_go(self) -> None:
        self._held.unlink(missing_ok=True)

    def start(self, *options: object) -> subprocess.Popen[str]:
        self._reads.write_text("")
        call = [
            "-m",
            "tests.extract.workers.cluster",
            "features",
            self.photos,
            "--name",
            self.out,
            *OPTIONS,
            *options,
        ]
        return subprocess.Popen(
            [sys.executable, *map(str, call)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reads(self) -> list[tuple[int, str]]:
        """Process and path of each reading since the start."""
        lines = self._reads.read_text().splitlines()
        return [(int(pid), path) for pid, path in (line.split(" ", 1) for line in lines)]

    def parts(self) -> list[Path]:
        return sorted(self.out.parent.glob(f"{self.out.name}.parts/*/*.h5"))

    def someone_held(self) -> int:
        """A process that is in the middle of a block of red, while those of blue are finished."""
        wait_until(lambda: any("red" in path for _, path in self.reads()), "red is being read")
        wait_until(lambda: len(self.parts()) >= N_PER_CLASS // BLOCK_ROWS, "blocks are finished")
        return next(pid for pid, path in self.reads() if "red" in path)


@pytest.fixture
def held(photos: Path, tmp_path: Path) -> Iterator[Held]:
    held = Held(photos, tmp_path / "features.h5")
    held.hold("red")
    yield held
    held.let_go()


def everything_in(path: Path) -> dict[str, object]:
    """Bytes of every dataset and attribute of a feature file; HDF5's own times are left out."""
    found: dict[str, object] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name] = item[()].tobytes() if isinstance(item, h5py.Dataset) else None
        found.update(
            {f"{name}@{key}": np.asarray(value).tobytes() for key, value in item.attrs.items()}
        )

    with h5py.File(path) as file:
        note("", file)
        file.visititems(note)
    return found


def on(cluster: Cluster) -> tuple[str, ...]:
    return ("--backend", "dask", "--scheduler", cluster.address)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, errors = process.communicate(timeout=120)
    return process.returncode, said, errors


def test_a_cluster_makes_the_very_file_of_one_process(
    cluster: Cluster, photos: Path, tmp_path: Path, command: Command, wanted: tuple[object, ...]
) -> None:
    out = tmp_path / "features.h5"
    done = command("headbench", "features", photos, "--name", out, *OPTIONS, *on(cluster))
    assert done.returncode == 0, done.stderr
    assert content_of(out) == wanted
    assert everything_in(out) == everything_in(photos.parent / "alone.h5")
    assert f"on the Dask cluster at {cluster.address}" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"features.h5", "features.h5.hashes"}
    again = command("headbench", "features", photos, "--name", out, *OPTIONS, *on(cluster))
    assert "up to date, nothing to do" in again.stdout


@pytest.mark.long
def test_a_network_gives_bit_for_bit_what_it_gives_in_one_process(
    cluster: Cluster,
    network_features: Path,
    network_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whole batches, so that they are the same ones.
    monkeypatch.setattr(workers, "FEWEST_ROWS", 16)
    said = listen()
    with FeatureFile(network_features) as features:
        weights = features.config.weights
    extract_features(
        network_photos,
        tmp_path / "features.h5",
        ExtractSettings(SMALL, weights, SIZE_PX),
        Machines(backend="dask", scheduler=cluster.address),
    )
    assert everything_in(tmp_path / "features.h5") == everything_in(network_features)
    assert [line.startswith(f"{SMALL} on ") for line in said].count(True) == 1


@pytest.mark.long
def test_a_killed_worker_costs_the_blocks_that_it_had(
    cluster: Cluster, held: Held, wanted: tuple[object, ...]
) -> None:
    process = held.start(*on(cluster))
    victim = held.someone_held()
    cluster.worker(victim).kill()
    held.let_go()
    code, _, errors = finish(process)
    assert code == 0, errors
    assert content_of(held.out) == wanted
    # The block at work, and one that was done and whose answer had not been fetched.
    assert 3 * N_PER_CLASS < len(held.reads()) <= 3 * N_PER_CLASS + 2 * BLOCK_ROWS
    assert "distributed" not in errors


@needs_posix
@pytest.mark.long
def test_a_paused_worker_is_given_up_and_does_no_harm_when_it_wakes(
    cluster: Cluster, held: Held, wanted: tuple[object, ...]
) -> None:
    process = held.start(*on(cluster))
    paused = cluster.worker(held.someone_held())
    paused.send_signal(signal.SIGSTOP)
    held.let_go()
    code, _, errors = finish(process)
    assert code == 0, errors
    assert content_of(held.out) == wanted
    assert not held.parts()
    paused.send_signal(signal.SIGCONT)
    wait_until(lambda: paused.poll() is not None, "the worker has found out")
    # It may have finished its block all the same: the next run takes that for what it is.
    code, said, errors = finish(held.start(*on(cluster)))
    assert code == 0, errors
    assert "up to date, nothing to do" in said
    assert content_of(held.out) == wanted
    assert not held.parts()


@pytest.mark.long
def test_a_lost_scheduler_ends_the_run_and_the_next_one_goes_on(
    cluster: Cluster, held: Held, wanted: tuple[object, ...]
) -> None:
    process = held.start(*on(cluster))
    held.someone_held()
    cluster.scheduler.kill()
    code, _, errors = finish(process)
    assert code == 2
    assert errors.splitlines()[-1] == (
        "error: the connection to the Dask scheduler was lost. Finished work is kept: run the "
        "same command again."
    )
    assert "Traceback" not in errors, errors
    assert "distributed" not in errors
    n_finished = BLOCK_ROWS * len(held.parts())
    assert n_finished >= N_PER_CLASS
    held.let_go()
    cluster.mend(N_WORKERS)
    code, _, errors = finish(held.start(*on(cluster)))
    assert code == 0, errors
    # What was told of before the end is not even read again, what was not is not embedded again.
    assert len(held.reads()) < 3 * N_PER_CLASS
    assert content_of(held.out) == wanted


def test_an_answer_that_is_lost_with_the_scheduler_is_named() -> None:
    lost = dask_cluster.SCHEDULER_LOST[0]()
    with pytest.raises(ClusterError, match="connection to the Dask scheduler was lost"):
        dask_cluster.PromptBackend.retrieve_result_callback(None, lost)  # type: ignore[arg-type]


def test_an_error_of_a_worker_arrives_as_what_it_is(
    cluster: Cluster, photos: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "features.h5"
    # A file in the way of the folder for parts.
    out.with_name("features.h5.parts").touch()
    done = command("headbench", "features", photos, "--name", out, *OPTIONS, *on(cluster))
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line]
    assert line.startswith(f"error: {out}.parts/")
    assert "cannot be written: Not a directory" in line


def test_images_that_only_workers_cannot_read_are_not_left_out(
    cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    class Elsewhere(HeldFolder):
        def file(self, path: str, content: bytes | None = None):
            return super().file(path, content)._replace(path=MovedPath(photos / path))

    with pytest.raises(
        ClusterError, match=r"worker \d+ on .* cannot read it .*but this machine can"
    ):
        extract_features(
            Elsewhere(photos),
            tmp_path / "features.h5",
            ExtractSettings(backbone="mean-color", size_px=16),
            Machines(backend="dask", scheduler=cluster.address),
        )


class MovedPath(type(Path())):  # type: ignore[misc]
    """A path that leads nowhere once it has gone to another process."""

    def __reduce__(self) -> tuple[type[Path], tuple[str]]:
        return Path, ("/nowhere/to/be/found.png",)


def test_work_that_the_cluster_cannot_do_is_an_error_and_not_a_wait_for_ever(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    machines = Machines(backend="dask", scheduler=cluster.address)
    with pytest.raises(ClusterError, match="the Dask cluster gave up"), at_work(machines) as do:
        list(do(only_here.double, [(1,), (2,)]))


@pytest.mark.long
def test_a_scheduler_without_workers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 5)
    with cluster_of(0, tmp_path) as cluster:
        machines = Machines(backend="dask", scheduler=cluster.address)
        with pytest.raises(ClusterError, match="no workers"), at_work(machines):
            pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_wrong_address_is_one_clear_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1)
    machines = Machines(backend="dask", scheduler=address)
    with pytest.raises(ClusterError, match="no Dask scheduler answers there"), at_work(machines):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "headbench.extract.workers.dask_cluster", None)
    machines = Machines(backend="dask", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"headbench\[cluster\]"), at_work(machines):
        pass
