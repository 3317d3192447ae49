"""The most similar images of a feature file, found exactly, in blocks and in bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.heads.cores import n_cores
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.principal_axes import unit, with_length
from headbench.extract.images.stream import map_ahead

# Rows of the file at a time, and queries for which the file is read once: their product has at most
# 8 million numbers.
BLOCK_ROWS, MOST_QUERIES = 8192, 1024
# Times k: with more candidates than that for a query, the k largest are found before sorting.
MANY = 4


class Nearest(NamedTuple):
    """The most similar images of each query, the most similar first; equal ones by row.

    Attributes
    ----------
    rows : intp (n_queries, k)
        Rows of the feature file.
    similarity : float32 (n_queries, k)
        Cosine of the embeddings, -1 to 1; 0 where one of them is zero. Where only the row that was
        left out remains, it is -inf.
    """

    rows: NDArray[np.intp]
    similarity: NDArray[np.float32]


def find_nearest(
    features: FeatureFile,
    queries: NDArray[np.float32],
    k: int,
    rows: NDArray[np.intp],
    left_out: NDArray[np.intp] | None = None,
) -> Nearest:
    """Compare queries with every image in some rows; the file is read once for 1 024 queries.

    Parameters
    ----------
    queries : float32 (n_queries, dim)
    k : int
        Images for each query; fewer if there are not as many.
    rows : intp (n_rows,)
        Rows of the file to search, ascending.
    left_out : intp (n_queries,), optional
        A row that each query must not find, such as its own; -1 for none.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    """
    left_out = np.full(len(queries), -1) if left_out is None else left_out
    parts = row_blocks(len(queries), MOST_QUERIES)
    k = min(k, len(rows))
    with Progress("compare", len(rows) * len(parts)) as progress:
        found = [
            _nearest(features, unit(queries[part]), k, rows, left_out[part], progress)
            for part in parts
        ]
    if not found:
        return Nearest(np.empty((0, k), np.intp), np.empty((0, k), np.float32))
    return Nearest(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _nearest(
    features: FeatureFile,
    queries: NDArray[np.float32],
    k: int,
    rows: NDArray[np.intp],
    left_out: NDArray[np.intp],
    progress: Progress,
) -> Nearest:
    shape, last = (len(queries), k), np.iinfo(np.intp).max
    best = Nearest(np.full(shape, last), np.full(shape, -np.inf, np.float32))
    for some, similarity in _compared(features, queries, rows):
        if (left_out >= 0).any():
            similarity[some == left_out[:, None]] = -np.inf
        best = _kept(best, some, similarity, k)
        progress.update(len(some))
    return best


def _compared(
    features: FeatureFile, queries: NDArray[np.float32], rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Some rows, and the similarity of each query to each, block by block."""

    def compare(some: NDArray[np.intp]) -> NDArray[np.float32]:
        X, length = with_length(features.read(some))
        return np.minimum(queries @ X.T / np.where(length > 0, length, 1), 1)

    blocks, n_threads = [rows[block] for block in row_blocks(len(rows), BLOCK_ROWS)], n_cores()
    # Blocks side by side are faster than each of them in all threads.
    with threadpool_limits(1, "blas"):
        yield from zip(blocks, map_ahead(compare, blocks, n_threads, 2 * n_threads), strict=True)


def _kept(
    best: Nearest, rows: NDArray[np.intp], similarity: NDArray[np.float32], k: int
) -> Nearest:
    """The `k` best of those found before and of some more rows, which come later in the file."""
    # An equal one that comes later is not better.
    is_better = similarity > best.similarity[:, -1:]
    if is_better.sum() > MANY * k * len(similarity):
        is_better &= similarity >= np.partition(similarity, -k, axis=1)[:, -k, None]
    query, column = np.nonzero(is_better)
    queries = np.concatenate([np.repeat(np.arange(len(similarity)), k), query])
    found = np.concatenate([best.rows.ravel(), rows[column]])
    values = np.concatenate([best.similarity.ravel(), similarity[query, column]])
    order = np.lexsort((found, -values, queries))
    starts = np.searchsorted(queries[order], np.arange(len(similarity)))
    kept = order[starts[:, None] + np.arange(k)]
    return Nearest(found[kept], values[kept])
