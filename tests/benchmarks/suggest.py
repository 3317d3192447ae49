"""Accuracy against the number of labels, for each rule that chooses what to label next.

::

    python -m tests.benchmarks.suggest runs/dense/features.h5
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from headbench.cache.reader import FeatureFile
from headbench.classify.inspection.label_next import RULES, choose, distance_to, uncertainty
from headbench.classify.inspection.principal_axes import unit

CHANCE = "chance"
STEPS = (20, 40, 80, 120, 160, 200, 300, 400)
N_SEEDS = 5
# Student's t for 95 % and 4 degrees of freedom.
T = 2.776


def main() -> None:
    """Print a table: test accuracy, its mean over the seeds and a 95 % interval of that mean."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.suggest")
    parser.add_argument("features", type=Path, help="a file with labels; train is the pool")
    with FeatureFile(parser.parse_args().features) as features:
        pool, test = features.load("train"), features.load("test")
    found = {
        rule: np.array([list(accuracies(rule, pool, test, seed)) for seed in range(N_SEEDS)])
        for rule in (CHANCE, *RULES)
    }
    print(f"pool {len(pool[0])}, test {len(test[0])}, {N_SEEDS} seeds")
    print("| labels | " + " | ".join(found) + " |")
    for step, n_labels in enumerate(STEPS):
        cells = [mean_and_interval(values[:, step]) for values in found.values()]
        print(f"| {n_labels} | " + " | ".join(cells) + " |")
    print("\nminus chance, paired by seed")
    for step, n_labels in enumerate(STEPS):
        cells = [mean_and_interval((found[rule] - found[CHANCE])[:, step]) for rule in RULES]
        print(f"| {n_labels} | " + " | ".join(cells) + " |")


def accuracies(
    rule: str,
    pool: tuple[NDArray[np.float32], NDArray[np.int32]],
    test: tuple[NDArray[np.float32], NDArray[np.int32]],
    seed: int,
) -> Iterator[float]:
    """Test accuracy after each of `STEPS`; the first labels are drawn at random, equal for all."""
    (X, y), (X_test, y_test) = pool, test
    X, X_test = unit(X), unit(X_test)
    rng = np.random.default_rng(seed)
    head, is_labelled = LogisticRegression(C=100, max_iter=2000), np.zeros(len(X), dtype=bool)
    is_labelled[rng.permutation(len(X))[: STEPS[0]]] = True
    for step, n_labels in enumerate(STEPS):
        if step:
            rows = np.flatnonzero(~is_labelled)
            new = chosen(rule, X, rows, is_labelled, head, n_labels - is_labelled.sum(), rng)
            is_labelled[rows[new]] = True
        head.fit(X[is_labelled], y[is_labelled])
        yield float((head.predict(X_test) == y_test).mean())


def chosen(
    rule: str,
    X: NDArray[np.float32],
    rows: NDArray[np.intp],
    is_labelled: NDArray[np.bool_],
    head: LogisticRegression,
    n: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Positions in `rows` of what to label."""
    if rule == CHANCE:
        return rng.choice(len(rows), n, replace=False)
    distance = partial(_distance, X, np.flatnonzero(is_labelled))
    unsure = uncertainty(np.float32(head.predict_proba(X[rows])))
    return choose(rule, X.__getitem__, rows, unsure, distance, n)


def _distance(
    X: NDArray[np.float32], labelled: NDArray[np.intp], rows: NDArray[np.intp]
) -> NDArray[np.float32]:
    return distance_to(X.__getitem__, rows, X.__getitem__, labelled)


def mean_and_interval(values: NDArray[np.float64]) -> str:
    """In percent."""
    mean, half = 100 * values.mean(), 100 * T * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"


if __name__ == "__main__":
    main()
