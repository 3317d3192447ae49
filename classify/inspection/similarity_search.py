"""All pairs of embeddings that are near-duplicates, found exactly and in bounded memory.

Rows are put into leaves of neighbours, as in a k-d tree. Rows close to the box around a leaf are
compared with the leaf on the first principal axes; pairs that are near there, on all axes; pairs
that are near there too, by their embeddings. No step loses a pair.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads.cores import n_cores
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.principal_axes import Projection, Rows, unit
from headbench.extract.images.stream import map_ahead

# Measured on 101 000 rows: 24 axes beat 16 and 32, 512 rows beat 128, 256 and 1 024.
N_COARSE = 24
LEAF_ROWS = 512
CHUNK_ROWS = 8192
# Of a product that stays in the processor's cache: 1.8 times as fast as 8 192.
PRODUCT_ROWS = 1024
NONE = np.empty(0, dtype=np.intp)

Candidates = tuple[NDArray[np.intp], NDArray[np.intp]]
TILE_ROWS = 8192
GATHERED_ROWS = 1024
# Candidates that wait to be checked: bounds memory.
MOST_CANDIDATES = 2_000_000
# Of a leaf: 320 MB.
MOST_OF_LEAF = 20_000_000
# Cosines from float32 are right to about 1e-6.
ROUNDING = 1e-5


class Leaves(NamedTuple):
    """Points in the order of their leaves.

    Attributes
    ----------
    order : intp (n,)
        Position of each point in the projection.
    points : float32 (n, n_axes + 1)
    coarse : float32 (n, at most N_COARSE + 1)
        The same on the first axes.
    half : float32 (n,)
        Half of the squared length of `coarse`.
    starts : intp (n_leaves + 1,)
        Where each leaf begins, and where the last one ends.
    low, high : float32 (n_leaves, at most N_COARSE + 1)
        The box around each leaf.
    """

    order: NDArray[np.intp]
    rows: Rows
    points: NDArray[np.float32]
    coarse: NDArray[np.float32]
    half: NDArray[np.float32]
    starts: NDArray[np.intp]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


def _leaves(projection: Projection) -> Leaves:
    parts = _split(projection.points, np.arange(len(projection.points)))
    starts = np.cumsum([0, *map(len, parts)])
    order = np.concatenate(parts)
    points = projection.points[order]
    rest = points[:, N_COARSE:]
    length = np.sqrt(np.einsum("ij,ij->i", rest, rest))
    coarse = np.column_stack([points[:, :N_COARSE], length])
    half = np.einsum("ij,ij->i", coarse, coarse) / 2
    low, high = (edge.reduceat(coarse, starts[:-1]) for edge in (np.minimum, np.maximum))
    return Leaves(order, projection.rows.take(order), points, coarse, half, starts, low, high)


def _split(points: NDArray[np.float32], chosen: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Halve at the median of the axis that varies most, until a leaf is small."""
    if len(chosen) <= LEAF_ROWS:
        return [chosen]
    values = points[chosen, :N_COARSE]
    middle = len(chosen) // 2
    parted = np.argpartition(values[:, values.var(axis=0).argmax()], middle)
    return [
        *_split(points, chosen[parted[:middle]]),
        *_split(points, chosen[parted[middle:]]),
    ]


def candidates(projection: Projection, gap: float) -> Iterator[Candidates]:
    """Positions in the projection whose embeddings may be near, some at a time."""
    leaves = _leaves(projection)
    n_leaves, n_threads = len(leaves.low), n_cores()
    work = partial(_near_leaf, leaves, gap)
    with Progress("near-duplicates", n_leaves, "groups of images") as progress:
        for found in map_ahead(work, range(n_leaves), n_threads, 2 * n_threads):
            yield from found
            progress.update()


def _near_leaf(leaves: Leaves, gap: float, number: int) -> list[Candidates]:
    """Pairs of a row of a leaf and a later row."""
    low, high = leaves.low[number], leaves.high[number]
    apart = np.maximum(leaves.low[number:] - high, low - leaves.high[number:])
    is_close = (np.maximum(apart, 0) ** 2).sum(axis=1) <= 2 * gap
    later = leaves.starts[number] + np.flatnonzero(
        np.repeat(is_close, np.diff(leaves.starts[number:]))
    )
    found: list[Candidates] = []
    n_found = 0
    for chunk in row_blocks(len(later), CHUNK_ROWS):
        found.append(_near_chunk(leaves, gap, number, later[chunk]))
        n_found += len(found[-1][0])
        if n_found > MOST_OF_LEAF:
            raise RunError(
                f"an image has {n_found // LEAF_ROWS} and more others whose similarity may reach "
                f"{1 + ROUNDING - gap:.3g}: expected fewer. Choose a higher threshold."
            )
    return found


def _near_chunk(leaves: Leaves, gap: float, number: int, later: NDArray[np.intp]) -> Candidates:
    leaf = slice(*leaves.starts[number : number + 2])
    points = leaves.coarse[later]
    outside = np.clip(points, leaves.low[number], leaves.high[number])
    outside -= points
    is_close = np.einsum("ij,ij->i", outside, outside) <= 2 * gap
    later, points = later[is_close], points[is_close]
    # Half of the squared distance is half[i] + half[j] - product: two more columns, and what may be
    # near is what is not negative.
    ones = np.ones((len(points), 1), dtype=np.float32)
    right = np.hstack([points, ones, -leaves.half[later, None]])
    bound = gap - leaves.half[leaf, None]
    left = np.hstack([leaves.coarse[leaf], bound, np.ones_like(bound)])
    hits = [_hits(left, right[tile], tile.start) for tile in row_blocks(len(right), PRODUCT_ROWS)]
    first, second = (np.concatenate(each) for each in zip((NONE, NONE), *hits, strict=True))
    return _confirmed(leaves, gap, first + leaf.start, later[second])


def _hits(left: NDArray[np.float32], right: NDArray[np.float32], start: int) -> Candidates:
    """Rows of `left`, and of `right` from `start` on, whose product is not negative."""
    first, second = np.divmod(np.flatnonzero(left @ right.T >= 0), len(right))
    return first, second + start


def _confirmed(
    leaves: Leaves, gap: float, first: NDArray[np.intp], second: NDArray[np.intp]
) -> Candidates:
    """Those of the pairs that clash and are near on all axes too."""
    rows = leaves.rows
    is_pair = second > first
    is_pair &= rows.place[first] != rows.place[second]
    is_pair &= rows.content[first] != rows.content[second]
    first, second = first[is_pair], second[is_pair]
    is_near = _half_distances(leaves.points, first, second) <= gap
    return leaves.order[first[is_near]], leaves.order[second[is_near]]


def _half_distances(
    points: NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Half of the squared distance of each pair."""
    halves = np.empty(len(first), dtype=np.float32)
    for some in row_blocks(len(first)):
        apart = points[first[some]] - points[second[some]]
        halves[some] = np.einsum("ij,ij->i", apart, apart) / 2
    return halves


class Found(NamedTuple):
    """Near-duplicates, the most similar first.

    Attributes
    ----------
    first, second : intp (n,)
        Rows of the feature file; first < second.
    similarity : float32 (n,)
    n_found : int
        Number of all pairs; more than n if only the most similar are kept.
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
    """Find the pairs in different splits or with different labels that reach the threshold.

    Pairs that may be near by their projection are compared by their embeddings.

    Parameters
    ----------
    n_most : int
        Largest number of pairs to keep.

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
