import numpy as np
import pytest

from headbench.classify.doctor.chance import is_chance, rename
from headbench.classify.intervals import wilson


@pytest.mark.parametrize(
    ("n_right", "n", "is_it"),
    [
        (10, 100, True),  # 5.5 to 17.4 %
        (17, 100, False),  # 10.9 to 25.5 %: surely better
        (2, 6, False),  # 9.7 to 70.0 %: may be very good
        (0, 100, True),
    ],
)
def test_at_chance_is_what_reaches_chance_and_little_more(
    n_right: int, n: int, is_it: bool
) -> None:
    assert is_chance(wilson(n_right, n), 0.1) is is_it


LABELS = np.tile(np.arange(5), 20)


def test_another_order_is_found_and_what_it_gains_is_measured() -> None:
    found = rename(LABELS, (LABELS + 2) % 5, 5)
    assert found.names.tolist() == [2, 3, 4, 0, 1]
    assert found.top1.value == 1
    assert found.gain.value == 1


@pytest.mark.parametrize("seed", range(5))
def test_answers_at_random_gain_nothing_on_images_that_did_not_choose(seed: int) -> None:
    # On the half that they are found on, names always gain.
    answers = np.random.default_rng(seed).integers(0, 5, size=100)
    found = rename(LABELS, answers, 5)
    assert found.gain.low < 0.05


def test_answers_that_are_right_keep_their_names() -> None:
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(100) < 0.5, LABELS, rng.integers(5, size=100))
    assert rename(LABELS, answers, 5).names.tolist() == [0, 1, 2, 3, 4]
