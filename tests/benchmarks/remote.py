"""``make bench-remote``: images in an object store 50 ms away against the same in a folder.

Needs the folder that ``HEADBENCH_SHARED`` names. The store is moto's S3 server, in a process of its
own on the same machine: what it takes of the processor is measured too, because it lacks to the
network. ``--images`` and ``--rounds`` set how many images there are and how often both take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import psutil
from PIL import Image

from headbench.extract.images.stream import map_ahead
from tests.benchmarks.extract import run
from tests.benchmarks.results import ROOT, Result, report
from tests.object_store import BUCKET, ObjectStore

LATENCY_SECONDS = 0.05
SMALLEST_PX, LARGEST_PX, QUALITY = 96, 128, 85
CONTENDER = "headbench:auto"
# No secrets: moto takes any.
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
Found = dict[str, float]


def main() -> None:
    """Make images, fill the store, extract from both."""
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]))
        return
    if "HEADBENCH_SHARED" not in os.environ:
        sys.exit("HEADBENCH_SHARED: expected the folder of real photographs and weights, not set.")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    shared = Path(os.environ["HEADBENCH_SHARED"])
    os.environ["HEADBENCH_BENCH_WEIGHTS"] = str(shared / "weights/resnet50_notop.weights.h5")
    with tempfile.TemporaryDirectory() as name:
        photos = write_crops(shared / "data/food10/images", Path(name) / "photos", arguments.images)
        rounds = race(photos, Path(name), arguments.rounds)
    report("remote", rows(rounds, arguments.images))


def write_crops(photos: Path, folder: Path, n_images: int) -> Path:
    """Crops of real photographs, 96 to 128 px a side, about as many of each class."""
    sources = sorted(photos.glob("*/*.jpg"))
    each = -(-n_images // len(sources))

    def crop(number: int) -> None:
        path, rng = sources[number], np.random.default_rng(number)
        target = folder / path.parent.name
        target.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            picture = image.convert("RGB")
        for copy in range(min(each, n_images - number * each)):
            side = int(rng.integers(SMALLEST_PX, LARGEST_PX + 1))
            whole = int(rng.integers(side, min(picture.size) + 1))
            left, top = (int(rng.integers(0, space - whole + 1)) for space in picture.size)
            box = (left, top, left + whole, top + whole)
            cut = picture.resize((side, side), Image.Resampling.BILINEAR, box)
            cut.save(target / f"{path.stem}-{copy}.jpg", quality=QUALITY)

    list(map_ahead(crop, range(-(-n_images // each)), os.cpu_count() or 1, 64))
    return folder


def race(photos: Path, folder: Path, n_rounds: int) -> list[dict[str, Found]]:
    """Both in turns; their seconds, and those of the server's processor."""
    rounds = []
    with store_of(photos) as (url, server):
        os.environ.update({**KEYS, "AWS_ENDPOINT_URL_S3": url})
        for number in range(n_rounds):
            local, remote = folder / f"{number} local.h5", folder / f"{number} remote.h5"
            found = {"local": run(CONTENDER, photos, local)}
            before = cpu_seconds(server)
            found["remote"] = run(CONTENDER, f"s3://{BUCKET}", remote)
            found["remote"]["server"] = cpu_seconds(server) - before
            print(f"round {number + 1}: {found}", flush=True)
            require_equal(local, remote)
            rounds.append(found)
    return rounds


@contextmanager
def store_of(photos: Path) -> Iterator[tuple[str, psutil.Process]]:
    """An object store that holds a folder, in a process of its own: its URL and the process."""
    command = [sys.executable, "-m", "tests.benchmarks.remote", "serve", str(photos)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        url = process.stdout.readline().strip()
        yield url, psutil.Process(process.pid)
        process.stdin.close()  # it ends by itself


def serve(photos: Path) -> None:
    """Hold a folder in an object store until nobody is at the other end."""
    with ObjectStore(LATENCY_SECONDS) as store:
        store.put_folder(photos)
        print(store.url, flush=True)
        sys.stdin.read()


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has had of the processor."""
    times = process.cpu_times()
    return float(times.user + times.system)


def require_equal(local: Path, remote: Path) -> None:
    """The same images, in the same order, or the race is void."""
    with h5py.File(local) as ours, h5py.File(remote) as theirs:
        for name in ("paths", "content_sha256", "labels", "splits"):
            assert (ours[name][()] == theirs[name][()]).all(), name
        np.testing.assert_allclose(
            ours["embeddings"][()], theirs["embeddings"][()], rtol=1e-3, atol=1e-4
        )


def rows(rounds: list[dict[str, Found]], n_images: int) -> list[Result]:
    """Milliseconds an image, the less the better."""

    def median(where: str, key: str) -> float:
        return 1000 * statistics.median(found[where][key] for found in rounds) / n_images

    remote, local = median("remote", "run"), median("local", "run")
    lost = median("remote", "server") / (os.cpu_count() or 1)
    return [
        Result("files to HDF5, network loaded", "ms", remote, local, "local folder"),
        Result(
            "the same but for the server's CPU, spread on all cores",
            "ms",
            remote - lost,
            local,
            "local folder",
        ),
        Result(
            "whole process",
            "ms",
            median("remote", "process"),
            median("local", "process"),
            "local folder",
        ),
    ]


if __name__ == "__main__":
    main()
