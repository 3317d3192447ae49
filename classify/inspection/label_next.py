"""Which images to label next: those that a head is unsure of, or that are unlike labelled ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.principal_axes import unit

UNCERTAINTY, COVER, BOTH = "uncertainty", "cover", "both"
RULES = {
    UNCERTAINTY: "the smallest margins between the two most probable classes",
    COVER: "each the farthest from train and from those before it (greedy k-centre)",
    BOTH: "spread out among 3 times as many with the smallest margins",
}
# For `both`: of so many times the images wanted, the most uncertain, cover chooses.
SHORTLIST = 3
BLOCK_ROWS = 8192
# Embeddings that cover holds in memory.
POOL_BYTES = 512 << 20

# Embeddings of some rows, float32 (n, dim).
Read = Callable[[NDArray[np.intp]], NDArray[np.float32]]


def uncertainty(proba: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 minus the margin between the two most probable classes, float32 (n,), 0 to 1.

    The margin is known to choose better than the entropy where there are many classes: it does not
    look at those that are out of the question (Joshi, Porikli and Papanikolopoulos, 2009).

    Parameters
    ----------
    proba : float32 (n, n_classes)
        At least two classes.
    """
    second, first = np.partition(proba, (-2, -1), axis=1)[:, -2:].T
    return np.asarray(1 - (first - second), dtype=np.float32)


def distance_to(
    read: Read, rows: NDArray[np.intp], read_others: Read, others: NDArray[np.intp]
) -> NDArray[np.float32]:
    """1 minus the cosine of each embedding and the most similar of others, float32 (n_rows,).

    2 without others. Embeddings are read in blocks.
    """
    distance = np.full(len(rows), 2, dtype=np.float32)
    for block in row_blocks(len(rows), BLOCK_ROWS):
        X = unit(read(rows[block]))
        for some in row_blocks(len(others), BLOCK_ROWS):
            nearest = (X @ unit(read_others(others[some])).T).max(axis=1)
            np.minimum(distance[block], 1 - nearest, out=distance[block])
    return distance


def spread_out(
    read: Read, rows: NDArray[np.intp], distance: NDArray[np.float32], n: int
) -> NDArray[np.intp]:
    """Positions in `rows` of `n` images, each the farthest from all that were chosen before.

    That is the greedy k-centre rule (Sener and Savarese, 2018), without an approximation: only the
    farthest rows are held in memory, until one that is not held could be farther.

    Parameters
    ----------
    distance : float32 (n_rows,)
        To the nearest labelled image: see `distance_to`.
    n : int
        At most n_rows.
    """
    distance, chosen = distance.copy(), np.empty(0, dtype=np.intp)
    n_held = max(1, POOL_BYTES // max(1, 4 * read(rows[:1]).shape[1]))
    while len(chosen) < n:
        farthest = np.argsort(-distance, kind="stable")
        held, others = np.split(farthest, [n_held])
        bound = distance[others[0]] if len(others) else -np.inf
        new = _choose(unit(read(rows[held])), held, distance, bound, n - len(chosen))
        chosen = np.append(chosen, new)
        if len(chosen) < n:
            nearer = distance_to(read, rows[others], read, rows[new])
            distance[others] = np.minimum(distance[others], nearer)
    return chosen


def _choose(
    X: NDArray[np.float32],
    held: NDArray[np.intp],
    distance: NDArray[np.float32],
    bound: float,
    n: int,
) -> NDArray[np.intp]:
    """At least one of the rows that are held, and more while none is nearer than `bound`."""
    chosen: list[int] = []
    of_held = distance[held]
    while len(chosen) < n and (not chosen or of_held.max() >= bound):
        place = int(of_held.argmax())
        if np.isneginf(of_held[place]):
            break
        chosen.append(place)
        np.minimum(of_held, 1 - X @ X[place], out=of_held)
        of_held[chosen] = -np.inf
    distance[held] = of_held
    return held[chosen]


def choose(
    rule: str,
    read: Read,
    rows: NDArray[np.intp],
    unsure: NDArray[np.float32],
    distance: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    n: int,
) -> NDArray[np.intp]:
    """Positions in `rows` of `n` images to label, the most wanted first.

    Parameters
    ----------
    rule : {"uncertainty", "cover", "both"}
        `both`: `spread_out` among the 3 n most uncertain.
    rows : intp (n_rows,)
        Rows without a label.
    unsure : float32 (n_rows,)
        See `uncertainty`.
    distance : callable
        Distance of some rows to the nearest labelled image: see `distance_to`.
    n : int
        At most n_rows.
    """
    shortlist = np.argsort(-unsure, kind="stable")
    if rule == UNCERTAINTY:
        return shortlist[:n]
    shortlist = shortlist[: SHORTLIST * n] if rule == BOTH else np.arange(len(rows))
    return shortlist[spread_out(read, rows[shortlist], distance(rows[shortlist]), n)]
