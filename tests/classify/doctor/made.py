"""Heads by their predictions, and embeddings by their classes."""

import numpy as np

from headbench.classify.doctor.head_findings import Scored, TrainSample
from headbench.classify.intervals import wilson

RNG = np.random.default_rng(0)


def head(
    y_val: list[int] | np.ndarray,
    predicted: list[int] | np.ndarray,
    on_train: tuple[int, int] | None = (90, 100),
    name: str = "logreg",
    kind: str = "LogReg",
) -> Scored:
    """A head with these predictions on val, and so many right of so many on train."""
    y, given = np.array(y_val, dtype=np.int32), np.array(predicted, dtype=np.intp)
    n_right = int((y == given).sum())
    train = None if on_train is None else wilson(*on_train)
    return Scored(name, kind, y, given, wilson(n_right, len(y)), train)


def right_for(n_right: int, n: int = 100, n_classes: int = 10, name: str = "logreg") -> Scored:
    """A head that has the first images of val right, and calls the others by the next class."""
    y = np.arange(n) % n_classes
    given = np.where(np.arange(n) < n_right, y, (y + 1) % n_classes)
    return head(y, given, name=name)


def sample_of(y: np.ndarray, strength: float) -> TrainSample:
    """Embeddings of 32 columns around a mean for each class, more or less far apart."""
    means = np.random.default_rng(1).normal(size=(y.max() + 1, 32))
    X = strength * means[y] + RNG.normal(size=(len(y), 32))
    return TrainSample(X.astype(np.float32), y.astype(np.int32), len(y))


def shuffled(sample: TrainSample) -> TrainSample:
    return TrainSample(sample.X, RNG.permutation(sample.y), sample.n_train)
