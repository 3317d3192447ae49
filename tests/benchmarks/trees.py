"""``make bench-trees``: which columns trees should use, and what they should start from.

Log loss on val and seconds of `LightGBM`, beside the same with other columns and starts, on
several data sets. ``--features FILE`` adds the embeddings of a run; its val and test are measured
together. Trees on the embeddings as they are take minutes beyond `RAW_ROWS` rows of 101 classes,
and are left out there.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from sklearn.datasets import load_digits

from headbench.cache.reader import FeatureFile
from headbench.classify.heads import tree_columns
from headbench.classify.heads.boosting import LightGBM
from tests.benchmarks.food101_like import World
from tests.benchmarks.results import Result, report

RAW_ROWS = 10_000
RAW_ROUNDS = 200
MOST_VAL = 3030

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def digits() -> Data:
    """scikit-learn's handwritten digits: 64 pixels as columns."""
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))
    train, val = rows[:1000], rows[1000:]
    return X[train].astype(np.float32), y[train], X[val].astype(np.float32), y[val]


def generated(n_rows: int, n_classes: int) -> Data:
    """Embeddings of 2 048 columns, shaped like those of Food-101."""
    world = World(n_classes=n_classes)
    return *world.draw(n_rows, seed=1), *world.draw(min(MOST_VAL, n_rows // 2), seed=2)


def stored(path: Path) -> Data:
    """Embeddings of a run."""
    with FeatureFile(path) as features:
        (X, y), *others = (features.load(split) for split in ("train", "val", "test"))
    return (
        X,
        y,
        np.concatenate([each[0] for each in others]),
        np.concatenate([each[1] for each in others]),
    )


SETS: dict[str, Callable[[], Data]] = {
    "digits, 1 000 x 64, 10 classes": digits,
    "generated, 6 000 x 2 048, 2 classes": partial(generated, 6000, 2),
    "generated, 1 000 x 2 048, 10 classes": partial(generated, 1000, 10),
    "generated, 1 010 x 2 048, 101 classes": partial(generated, 1010, 101),
    "generated, 6 072 x 2 048, 101 classes": partial(generated, 6072, 101),
    "generated, 20 200 x 2 048, 101 classes": partial(generated, 20_200, 101),
    "generated, 60 600 x 2 048, 101 classes": partial(generated, 60_600, 101),
}


class Variant(NamedTuple):
    """Another plan: what is set in the code, and in the head."""

    patched: Callable[[], AbstractContextManager[Any]] = nullcontext
    settings: dict[str, Any] = {}  # noqa: RUF012, not written to


def _penalty(value: float) -> Variant:
    return Variant(partial(patch.object, tree_columns, "PENALTY_PER_COLUMN", value))


OURS = Variant()
PEERS = {
    f"columns as they are, {RAW_ROUNDS} rounds": Variant(
        settings={"projection": "none", "max_rounds": RAW_ROUNDS}
    ),
    "scores and axes, from nothing": Variant(
        partial(patch.object, tree_columns, "_sharpness", lambda *_: np.zeros(()))
    ),
    "penalty of 1 for each column": _penalty(1.0),
    "penalty of 10 for each column": _penalty(10.0),
}


def fitted(variant: Variant, data: Data) -> dict[str, float]:
    """Log loss on val, rounds and seconds."""
    started, before = time.perf_counter(), time.process_time()
    with variant.patched():
        head = LightGBM(**variant.settings).fit(*data)
    return {
        "loss": min(head.history_["val_log_loss"]),
        "rounds": head.chosen_["rounds"],
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - before,
    }


def compared(name: str, data: Data) -> Iterator[Result]:
    """Ours beside each other plan on one data set."""
    ours = fitted(OURS, data)
    print(f"{name}: ours {ours}", flush=True)
    for peer, variant in PEERS.items():
        if "projection" in variant.settings and len(data[0]) > RAW_ROWS:
            continue
        found = fitted(variant, data)
        print(f"{name}: {peer} {found}", flush=True)
        yield Result(f"{name}: log loss", "nats", ours["loss"], found["loss"], peer)
        yield Result(f"{name}: fit", "s", ours["seconds"], found["seconds"], peer)


def main() -> None:
    """Measure every data set, or those whose name contains one of the words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, help="a feature file, measured too")
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names of data sets")
    arguments = parser.parse_args()
    sets = dict(SETS)
    if arguments.features:
        sets = {arguments.features.parent.name: partial(stored, arguments.features), **sets}
    chosen = {name for name in sets for word in arguments.only if word in name}
    results = [each for name in sets if name in chosen for each in compared(name, sets[name]())]
    report("trees", results)


if __name__ == "__main__":
    main()
