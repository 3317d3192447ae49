import numpy as np
import pytest
from numpy.typing import NDArray

from headbench.classify.export.pixel_range import grey_levels

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)


def levels(pixels: NDArray[np.generic]) -> tuple[np.ndarray, list[bool]]:
    found, fits = grey_levels(pixels.astype(np.float32))
    return np.asarray(found), np.asarray(fits)[:, 0].tolist()


@pytest.mark.parametrize("divisor", [1, 255])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_of_both_ranges_gives_the_same_grey_levels(divisor: int, dtype: type) -> None:
    found, fits = levels((PIXELS / divisor).astype(dtype))
    np.testing.assert_array_equal(found, PIXELS)
    assert fits == [True] * 4


def test_an_image_is_looked_at_by_itself() -> None:
    mixed = PIXELS.astype(np.float32)
    mixed[1] /= 255
    mixed[2] = mixed[2] / 127.5 - 1
    found, fits = levels(mixed)
    assert fits == [True, True, False, True]
    np.testing.assert_array_equal(found[[0, 1, 3]], PIXELS[[0, 1, 3]])


def test_nearly_black_images_of_whole_levels_stay_as_they_are() -> None:
    """As predict sees them: 0 and 1 are grey levels."""
    dark = RNG.integers(0, 2, (2, 5, 5, 3), dtype=np.uint8)
    found, fits = levels(dark)
    np.testing.assert_array_equal(found, dark)
    assert fits == [True, True]


@pytest.mark.parametrize("value", [-2.0, 256.0, np.nan, np.inf])
def test_one_value_in_no_range_is_enough(value: float) -> None:
    wrong = PIXELS.astype(np.float32)
    wrong[3, 2, 2, 1] = value
    assert levels(wrong)[1] == [True, True, True, False]
