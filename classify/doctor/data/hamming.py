"""All pairs of 64-bit hashes that differ in few bits, without comparing each with each."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

N_BITS, BAND_BITS = 64, 16
N_BANDS = N_BITS // BAND_BITS
N_BUCKETS = 2**BAND_BITS
# Hashes that differ in 9 bits at most differ in 2 at most in one of the first two bands, or in 1 at
# most in one of the others: else it would be 3 + 3 + 2 + 2 = 10.
BAND_DISTANCES = (2, 2, 1, 1)
MOST_BITS = sum(most + 1 for most in BAND_DISTANCES) - 1
BLOCK_CANDIDATES = 2_000_000
# Half a minute's work, and memory for as many pairs; only pictures that are all alike need more.
MOST_CANDIDATES = 1_000_000_000
MOST_PAIRS = 2_000_000

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


class Search:
    """Multi-index hashing (Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space").

    Parameters
    ----------
    hashes, others : uint64 (n,)
        Two hashes of each of n things.

    Attributes
    ----------
    is_complete : bool
        False once the search was given up.
    """

    def __init__(self, hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> None:
        self.is_complete = True
        self._hashes, self._others = hashes, others

    def pairs(self) -> Pairs:
        """Pairs of which ``hashes[first]`` and ``others[second]`` differ in 9 bits at most.

        Returns
        -------
        first, second : intp (n_pairs,)
            first < second, each pair once, sorted.
        """
        n = max(len(self._hashes), 1)
        found, n_found, n_candidates = [np.empty(0, dtype=np.intp)], 0, 0
        for first, second in self._candidates():
            distance = np.bitwise_count(self._hashes[first] ^ self._others[second])
            near = distance <= MOST_BITS
            found.append(first[near] * n + second[near])
            n_found += len(found[-1])
            n_candidates += len(first)
            if n_found > MOST_PAIRS or n_candidates > MOST_CANDIDATES:
                found = [np.unique(np.concatenate(found))]
                n_found = len(found[0])
                self.is_complete = n_found <= MOST_PAIRS and n_candidates <= MOST_CANDIDATES
                if not self.is_complete:
                    break
        first, second = np.divmod(np.unique(np.concatenate(found))[:MOST_PAIRS], n)
        return first, second

    def _candidates(self) -> Iterator[Pairs]:
        """Pairs that are near in one band, some at a time; a pair may come several times."""
        for band, most in enumerate(BAND_DISTANCES):
            keys, other_keys = _band(self._hashes, band), _band(self._others, band)
            order = np.argsort(other_keys, kind="stable")
            starts = np.searchsorted(other_keys[order], np.arange(N_BUCKETS + 1))
            for flipped in _flips(most):
                buckets = keys ^ flipped
                yield from _with_bucket(order, starts[buckets], starts[buckets + 1])


def _band(hashes: NDArray[np.uint64], band: int) -> NDArray[np.intp]:
    shifted = hashes >> np.uint64(band * BAND_BITS)
    return np.asarray((shifted & np.uint64(N_BUCKETS - 1)).astype(np.intp))


def _flips(most: int) -> Iterator[int]:
    """Every number of 16 bits of which `most` at most are set."""
    for n_flipped in range(most + 1):
        for bits in combinations(range(BAND_BITS), n_flipped):
            yield sum(1 << bit for bit in bits)


def _with_bucket(
    order: NDArray[np.intp], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> Iterator[Pairs]:
    """Each thing with all later ones among ``order[start:end]`` of its own."""
    total = np.cumsum(ends - starts)
    n_blocks = int(total[-1]) // BLOCK_CANDIDATES + 1 if len(total) else 0
    bounds = np.searchsorted(total, np.arange(1, n_blocks) * BLOCK_CANDIDATES)
    for rows in np.split(np.arange(len(starts)), bounds):
        counts = ends[rows] - starts[rows]
        first = np.repeat(rows, counts)
        within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        second = order[np.repeat(starts[rows], counts) + within]
        is_later = first < second
        yield first[is_later], second[is_later]
