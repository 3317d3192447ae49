"""``make bench-cache``: what reuse and checking cost, with 100 000 files and a million rows."""

import subprocess
import tempfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from headbench.cache.reader import FeatureFile
from tests.benchmarks.results import Result, in_turns, probe, report, seconds
from tests.benchmarks.synthetic_features import write_synthetic_features

N_FILES = 100_000
N_CLASSES = 100
N_ROWS = 1_000_000
SHAPE = (42_073, 2048)


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
    few = network_run(folder)
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
    found = probe("headbench", "features", photos, *options)
    assert found["is_light"], "TensorFlow was imported"
    return found


def network_run(folder: Path) -> float:
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
    npy, filtered = folder / "read.npy", folder / "fletcher32.h5"
    path = write_synthetic_features(folder, *SHAPE, N_CLASSES, seed=0, store="float32")
    with FeatureFile(path) as features, h5py.File(filtered, "w") as file:
        X = features.dataset("embeddings").read()
        np.save(npy, X)
        file.create_dataset("embeddings", data=X, chunks=(128, SHAPE[1]), fletcher32=True)
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


def many_rows(folder: Path) -> list[Result]:
    """Opening a large file, and one split's labels."""
    path = write_synthetic_features(folder, N_ROWS, 8, N_CLASSES, seed=0, store="float32")

    def opening() -> float:
        return seconds(lambda: FeatureFile(path).close())

    def labels() -> float:
        with FeatureFile(path) as features:
            return seconds(lambda: features.labels("train"))

    def plain() -> float:
        with h5py.File(path) as file:
            return seconds(lambda: file["labels"][:][file["splits"][:] == 0])

    what = "one split's labels, 1 000 000 rows"
    ours, theirs = in_turns(labels, plain, 5)
    opened, _ = in_turns(opening, lambda: 0.0, 5)
    return [
        Result("opening, 1 000 000 rows", "s", opened, 0.1, "budget"),
        Result(what, "s", ours, 1, "budget"),
        Result(what, "s", ours, theirs, "plain h5py"),
    ]


if __name__ == "__main__":
    main()
