"""``make bench-extract``: from photographs to HDF5 against three engines and plain Keras.

Needs the folder that ``HEADBENCH_SHARED`` names. In float32, and in bfloat16 where the processor
has instructions for it. Every contender runs in a process of its own, with its network converted
before where it can be, and they take turns.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from headbench.extract.networks.engines import relative_differences
from headbench.extract.settings import PRECISIONS as OUR_PRECISIONS
from tests.benchmarks.contenders import (
    BARE_IMAGES,
    BFLOAT16,
    FLOAT32,
    FLOAT32_ALONE,
    PEERS,
    PRECISIONS,
)
from tests.benchmarks.results import ROOT, Result, instructions, probe, python, report

N_ROUNDS = 3
N_PHOTOS = 1000
# Images of the run that converts ours: few, and enough of each class to split.
N_TO_CONVERT = 60
OURS = {"headbench": "headbench:openvino", "TensorFlow alone": "headbench:tensorflow"}
# Further apart than this, two contenders ran different networks.
MOST_APART = {FLOAT32: 1e-3, BFLOAT16: 0.1}
OTHER_PIXELS = "Keras predict"
# Multiplications and additions of ResNet50's convolutions at 224 px, from their shapes.
GFLOP_PER_IMAGE = 7.71
MATMUL_SIZE = 4096
MATMUL = """
import time
from headbench.extract.networks.keras_runtime import load_tensorflow
tf = load_tensorflow()
a = tf.random.normal([{n}, {n}])
seconds = []
for _ in range(9):
    started = time.perf_counter()
    tf.matmul(a, a).numpy()
    seconds.append(time.perf_counter() - started)
