"""``make bench-start``: seconds and peak memory of whole processes that have little to do.

``HEADBENCH_SHARED`` names real photographs and weights; without it images are generated and weights
are random, which changes no figure here. Commands take turns. Those that run a network are tried
with a cache folder in which it was converted before, and with an empty one. Linux only: memory is
the peak of the process, from ``/proc``.
"""

import argparse
import http.client
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.generated_photographs import write_photos
from tests.benchmarks.results import ROOT, Result, report

N_ROUNDS = 5
N_PREDICTED = 100
POLL_SECONDS = 0.01
BEFORE, NOW = "network converted before", "not converted before"
# Seconds and megabytes, by what is done.
HELP_SECONDS, NOTHING_SECONDS, REUSE_SECONDS, PREDICT_SECONDS = 0.5, 3.0, 2.0, 2.0
PREDICT_MB = 600.0
BUDGET = "budget"


class Used(NamedTuple):
    """Seconds by the clock and of processors, and peak megabytes, of one process."""

    seconds: float
    busy_seconds: float
    peak_mb: float


class Case(NamedTuple):
    """A command, and its budget of seconds."""

    name: str
    run: Callable[[], Used]
    budget: float
    budget_name: str = BUDGET


def headbench(*arguments: object, cache: Path, until: str = "") -> Used:
    """Run a command as a user does; a server until it has answered a picture, at `until`."""
    command = [sys.executable, "-m", "headbench", *map(str, arguments)]
    environment = {**os.environ, "HEADBENCH_CACHE": str(cache)}
    peak, started, busy = 0.0, time.perf_counter(), _busy_seconds()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        stdout = subprocess.PIPE if until else output
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stdout, stderr=errors, text=True
        )
        if until:
            _ask(process, Path(until))
            seconds, peak = time.perf_counter() - started, _peak_mb(process.pid, peak)
            process.terminate()
            process.communicate()
            return Used(seconds, _busy_seconds() - busy, peak)
        while process.poll() is None:
            peak = _peak_mb(process.pid, peak)
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        errors.seek(0)
        assert process.returncode == 0, errors.read()
    return Used(seconds, _busy_seconds() - busy, peak)


def _busy_seconds() -> float:
    """Processor seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb(pid: int, before: float) -> float:
    """Largest resident memory so far; what was found `before` if the process has ended."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else before


