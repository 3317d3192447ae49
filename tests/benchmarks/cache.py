"""``make bench-cache``: what reuse and checking cost, with 100 000 files and a million rows."""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from headbench.cache.format import Config, Table
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import Location, Parts, write_features
from tests.benchmarks.results import ROOT, Result, in_turns, report, seconds
from tests.cache.tables import IDENTITY

N_FILES = 100_000
N_CLASSES = 100
N_ROWS = 1_000_000
SHAPE = (42_073, 2048)

# Whole process: seconds, peak megabytes and whether TensorFlow was imported.
PROBE = """
import json, resource, runpy, sys
sys.argv = ["extract", *sys.argv[1:]]
try:
    runpy.run_module("extract", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak": peak, "is_light": "tensorflow" not in sys.modules}))
"""


def main() -> None:
    """Run all of it; a few minutes, 2 GB of temporary files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [*whole_folder(folder), *reading(folder), *many_rows(folder)]
    report("cache", results)


def whole_folder(folder: Path) -> list[Result]:
    """A folder of many small files, run again with nothing or one thing changed."""
    photos, out = folder / "photos", folder / "run/features.h5"
    print(f"writing {N_FILES} files ...")
    for number in range(N_FILES):
        write_pixel(photos / f"class{number % N_CLASSES:03}/{number:06}.png", number)
    first = extract(photos, out)
    again = extract(photos, out)  # hashes once more what was seconds old the first time
    nothing, hashing = in_turns(
        lambda: extract(photos, out)["seconds"], partial(seconds, partial(hash_all, photos)), 3
    )
    new, _ = in_turns(partial(one_more, photos, out), lambda: 0.0, 3)
    few = small_run(folder)
    return [
        Result("nothing to do, 100 000 images", "s", nothing, 3.0, "budget"),
        Result("nothing to do, 100 000 images", "s", nothing, hashing, "sha256sum of every file"),
        Result("1 new image among 100 000, no network", "s", new, 5.0, "budget"),
        Result("peak memory, first run, 100 000 images", "MB", first["peak"], 2500, "budget"),
        Result("peak memory, first run, 100 000 images", "MB", first["peak"], few, "1 000 images"),
        Result("peak memory, nothing to do", "MB", again["peak"], 2500, "budget"),
    ]


def extract(photos: Path, out: Path) -> dict[str, float]:
    """Run stage one as a user does; whole-process seconds and peak megabytes."""
    options = ["--out", out, "--backbone", "mean-color", "--size", "16"]
    command = [sys.executable, "-c", PROBE, photos, *options]
    found: dict[str, float] = {}

    def work() -> None:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found.update(json.loads(done.stdout.splitlines()[-1]))

    found["seconds"] = seconds(work)
    assert found["is_light"], "TensorFlow was imported"
    return found


def small_run(folder: Path) -> float:
    """Peak megabytes of a first run over 1 000 images."""
    for number in range(1000):
        write_pixel(folder / f"few/class{number % 10}/{number}.png", number)
    return extract(folder / "few", folder / "few-run/features.h5")["peak"]


def one_more(photos: Path, out: Path) -> float:
    """Add one image and run again; seconds."""
    number = len(list((photos / "class000").iterdir()))
    write_pixel(photos / f"class000/new{number}.png", N_FILES + number)
    return extract(photos, out)["seconds"]


def hash_all(photos: Path) -> None:
    """What knowing that nothing changed costs when it is not remembered."""
    command = "find . -type f -print0 | xargs -0 sha256sum > /dev/null"
    subprocess.run(command, shell=True, cwd=photos, check=True)


def write_pixel(path: Path, number: int) -> None:
    """A picture that differs from all others in one pixel."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[0, 0] = list(number.to_bytes(3, "big"))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def reading(folder: Path) -> list[Result]:
    """A full read, checked, against a plain array file and against HDF5's own checksums."""
    X = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    path, npy, filtered = folder / "read.h5", folder / "read.npy", folder / "fletcher32.h5"
    np.save(npy, X)
    with h5py.File(filtered, "w") as file:
        file.create_dataset("embeddings", data=X, chunks=(128, SHAPE[1]), fletcher32=True)
    write_rows(path, X)
    del X

    def ours() -> float:
        with FeatureFile(path) as features:
            return seconds(features.dataset("embeddings").read)

    def theirs() -> float:
        with h5py.File(filtered) as file:
            return seconds(lambda: file["embeddings"][:])

    megabytes = int(np.prod(SHAPE)) * 4 / 1e6
    size = f"full read, {megabytes:.0f} MB"
    return [
        Result(size, "s", *in_turns(ours, lambda: seconds(lambda: np.load(npy)), 9), "numpy.load"),
        Result(size, "s", *in_turns(ours, theirs, 9), "h5py with fletcher32"),
    ]


def write_rows(path: Path, X: np.ndarray) -> None:
    """A feature file of synthetic rows."""
    n_rows, dim = X.shape
    contents = np.arange(n_rows, dtype=np.uint64).repeat(4).view(np.uint8).reshape(-1, 32)
    table = Table(
        paths=tuple(f"class{row % N_CLASSES:03}/{row:09}.jpg" for row in range(n_rows)),
        labels=(np.arange(n_rows) % N_CLASSES).astype(np.int32),
        splits=(np.arange(n_rows) % 3).astype(np.uint8),
        content_sha256=contents,
        classes=tuple(f"class{label:03}" for label in range(N_CLASSES)),
        rejected=(),
        config=Config(IDENTITY, "none", {"folder": "synthetic", "seed": 0}),
    )
    parts = Parts(path, IDENTITY.fingerprint)
    source: dict[bytes, Location] = parts.add(table.contents(), X)
    write_features(path, table, source, dim)
    parts.remove()


def many_rows(folder: Path) -> list[Result]:
    """Opening a large file, and one split's labels."""
    path = folder / "many.h5"
    write_rows(path, np.zeros((N_ROWS, 8), dtype=np.float32))

    def opening() -> float:
        return seconds(lambda: FeatureFile(path).close())

    def labels() -> float:
        with FeatureFile(path) as features:
            return seconds(lambda: features.labels("train"))

    def plain() -> float:
        with h5py.File(path) as file:
            return seconds(lambda: file["labels"][:][file["splits"][:] == 0])

    def budget() -> float:
        return 0.0

    opened, _ = in_turns(opening, budget, 5)
    return [
        Result("opening, 1 000 000 rows", "s", opened, 0.1, "budget"),
        Result(
            "one split's labels, 1 000 000 rows", "s", in_turns(labels, budget, 5)[0], 1, "budget"
        ),
        Result(
            "one split's labels, 1 000 000 rows", "s", *in_turns(labels, plain, 5), "plain h5py"
        ),
    ]


if __name__ == "__main__":
    main()
