"""What `find_duplicates` is measured against: all embeddings compared with all others."""

import numpy as np

from headbench.cache.reader import FeatureFile
from headbench.classify.inspection.near_duplicates import distinct_rows
from headbench.classify.inspection.principal_axes import unit

BLOCK_ROWS = 4096


def brute_force_pairs(
    features: FeatureFile, threshold: float, n_blocks: int | None = None
) -> set[tuple[int, int]]:
    """Near copies of at least this similarity, by products of blocks of float32 of all columns.

    Parameters
    ----------
    features : FeatureFile
    threshold : float
    n_blocks : int, optional
        Compare only so many blocks of rows with all later rows: for a benchmark that has no
        minutes to wait.

    Returns
    -------
    set of (int, int)
        Rows of the file, the smaller one first; exact copies are left out.
    """
    rows = distinct_rows(features.table)
    starts = range(0, len(rows.row), BLOCK_ROWS)
    pairs: set[tuple[int, int]] = set()
    for start in starts[:n_blocks]:
        leaf = slice(start, start + BLOCK_ROWS)
        X = unit(features.read(rows.row[leaf]))
        for other in range(start, len(rows.row), BLOCK_ROWS):
            later = slice(other, other + BLOCK_ROWS)
            Z = X if other == start else unit(features.read(rows.row[later]))
            similarity = X @ Z.T
            near = similarity >= threshold
            near &= rows.place[leaf, None] != rows.place[later]
            near &= rows.content[leaf, None] != rows.content[later]
            a, b = np.nonzero(near)
            a, b = rows.row[start + a], rows.row[other + b]
            pairs |= set(zip(np.minimum(a, b).tolist(), np.maximum(a, b).tolist(), strict=True))
    return pairs