def _ask(process: "subprocess.Popen[str]", photo: Path) -> None:
    """Wait until a server says where it is, and for its first answer."""
    assert process.stdout is not None
    port = None
    while port is None:
        line = process.stdout.readline()
        assert line, "the server did not start"
        port = re.search(r"curl .*http://127\.0\.0\.1:(\d+)", line)
    connection = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=60)
    connection.request("POST", "/predict", photo.read_bytes(), {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    assert answer.status == http.HTTPStatus.OK, answer.read()


class Setup(NamedTuple):
    """A run with trained heads, its images, and the cache folder that it filled."""

    run: Path
    photos: Path
    some: list[Path]
    network: tuple[object, ...]
    cache: Path
    network_seconds: float


def set_up(folder: Path, given: argparse.Namespace) -> Setup:
    """Embed images and train all heads, once."""
    shared = os.environ.get("HEADBENCH_SHARED")
    if shared:
        photos = _linked(Path(shared) / "data/food10/images", folder / "photos", given.photos)
        default = Path(shared) / "weights/resnet50_notop.weights.h5"
        weights = given.weights or default
    else:
        photos = write_photos(folder / "photos", given.photos)
        weights = given.weights or "random"
    run, cache = folder / "run", folder / "filled"
    network = ("--backbone", given.backbone, "--weights", weights, "--size", given.size)
    command = ("features", photos, "--name", run, *network)
    done = subprocess.run(
        [sys.executable, "-m", "headbench", *map(str, command)],
        cwd=ROOT, env={**os.environ, "HEADBENCH_CACHE": str(cache)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    headbench("heads", run, cache=cache)
    paths = sorted(photos.glob("*/*.jpg"))
    stages = re.search(r"network ([\d.]+) s", done.stdout + done.stderr)
    assert stages, done.stdout + done.stderr
    return Setup(run, photos, paths, network, cache, float(stages[1]) / len(paths))


def _linked(source: Path, folder: Path, n_photos: int) -> Path:
    classes = sorted(source.iterdir())
    for each in classes:
        (folder / each.name).mkdir(parents=True)
        for path in islice(sorted(each.glob("*.jpg")), n_photos // len(classes)):
            (folder / each.name / path.name).symlink_to(path)
    return folder


def _new_files(some: Sequence[Path], folder: Path) -> list[Path]:
    """The same pictures in other bytes: embeddings that are stored would need no network."""
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(N_PREDICTED)]
    for number, path in enumerate(paths):
        # Behind the end of a JPEG file anything may stand.
        path.write_bytes(some[number % len(some)].read_bytes() + str(number).encode())
    return paths


def cases(setup: Setup, head: str, folder: Path) -> list[Case]:
    """All that is measured."""
    run, cache, hundred = setup.run, setup.cache, _new_files(setup.some, folder / "new")
    one = hundred[0]
    light = partial_of(cache)
    found = [
        Case("--help", light("--help"), HELP_SECONDS),
        Case(
            f"features, nothing to do, {len(setup.some)} images",
            light("features", setup.photos, "--name", run, *setup.network),
            NOTHING_SECONDS,
        ),
        Case("heads, all reused", light("heads", run), REUSE_SECONDS),
    ]
    own = PREDICT_SECONDS + N_PREDICTED * setup.network_seconds
    own_name = f"{PREDICT_SECONDS:g} s and the network's own"
    predict = ("predict", run, "--head", head, "--images")
    serve = ("serve", run, "--head", head, "--port", 0)
    for how, where in ((BEFORE, lambda: cache), (NOW, lambda: Path(tempfile.mkdtemp(dir=folder)))):

        def process(*arguments: object, until: str = "", where: Callable[[], Path] = where) -> Used:
            return headbench(*arguments, cache=where(), until=until)

        found += [
            Case(f"predict 1 file, {how}", lambda p=process: p(*predict, one), PREDICT_SECONDS),
            Case(
                f"predict {N_PREDICTED} files, {how}",
                lambda p=process: p(*predict, *hundred), own, own_name,
            ),
            Case(
                f"serve, first answer, {how}",
                lambda p=process: p(*serve, until=str(one)), PREDICT_SECONDS, "budget of predict",
            ),
        ]  # fmt: skip
    return found


def partial_of(cache: Path) -> Callable[..., Callable[[], Used]]:
    """Commands with one cache folder."""
    return lambda *arguments: lambda: headbench(*arguments, cache=cache)


def measure(found: Sequence[Case], n_rounds: int) -> list[Result]:
    """Medians of every case, in turns."""
    used: dict[str, list[Used]] = {each.name: [] for each in found}
    for number in range(n_rounds):
        for each in found:
            used[each.name].append(each.run())
            last = used[each.name][-1]
            print(
                f"round {number + 1}: {each.name} {last.seconds:.2f} s ({last.busy_seconds:.2f} of "
                f"processors), {last.peak_mb:.0f} MB",
                flush=True,
            )
    results = []
    for each in found:
        seconds = statistics.median(one.seconds for one in used[each.name])
        results.append(Result(each.name, "s", seconds, each.budget, each.budget_name))
    for each in found:
        peak = statistics.median(one.peak_mb for one in used[each.name])
        results.append(Result(f"memory: {each.name}", "MB", peak, PREDICT_MB, "budget of predict"))
    return results


def main() -> None:
    """Set up once, then measure."""
    parser = argparse.ArgumentParser(prog="make bench-start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--photos", type=int, default=200, help="images of the run")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--head", default="logreg")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/bench")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setup = set_up(folder, given)
        results = measure(cases(setup, given.head, folder), given.rounds)
    report("start", results, given.out)


if __name__ == "__main__":
    main()