print(min(seconds))
"""
MEMORY_FILES = (2_000, 20_000)


def main() -> None:
    """Speed; with ``--memory`` the peak memory too, which takes 7 minutes more."""
    given = arguments()
    if "HEADBENCH_SHARED" not in os.environ:
        sys.exit("HEADBENCH_SHARED: expected the folder of real photographs and weights, not set.")
    shared = Path(os.environ["HEADBENCH_SHARED"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADBENCH_BENCH_NETWORKS"] = os.environ["HEADBENCH_CACHE"] = name
        os.environ["HEADBENCH_BENCH_WEIGHTS"] = str(shared / "weights/resnet50_notop.weights.h5")
        photos = link_photos(shared, folder / "photos", given.photos)
        few = link_photos(shared, folder / "few", N_TO_CONVERT)
        contenders = find_contenders(given)
        contend("prepare")
        for each in contenders:
            if each.is_ours:
                run(each.command, few, folder / f"few {each}.h5", each.precision)
        results = speed(contenders, photos, folder, given.rounds)
        if given.memory:
            results += [peak_memory(shared, folder, n_files) for n_files in MEMORY_FILES]
    report("extract", results, given.out)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make bench-extract", description=__doc__)
    parser.add_argument("--photos", type=int, default=N_PHOTOS)
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[*PEERS])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/bench")
    return parser.parse_args()


class Contender(NamedTuple):
    """One of ours or a peer, in one precision."""

    name: str
    command: str
    precision: str

    @property
    def is_ours(self) -> bool:
        """Whether it is headbench."""
        return self.name in OURS

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"


def find_contenders(given: argparse.Namespace) -> list[Contender]:
    """All that can run here; what cannot is said."""
    found = []
    for precision in given.precisions:
        if precision == BFLOAT16 and "BF16" not in instructions():
            print(f"n/a: {BFLOAT16}: this processor has no instructions for it")
            continue
        for name, command in {**OURS, **{each: each for each in given.peers}}.items():
            is_missing = precision not in OUR_PRECISIONS if name in OURS else name in FLOAT32_ALONE
            if precision == BFLOAT16 and is_missing:
                print(f"n/a: {name} has no {BFLOAT16} on a CPU")
            else:
                found.append(Contender(name, command, precision))
    return found


def link_photos(shared: Path, folder: Path, n_photos: int) -> Path:
    """The first photographs of every class, all 512 px on the longer side."""
    for class_folder in sorted((shared / "data/food10/images").iterdir()):
        target = folder / class_folder.name
        target.mkdir(parents=True)
        for path in islice(sorted(class_folder.iterdir()), n_photos // 10):
            (target / path.name).symlink_to(path)
    return folder


Figures = dict[str, float]


def speed(contenders: list[Contender], photos: Path, folder: Path, n_rounds: int) -> list[Result]:
    """Every contender in turns."""
    found: dict[Contender, list[Figures]] = {each: [] for each in contenders}
    matmul: list[float] = []
    for number in range(n_rounds):
        matmul.append(float(python("-c", MATMUL.format(n=MATMUL_SIZE)).splitlines()[-1]))
        for each in contenders:
            out = folder / f"{number} {each}.h5"
            found[each].append(run(each.command, photos, out, each.precision))
            print(f"round {number + 1}: {each} {found[each][-1]}", flush=True)
    check_agreement(folder, contenders)
    medians = {
        each: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for each, rounds in found.items()
    }
    limit = statistics.median(matmul) * 1e9 * GFLOP_PER_IMAGE / (2 * MATMUL_SIZE**3)
    return rows(medians, limit, len(list(photos.glob("*/*"))))


def rows(medians: dict[Contender, Figures], limit: float, n_photos: int) -> list[Result]:
    """Milliseconds an image, the less the better."""
    results = []
    ours = [each for each in medians if each.is_ours]
    for what, key, n in (
        ("whole process", "process", n_photos),
        ("files to HDF5, loaded", "run", n_photos),
        ("network alone", "bare", 1),
    ):
        for mine in ours:
            others = [it for it in medians if not it.is_ours and it.precision == mine.precision]
            # How much faster than float32 on the same engine?
            others += [it for it in ours if it.name == mine.name and it.precision != mine.precision]
            for peer in others:
                if mine.precision == FLOAT32 and peer.is_ours:
                    continue
                pair = (1000 * medians[each][key] / n for each in (mine, peer))
                results.append(Result(f"{what}: {mine}", "ms", *pair, str(peer)))
            if key == "bare" and mine.precision == FLOAT32:
                bare = 1000 * medians[mine][key]
                peer = "matrix product's limit"
                results.append(Result(f"{what}: {mine}", "ms", bare, 1000 * limit, peer))
    return results


def run(
    contender: str, photos: Path | str, out: Path, precision: str = FLOAT32
) -> dict[str, float]:
    """Seconds of one run, and of its whole process but for the bare network."""
    started = time.perf_counter()
    lines = contend(contender, precision, photos, out).splitlines()
    found: dict[str, float] = json.loads(lines[-1])
    bare = found["bare"] * BARE_IMAGES
    return {**found, "process": time.perf_counter() - started - bare}


def contend(*arguments: object) -> str:
    """Run a contender as a process; its output."""
    return python("-m", "tests.benchmarks.contenders", *arguments)


def check_agreement(folder: Path, contenders: list[Contender]) -> None:
    """How far all of them lie from ours in their first round: another network makes the race void.

    Keras' own pipeline is only shown: it resizes to a square, and so embeds other pixels.
    """
    embeddings = {}
    for each in contenders:
        with h5py.File(folder / f"0 {each}.h5") as file:
            embeddings[each] = np.asarray(file["embeddings"])
    first = contenders[0]
    for each, found in embeddings.items():
        differences = relative_differences(found, embeddings[first])
        # Another network differs in every image; other pixels of one photograph in that alone.
        typical, largest = float(np.median(differences)), float(differences.max())
        print(f"{each}: relative difference from {first}: median {typical:.1e}, most {largest:.1e}")
        is_comparable = each.name != OTHER_PIXELS
        if is_comparable and not typical <= MOST_APART[each.precision]:
            raise SystemExit(f"{each} ran another network than {first}: the race is void.")


def peak_memory(shared: Path, folder: Path, n_files: int) -> Result:
    """Megabytes of a run over many files, no two with the same bytes."""
    photos = folder / f"{n_files} files"
    sources = sorted((shared / "data/food10/images").glob("*/*.jpg"))
    for number in range(n_files):
        source = sources[number % len(sources)]
        target = photos / source.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        # What follows the end of a JPEG is no part of the picture, but of the content.
        target.write_bytes(source.read_bytes() + str(number).encode())
    weights = os.environ["HEADBENCH_BENCH_WEIGHTS"]
    out = folder / f"{n_files}.h5"
    peak = probe("headbench", "features", photos, "--name", out, "--weights", weights)["peak"]
    return Result(f"peak memory, {n_files} files at 224 px", "MB", peak, 2500, "budget")


if __name__ == "__main__":
    main()
