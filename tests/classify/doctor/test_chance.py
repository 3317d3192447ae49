import pytest

from classify.doctor.chance import is_chance
from classify.intervals import wilson


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
