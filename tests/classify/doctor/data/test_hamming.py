"""The search misses no pair, and gives up rather than fill the memory."""

import numpy as np
import pytest

from classify.doctor.data import hamming
from classify.doctor.data.hamming import MOST_BITS, Search

MASK = np.uint64(0x5555_5555_5555_5555)


def brute_force(hashes: np.ndarray, others: np.ndarray) -> set[tuple[int, int]]:
    first, second = np.triu_indices(len(hashes), 1)
    near = np.bitwise_count(hashes[first] ^ others[second]) <= MOST_BITS
    return set(zip(first[near].tolist(), second[near].tolist(), strict=True))


def found_by(search: Search) -> list[tuple[int, int]]:
    first, second = search.pairs()
    return list(zip(first.tolist(), second.tolist(), strict=True))


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_the_search_finds_what_comparing_each_with_each_finds(is_mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    # 40 hashes, each 25 times with every bit changed by a chance of 0.1: many pairs of 9 bits, of
    # 10, and of 8. Every other one is a mirror image.
    base = np.repeat(rng.integers(2**63, size=40, dtype=np.uint64), 25)
    base[1::2] ^= MASK
    changed = rng.random((64, len(base))) < 0.1
    hashes = base ^ np.bitwise_or.reduce(
        changed.astype(np.uint64) << np.arange(64, dtype=np.uint64)[:, None], axis=0
    )
    others = hashes ^ MASK if is_mirrored else hashes
    expected = brute_force(hashes, others)
    found = found_by(Search(hashes, others))
    assert len(expected) > 1000
    assert len(found) == len(expected)
    assert set(found) == expected


def test_9_bits_are_near_and_10_are_not_wherever_they_lie() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        bits = rng.choice(64, size=10, replace=False).tolist()
        for n_bits, n_pairs in ((9, 1), (10, 0)):
            other = sum(1 << bit for bit in bits[:n_bits])
            hashes = np.array([0, other], dtype=np.uint64)
            assert len(found_by(Search(hashes, hashes))) == n_pairs


def test_a_search_among_equal_hashes_is_given_up_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hamming, "MOST_PAIRS", 1000)
    hashes = np.zeros(200, dtype=np.uint64)
    search = Search(hashes, hashes)
    assert len(search.pairs()[0]) == 1000
    assert not search.is_complete


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.repeat(np.arange(50, dtype=np.uint64) << np.uint64(13), 4)
    whole = found_by(Search(hashes, hashes))
    monkeypatch.setattr(hamming, "BLOCK_CANDIDATES", 7)
    assert found_by(Search(hashes, hashes)) == whole
