"""All pairs of embeddings that are near each other, exactly and in bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.heads.streaming import row_blocks
from classify.inspection.leaves import Candidates, candidates
from classify.inspection.projection import Projection, unit

TILE_ROWS = 8192
GATHERED_ROWS = 1024
# Candidates that wait to be checked: bounds memory.
MOST_CANDIDATES = 2_000_000
# Cosines from float32 are right to about 1e-6.
ROUNDING = 1e-5


class Found(NamedTuple):
    """Near copies, the most similar first.

    Attributes
    ----------
    first, second : intp (n,)
        Rows of the feature file; first < second.
    similarity : float32 (n,)
    n_found : int
        How many there are; more than n if only the most similar are kept.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    similarity: NDArray[np.float32]
    n_found: int

    @classmethod
    def nothing(cls) -> "Found":
        """No pair."""
        none = np.empty(0, dtype=np.intp)
        return cls(none, none, np.empty(0, dtype=np.float32), 0)

    def and_also(self, other: "Found", n_most: int) -> "Found":
        """Both, the `n_most` most similar kept."""
        first = np.concatenate([self.first, other.first])
        second = np.concatenate([self.second, other.second])
        similarity = np.concatenate([self.similarity, other.similarity])
        order = np.lexsort((second, first, -similarity))[:n_most]
        n_found = self.n_found + other.n_found
        return Found(first[order], second[order], similarity[order], n_found)


def find_near(features: FeatureFile, projection: Projection, n_most: int) -> Found:
    """The pairs in different splits or with different labels that reach the threshold.

    What may be near by its projection is compared by the embeddings themselves.

    Parameters
    ----------
    features : FeatureFile
    projection : Projection
    n_most : int
        How many to keep.

    Returns
    -------
    Found
        Without pairs of equal files; nothing if the projection has no threshold.
    """
    found, threshold = Found.nothing(), projection.threshold
    if threshold is None:
        return found
    for first, second in _batches(candidates(projection, 1 - threshold + ROUNDING)):
        checked = _check(features, projection.rows.row, first, second, threshold)
        found = found.and_also(checked, n_most)
    return found


def _batches(parts: Iterator[Candidates]) -> Iterator[Candidates]:
    """Candidates put together, so that each batch reads the file once."""
    waiting: list[Candidates] = []
    n_waiting = 0
    for each in parts:
        waiting.append(each)
        n_waiting += len(each[0])
        if n_waiting >= MOST_CANDIDATES:
            yield _together(waiting)
            waiting, n_waiting = [], 0
    yield _together(waiting)


def _together(parts: list[Candidates]) -> Candidates:
    none = np.empty(0, dtype=np.intp)
    firsts, seconds = zip((none, none), *parts, strict=True)
    return np.concatenate(firsts), np.concatenate(seconds)


def _check(
    features: FeatureFile,
    row: NDArray[np.intp],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
) -> Found:
    """The candidates whose embeddings are near, which are read a tile at a time."""
    first, second = np.minimum(first, second), np.maximum(first, second)
    needed, which = np.unique(np.concatenate([first, second]), return_inverse=True)
    a, b = which[: len(first)], which[len(first) :]
    similarity = np.empty(len(first), dtype=np.float32)
    tiles = row_blocks(len(needed), TILE_ROWS)
    for number, tile in enumerate(tiles):
        X = unit(features.read(row[needed[tile]]))
        of_tile = a // TILE_ROWS == number
        for other in np.unique(b[of_tile] // TILE_ROWS).tolist():
            chosen = np.flatnonzero(of_tile & (b // TILE_ROWS == other))
            Z = X if other == number else unit(features.read(row[needed[tiles[other]]]))
            similarity[chosen] = _cosines(X, a[chosen] % TILE_ROWS, Z, b[chosen] % TILE_ROWS)
    kept = similarity >= threshold
    return Found(row[first[kept]], row[second[kept]], similarity[kept], int(kept.sum()))


def _cosines(
    X: NDArray[np.float32],
    of_X: NDArray[np.intp],
    Z: NDArray[np.float32],
    of_Z: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Cosine of each pair of a row of X and a row of Z, all of length 1."""
    cosines = np.empty(len(of_X), dtype=np.float32)
    for some in row_blocks(len(of_X), GATHERED_ROWS):
        cosines[some] = np.einsum("ij,ij->i", X[of_X[some]], Z[of_Z[some]])
    return np.minimum(cosines, 1)
