"""Accuracy of heads by resize rule and by views, and the time an image takes.

``python -m tests.benchmarks.resizing FOLDER --backbone densenet169 --weights FILE`` embeds all
images of a folder under each rule, which is kept in ``runs/bench/resizing`` for another call.
Accuracy is that of 5-fold cross-validation over all of them, the mean of 5 seeds; its interval and
that of the difference from the default are of a bootstrap over images, paired. The time is that of
the network alone, all variants in turns in one process.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.heads.registry import create_head
from headbench.classify.intervals import Estimate, interval, left_out_means, resampled_means
from headbench.classify.studies.folds import FoldedImages, draw_folds, fit_without
from headbench.classify.wording import percent, points
from headbench.extract.images.stream import Batch
from headbench.extract.networks.backbone import Backbone, create_backbone
from headbench.extract.settings import (
    CROP,
    FIVE_CROP,
    FLIP,
    LETTERBOX,
    ONE,
    SQUASH,
    ExtractSettings,
)
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.benchmarks.results import ROOT

VARIANTS = [(CROP, ONE), (SQUASH, ONE), (LETTERBOX, ONE)]
VARIANTS += [(CROP, FLIP), (CROP, FIVE_CROP), (SQUASH, FLIP)]
HEADS = ("logreg", "ridge")
N_FOLDS, SEEDS = 5, range(5)
N_TURNS, N_TIMED = 5, 16


def right_shares(path: Path, head: str) -> NDArray[np.float32]:
    """Share of the seeds by which each image is classified correctly, float32 (n_images,)."""
    with FeatureFile(path) as features:
        table, rows = features.table, np.arange(features.n_images)
        X = features.read(rows)
    right = np.zeros(len(rows), np.float32)
    for seed in SEEDS:
        fold_of = draw_folds(table, rows, N_FOLDS, seed, path)
        images = FoldedImages.of(table, rows, X, fold_of, N_FOLDS)
        for fold in range(N_FOLDS):
            held_out = fit_without(create_head(head, seed), images, fold)
            right[held_out.rows] += held_out.proba.argmax(axis=1) == table.labels[held_out.rows]
    return right / len(SEEDS)


def mean(values: NDArray[np.float32]) -> Estimate:
    """Mean over images with its bootstrap interval; the same images are drawn for every call."""
    column = values[:, np.newaxis]
    value, draws, left_out = values.mean(), resampled_means(column, 0), left_out_means(column)
    return interval(float(value), draws[:, 0], left_out[:, 0])


def timed(backbone: Backbone, settings: ExtractSettings) -> Callable[[], float]:
    """A measurement of the milliseconds that an image takes in the network."""
    side = backbone.resizing.size_px  # type: ignore[attr-defined]
    shape = (N_TIMED, side, side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    embedder = backbone.open(settings.runtime, images[:4], Stopwatch())
    starts = range(0, N_TIMED, embedder.batch_size)
    batches = [
        Batch(np.arange(len(some)), some)
        for some in (images[start : start + embedder.batch_size] for start in starts)
    ]

    def measure() -> float:
        started = time.perf_counter()
        list(embedder(batches))
        return 1000 * (time.perf_counter() - started) / N_TIMED

    return measure


def main() -> None:
    """Embed, cross-validate, time, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet-0.25")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--size", type=int, default=224)
    asked = parser.parse_args()
    right, turns = {}, {}
    for resize, views in VARIANTS:
        settings = ExtractSettings(
            asked.backbone, asked.weights, asked.size, resize=resize, views=views
        )
        folder = ROOT / "runs/bench/resizing" / f"{asked.backbone}-{asked.size}-{resize}-{views}"
        extract_features(asked.folder, folder / "features.h5", settings)
        right[resize, views] = {head: right_shares(folder / "features.h5", head) for head in HEADS}
        backbone = create_backbone(
            asked.backbone, asked.weights, asked.size, resize=resize, views=views
        )
        turns[resize, views] = timed(backbone, settings)
    times = {each: [] for each in VARIANTS}
    for _ in range(N_TURNS):
        for each, measure in turns.items():
            times[each].append(measure())
    print(f"| --resize | --views | {' | '.join(f'{head} | difference' for head in HEADS)} | ms |")
    for each in VARIANTS:
        cells = []
        for head in HEADS:
            values, default = right[each][head], right[VARIANTS[0]][head]
            cells += [percent(mean(values)), points(mean(values - default))]
        print(f"| {' | '.join([*each, *cells])} | {min(times[each]):.1f} |")


if __name__ == "__main__":
    main()
