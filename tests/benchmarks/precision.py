"""What bfloat16 costs in accuracy and gains in time, against float32, on true ImageNet weights.

``make bench-precision``, with the photographs and weights that ``HEADBENCH_SHARED`` names. All
photographs are embedded twice by each network. Each head is cross-validated on both, over the same
folds: an image counts as correct as often as over the seeds it was. The interval of the difference
is paired by image. No loss means that it holds 0 and is narrower than one point.

``--images 10 --seeds 1 --folds 3`` is a trial of minutes.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from headbench.cache.reader import FeatureFile
from headbench.classify.heads.registry import create_head
from headbench.classify.intervals import Estimate, interval, left_out_means, resampled_means
from headbench.classify.studies.folds import FoldedImages, draw_folds, fit_without
from headbench.extract.images.stream import ImageFile, decode_file
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.networks.engines import Engine, openvino_model, run_by_openvino
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.benchmarks.results import Result, report

SIZE_PX = 224
# Name, file of the weights, layer that it is cut at.
NETWORKS = {
    "densenet169": ("densenet169", "densenet169_imagenet_notop.h5", ""),
    "resnet50-conv4": (
        "resnet50",
        "resnet50_conv4_imagenet.weights.h5",
        "conv4_block6_out",
    ),
    # Complete, though not ImageNet's.
    "resnet50": ("resnet50", "resnet50_notop.weights.h5", ""),
    "mobilenet-0.25": ("mobilenet-0.25", "mobilenet_alpha0.25_224_imagenet_notop.h5", ""),
}
HEADS = ("logreg", "ridge", "mlp-128", "knn")
PRECISIONS = ("bfloat16", "float32")
N_TIMED, N_ROUNDS = 64, 5
NARROW = 0.01


@dataclass(frozen=True)
class Accuracy(Result):
    """Shares of images classified wrongly; the difference is that of the accuracies.

    Attributes
    ----------
    difference, low, high : float
        Accuracy in bfloat16 minus that in float32, and its paired 95 % interval.
    n : int
        Images.
    """

    difference: float
    low: float
    high: float
    n: int


def embed(name: str, photos: Path, weights: Path, out: Path) -> dict[str, Path]:
    """Feature files of one network in both precisions; those that are there are reused."""
    backbone, file, layer = NETWORKS[name]
    found = {}
    for precision in PRECISIONS:
        found[precision] = out / f"{name}-{precision}" / "features.h5"
        settings = ExtractSettings(
            backbone, str(weights / file), SIZE_PX, layer=layer, precision=precision, device="cpu"
        )
        extract_features(photos, found[precision], settings)
    return found


def correctness(path: Path, head: str, n_folds: int, seeds: range) -> np.ndarray:
    """How often each image is classified correctly by a fit without it, float64 (n,), 0 to 1."""
    with FeatureFile(path) as features:
        table, X = features.table, features.read(np.arange(len(features.table.paths)))
    rows, right = np.arange(len(X)), np.zeros(len(X))
    for seed in seeds:
        fold_of = draw_folds(table, rows, n_folds, seed, path)
        images = FoldedImages.of(table, rows, X, fold_of, n_folds)
        for fold in range(n_folds):
            held_out = fit_without(create_head(head, seed), images, fold)
            right[held_out.rows] += held_out.proba.argmax(axis=1) == table.labels[held_out.rows]
    return right / len(seeds)


def paired(ours: np.ndarray, peer: np.ndarray) -> Estimate:
    """Mean difference of two figures of each image, and its 95 % interval."""
    difference = (ours - peer)[:, None]
    draws, left_out = resampled_means(difference, 0)[:, 0], left_out_means(difference)[:, 0]
    return interval(float(difference.mean()), draws, left_out)


def accuracies(name: str, files: dict[str, Path], n_folds: int, n_seeds: int) -> list[Accuracy]:
    """The heads on one network, in both precisions."""
    rows = []
    for head in HEADS:
        ours, peer = (
            correctness(files[each], head, n_folds, range(n_seeds)) for each in PRECISIONS
        )
        found = paired(ours, peer)
        wrong, wrong_before = 1 - float(ours.mean()), 1 - float(peer.mean())
        facts = (found.value, found.low, found.high, found.n)
        rows.append(
            Accuracy(f"{name}, {head}", "errors", wrong, wrong_before, "in float32", *facts)
        )
        is_kept = found.low <= 0 <= found.high and found.high - found.low < NARROW
        print(
            f"{name}, {head}: accuracy {1 - wrong:.4f} in bfloat16, {1 - wrong_before:.4f} in "
            f"float32; difference {100 * found.value:+.2f} points "
            f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}], n = {found.n}: "
            f"{'no loss' if is_kept else 'NOT SHOWN to be without loss'}",
            flush=True,
        )
    return rows


def timed(name: str, photos: Path, weights: Path) -> list[Result]:
    """Seconds of OpenVINO for 100 images, the network alone, in turns: by the clock, and busy."""
    backbone, file, layer = NETWORKS[name]
    network = create_backbone(backbone, str(weights / file), SIZE_PX, layer=layer)
    paths = sorted(photos.rglob("*.jpg"))[:N_TIMED]
    images = [decode_file(ImageFile(path), network.resizing, Stopwatch()) for path in paths]
    model = openvino_model(network.folded_network)
    engines = {each: run_by_openvino(model, 1, each) for each in PRECISIONS}
    figures: dict[str, list[tuple[float, float]]] = {each: [] for each in PRECISIONS}
    for _ in range(N_ROUNDS + 1):
        for precision, engine in engines.items():
            figures[precision].append(run(engine, np.stack(images)))
    rows = []
    for place, unit in enumerate(("s/100", "cpu s/100")):
        ours, peer = (median(each[place] for each in figures[p][1:]) for p in PRECISIONS)
        rows.append(Result(f"{name}, bfloat16, network alone", unit, ours, peer, "in float32"))
    return rows


def run(engine: Engine, images: np.ndarray) -> tuple[float, float]:
    """Seconds for 100 images, by the clock and of the processor."""
    batches = [
        images[start : start + engine.batch_size]
        for start in range(0, len(images), engine.batch_size)
    ]
    started, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(engine.n_streams) as pool:
        list(pool.map(engine.infer, batches))
    each = 100 / len(images)
    return each * (time.perf_counter() - started), each * (time.process_time() - busy)


def some_of(photos: Path, n_per_class: int, folder: Path) -> Path:
    """Links to the first photographs of each class."""
    for images in sorted(path for path in photos.iterdir() if path.is_dir()):
        (folder / images.name).mkdir()
        for path in sorted(images.iterdir())[:n_per_class]:
            (folder / images.name / path.name).symlink_to(path)
    return folder


def arguments() -> Any:
    """Options; the defaults are the whole benchmark."""
    shared = Path(os.environ.get("HEADBENCH_SHARED", "."))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=shared / "data/food10/images")
    parser.add_argument("--weights", type=Path, default=shared / "weights")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/precision"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS)[:2])
    parser.add_argument("--images", type=int, help="of each class (default: all)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Embed, cross-validate, time, report."""
    asked, rows = arguments(), []
    with tempfile.TemporaryDirectory() as folder:
        photos, out = asked.photos.resolve(), asked.out
        if asked.images:
            photos, out = some_of(photos, asked.images, Path(folder)), Path(folder) / "runs"
        for name in asked.networks:
            files = embed(name, photos, asked.weights, out)
            rows += timed(name, photos, asked.weights)
            rows += accuracies(name, files, asked.folds, asked.seeds)
    report("precision", rows)


if __name__ == "__main__":
    main()
