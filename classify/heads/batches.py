"""Batches in random order, from memory or from a feature file that does not fit in it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.heads.blocks import row_blocks
from classify.heads.head import Labelled
from classify.heads.moments import moments, moments_of_blocks

# Rows read from the file in one go, and rows shuffled together: 64 MB at 2 048 columns. A folder's
# images stand side by side in the file, so many short runs make a fair mixture of classes.
RUN_ROWS = 128
SHUFFLED_ROWS = 8192

Batch = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float64]]


class Batches(Protocol):
    """Embeddings of a split; `y` are positions in the classes, `weight` what each row counts."""

    y: NDArray[np.intp]
    weight: NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """Number of images."""

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each column, float32 (dim,)."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Embeddings in order, some at a time."""

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Every image once, in random order; the last batch may be shorter."""


class ArrayBatches:
    """Of embeddings in memory.

    Parameters
    ----------
    data : Labelled
    """

    def __init__(self, data: Labelled) -> None:
        self.X, self.y, self.weight = data

    @property
    def n_rows(self) -> int:
        """Number of images."""
        return len(self.y)

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each column, float32 (dim,)."""
        return moments(self.X, self.weight)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Embeddings in order, some at a time."""
        return (self.X[rows] for rows in row_blocks(self.n_rows))

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Every image once, in random order; the last batch may be shorter."""
        order = rng.permutation(self.n_rows)
        for batch in row_blocks(self.n_rows, batch_size):
            rows = order[batch]
            yield self.X[rows], self.y[rows], self.weight[rows]


class FileBatches:
    """Of a split of a feature file; 8 192 embeddings are in memory at a time.

    Parameters
    ----------
    features : FeatureFile
    split : {"train", "val", "test"}
    classes : int (n_classes,)
        Labels of the file that are classes, ascending.
    weights : callable
        Gives the weight of each label of an array.
    """

    def __init__(
        self,
        features: FeatureFile,
        split: str,
        classes: NDArray[Any],
        weights: Callable[[NDArray[Any]], NDArray[np.float64]],
    ) -> None:
        self._features = features
        self._rows = features.rows(split)
        labels = features.labels(split)
        self.y = np.searchsorted(classes, labels)
        self.weight = weights(labels)

    @property
    def n_rows(self) -> int:
        """Number of images."""
        return len(self.y)

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each column, float32 (dim,)."""
        weights = (self.weight[rows] for rows in row_blocks(self.n_rows))
        return moments_of_blocks(zip(self.blocks(), weights, strict=True))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Embeddings in order, some at a time."""
        for rows in row_blocks(self.n_rows):
            yield self._features.read(self._rows[rows])

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Every image once, shuffled among 8 192; the last batch of those may be shorter."""
        runs = np.split(np.arange(self.n_rows), np.arange(RUN_ROWS, self.n_rows, RUN_ROWS))
        order = np.concatenate([runs[each] for each in rng.permutation(len(runs))])
        for window in row_blocks(self.n_rows, SHUFFLED_ROWS):
            positions = np.sort(order[window])
            X = self._features.read(self._rows[positions])
            shuffled = rng.permutation(len(positions))
            for batch in row_blocks(len(positions), batch_size):
                here = shuffled[batch]
                rows = positions[here]
                yield X[here], self.y[rows], self.weight[rows]
