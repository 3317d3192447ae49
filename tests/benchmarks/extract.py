"""``make bench-extract``: from photographs to HDF5 against three engines and plain Keras.

Needs the folder that ``HEADBENCH_SHARED`` names. Every contender runs in a process of its own, and
they take turns.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from headbench.extract.networks.engines import relative_difference
from tests.benchmarks.results import Result, probe, python, report

N_ROUNDS = 3
N_PHOTOS = 1000
PEERS = ("Keras predict", "PyTorch", "ONNX Runtime", "OpenVINO")
OURS = {"headbench": "headbench:openvino", "TensorFlow alone": "headbench:tensorflow"}
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
    if "HEADBENCH_SHARED" not in os.environ:
        sys.exit("HEADBENCH_SHARED: expected the folder of real photographs and weights, not set.")
    shared = Path(os.environ["HEADBENCH_SHARED"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADBENCH_BENCH_NETWORKS"] = name
        os.environ["HEADBENCH_BENCH_WEIGHTS"] = str(shared / "weights/resnet50_notop.weights.h5")
        photos = link_photos(shared, folder / "photos", N_PHOTOS)
        results = speed(photos, folder)
        if "--memory" in sys.argv:
            results += [peak_memory(shared, folder, n_files) for n_files in MEMORY_FILES]
    report("extract", results)


def link_photos(shared: Path, folder: Path, n_photos: int) -> Path:
    """The first photographs of every class, all 512 px on the longer side."""
    for class_folder in sorted((shared / "data/food10/images").iterdir()):
        target = folder / class_folder.name
        target.mkdir(parents=True)
        for path in islice(sorted(class_folder.iterdir()), n_photos // 10):
            (target / path.name).symlink_to(path)
    return folder


def speed(photos: Path, folder: Path) -> list[Result]:
    """Every contender in turns."""
    contend("prepare")
    contenders = {**OURS, **dict(zip(PEERS, PEERS, strict=True))}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    matmul: list[float] = []
    for number in range(N_ROUNDS):
        matmul.append(float(python("-c", MATMUL.format(n=MATMUL_SIZE)).splitlines()[-1]))
        for name, contender in contenders.items():
            found[name].append(run(contender, photos, folder / f"{number} {name}.h5"))
            print(f"round {number + 1}: {name} {found[name][-1]}", flush=True)
    print_agreement(folder, contenders)
    medians = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    limit = statistics.median(matmul) * 1e9 * GFLOP_PER_IMAGE / (2 * MATMUL_SIZE**3)
    return list(rows(medians, limit))


def rows(medians: dict[str, dict[str, float]], limit: float) -> list[Result]:
    """Milliseconds an image, the less the better."""
    results = []
    for what, key, n in (
        ("files to HDF5, network loaded", "run", N_PHOTOS),
        (f"whole process, {N_PHOTOS} photographs", "process", N_PHOTOS),
        ("network alone", "bare", 1),
    ):
        for ours in OURS:
            mine = 1000 * medians[ours][key] / n
            for peer in PEERS:
                theirs = 1000 * medians[peer][key] / n
                results.append(Result(f"{what}: {ours}", "ms", mine, theirs, peer))
    for ours in OURS:
        mine = 1000 * medians[ours]["bare"]
        results.append(
            Result(f"network alone: {ours}", "ms", mine, 1000 * limit, "matrix product's limit")
        )
    return results


def run(contender: str, photos: Path | str, out: Path) -> dict[str, float]:
    """Seconds of one run, and of its whole process but for the bare network."""
    started = time.perf_counter()
    found: dict[str, float] = json.loads(contend(contender, photos, out).splitlines()[-1])
    bare = found["bare"] * 256
    return {**found, "process": time.perf_counter() - started - bare}


def contend(*arguments: object) -> str:
    """Run a contender as a process; its output."""
    return python("-m", "tests.benchmarks.contenders", *arguments)


def print_agreement(folder: Path, contenders: dict[str, str]) -> None:
    """How far all of them lie from one of them: the same network, or the race is void."""
    embeddings = {}
    for name in contenders:
        with h5py.File(folder / f"0 {name}.h5") as file:
            embeddings[name] = np.asarray(file["embeddings"])
    for name, found in embeddings.items():
        difference = relative_difference(found, embeddings["OpenVINO"])
        print(f"{name}: largest relative difference from OpenVINO {difference:.1e}")


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
