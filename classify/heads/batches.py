"""Batches in random order, from memory or from a feature file that does not fit in it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from classify.heads.blocks import row_blocks
from classify.heads.head import Labelled
from classify.heads.stored import StoredRows

# Rows read from the file in one go, and rows shuffled together: 64 MB at 2 048 columns. A folder's
# images stand side by side in the file, so many short runs make a fair mixture of classes.
RUN_ROWS = 128
SHUFFLED_ROWS = 8192

Batch = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float64]]


def epoch_batches(data: Labelled, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Every image once, in random order.

    Parameters
    ----------
    data : Labelled
        Of embeddings in a file, 8 192 are in memory at a time and shuffled together.
    batch_size : int
        The last batch may be shorter, of a file the last of each 8 192.
    rng : numpy.random.Generator
    """
    if isinstance(data.X, StoredRows):
        return _from_file(data.X, data, batch_size, rng)
    return _from_memory(data, batch_size, rng)


def _from_memory(data: Labelled, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    order = rng.permutation(len(data.y))
    for batch in row_blocks(len(order), batch_size):
        rows = order[batch]
        yield data.X[rows], data.y[rows], data.weight[rows]


def _from_file(
    X: StoredRows, data: Labelled, batch_size: int, rng: np.random.Generator
) -> Iterator[Batch]:
    runs = np.split(np.arange(len(X)), np.arange(RUN_ROWS, len(X), RUN_ROWS))
    order = np.concatenate([runs[each] for each in rng.permutation(len(runs))])
    for window in row_blocks(len(order), SHUFFLED_ROWS):
        positions = np.sort(order[window])
        embeddings = X[positions]
        shuffled = rng.permutation(len(positions))
        for batch in row_blocks(len(positions), batch_size):
            here = shuffled[batch]
            rows = positions[here]
            yield embeddings[here], data.y[rows], data.weight[rows]
