from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from classify.doctor.data.alike import HASHED_PX, find_alike, hash_picture, shrink
from classify.doctor.data.hamming import MOST_BITS, Search


def test_the_search_finds_the_pairs_that_comparing_all_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, size=120, dtype=np.uint64)
    # Near ones, up to twice the distance: a few bits of each of the first turned round.
    for row in range(60):
        bits = rng.choice(64, size=rng.integers(0, 2 * MOST_BITS), replace=False)
        for bit in bits.tolist():
            hashes[60 + row] = hashes[row] if bit == bits[0] else hashes[60 + row]
        for bit in bits.tolist():
            hashes[60 + row] ^= np.uint64(1 << bit)
    expected = [
        pair
        for pair in combinations(range(120), 2)
        if int(hashes[pair[0]] ^ hashes[pair[1]]).bit_count() <= MOST_BITS
    ]
    search = Search(hashes, hashes)
    first, second = search.pairs()
    assert len(expected) > 20
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert search.is_complete


def pictures(n: int) -> list[Image.Image]:
    """Blurred noise: pictures with large shapes in them, all different."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(n, 200, 200), dtype=np.uint8)
    blurred = [Image.fromarray(each).filter(ImageFilter.GaussianBlur(14)) for each in noise]
    return [each.point(lambda level: min(255, max(0, (level - 128) * 8 + 128))) for each in blurred]


def alike(images: list[Image.Image]) -> list[tuple[int, int, bool]]:
    small = [
        np.asarray(each.convert("L").resize((HASHED_PX, HASHED_PX), Image.Resampling.BOX), float)
        for each in images
    ]
    hashes = np.array([hash_picture(each) for each in small], dtype=np.uint64)
    found = find_alike(hashes, np.stack([shrink(each) for each in small]))
    assert found.is_complete
    columns = (found.first.tolist(), found.second.tolist(), found.is_mirrored.tolist())
    return list(zip(*columns, strict=True))


def test_different_pictures_are_not_alike() -> None:
    assert alike(pictures(40)) == []


@pytest.mark.parametrize("change", ["smaller", "brighter", "mirrored"])
def test_an_altered_copy_is_alike(change: str) -> None:
    images = pictures(10)
    altered = {
        "smaller": images[3].resize((70, 70)),
        "brighter": images[3].point(lambda level: min(255, level + 20)),
        "mirrored": images[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }
    assert alike([*images, altered[change]]) == [(3, 10, change == "mirrored")]


def test_pictures_of_one_grey_are_not_compared() -> None:
    flat = np.full((4, HASHED_PX, HASHED_PX), 90.0)
    hashes = np.array([hash_picture(each) for each in flat], dtype=np.uint64)
    found = find_alike(hashes, np.stack([shrink(each) for each in flat]))
    assert len(found.first) == 0
    assert found.is_flat.all()
