"""Near-duplicates are found, different pictures are not, and the search compares all pairs."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from headbench.classify.doctor.data import alike
from headbench.classify.doctor.data.alike import (
    MOST_BITS,
    find_alike,
    hash_picture,
    near_pairs,
    shrink,
)
from tests.classify.doctor.data.pictures import picture

MASK = np.uint64(0x5555_5555_5555_5555)


def grey_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((28, 28)), dtype=np.float64)


def pairs_of(*images: Image.Image) -> list[tuple[int, int, bool]]:
    greys = [grey_of(image) for image in images]
    hashes = np.array([hash_picture(grey) for grey in greys], dtype=np.uint64)
    found = find_alike(hashes, np.array([shrink(grey) for grey in greys]))
    return list(zip(found.first, found.second, found.is_mirrored, strict=True))


def test_a_wave_along_one_axis_is_one_bit() -> None:
    # Half a cosine wave from left to right: a single frequency is above 0, those that are 0 but
    # for rounding are signs of nothing.
    wave = np.tile(100 * np.cos(np.pi * (np.arange(28) + 0.5) / 28), (28, 1))
    noise = 1e-3 * np.random.default_rng(0).normal(size=(28, 28))
    differs = hash_picture(wave + noise) ^ hash_picture(-wave + noise)
    assert differs.bit_count() == 1


def test_the_mirror_image_differs_in_the_bits_of_odd_frequencies_alone() -> None:
    one, other = grey_of(picture(1)), grey_of(picture(2))
    flipped = {hash_picture(each) ^ hash_picture(each[:, ::-1]) for each in (one, other)}
    assert len(flipped) == 1
    # Of 9 columns, 1, 3, 5 and 7 are odd: 4 of each of 8 rows.
    assert flipped.pop().bit_count() == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((24, 24)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: image.convert("L"),
    ],
    ids=["smaller", "brighter", "grey"],
)
def test_a_changed_copy_is_found(change) -> None:
    assert pairs_of(picture(1), picture(2), change(picture(1))) == [(0, 2, False)]


def test_a_mirrored_copy_is_found_and_named_so() -> None:
    assert pairs_of(picture(1), picture(2), ImageOps.mirror(picture(1))) == [(0, 2, True)]


def test_a_symmetric_picture_and_its_copy_are_one_pair() -> None:
    left = picture(1, 24)
    symmetric = Image.new("RGB", (48, 48))
    symmetric.paste(left, (0, 0))
    symmetric.paste(ImageOps.mirror(left), (24, 0))
    assert pairs_of(symmetric, symmetric) == [(0, 1, False)]


def test_200_different_pictures_are_no_pair() -> None:
    assert pairs_of(*(picture(seed) for seed in range(200))) == []


def test_pictures_without_contrast_are_told_apart_from_nothing_and_said_to_be() -> None:
    grey = np.full((28, 28), 100.0)
    found = find_alike(
        np.array([hash_picture(grey)] * 3, dtype=np.uint64), np.array([shrink(grey)] * 3)
    )
    assert len(found.first) == 0
    assert found.is_flat.all()


def test_no_pictures_are_no_pairs() -> None:
    found = find_alike(np.empty(0, dtype=np.uint64), np.empty((0, 14, 14), dtype=np.uint8))
    assert len(found.first) == 0
    assert found.is_complete


def brute_force(hashes: np.ndarray, others: np.ndarray) -> set[tuple[int, int]]:
    first, second = np.triu_indices(len(hashes), 1)
    is_near = np.bitwise_count(hashes[first] ^ others[second]) <= MOST_BITS
    return set(zip(first[is_near].tolist(), second[is_near].tolist(), strict=True))


def near(hashes: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    (first, second), _ = near_pairs(hashes, others)
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
    found = near(hashes, others)
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
            assert len(near(hashes, hashes)) == n_pairs


def test_a_search_among_equal_hashes_is_given_up_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alike, "MOST_PAIRS", 1000)
    hashes = np.zeros(200, dtype=np.uint64)
    (first, _), is_complete = near_pairs(hashes, hashes)
    assert len(first) == 1000
    assert not is_complete


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.repeat(np.arange(50, dtype=np.uint64) << np.uint64(13), 4)
    whole = near(hashes, hashes)
    monkeypatch.setattr(alike, "BLOCK_PAIRS", 7)
    assert near(hashes, hashes) == whole
