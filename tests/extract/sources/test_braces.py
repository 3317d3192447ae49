import pytest

from extract.errors import DataError
from extract.sources.braces import expand_braces


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{000..002}.tar", ["000.tar", "001.tar", "002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..0}", ["0"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{a}.tar", ["{a}.tar"]),
        ("{a..b}", ["a..b"]),
        ("", [""]),
    ],
)
def test_names_are_those_that_a_shell_would_give(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


def test_a_slip_of_the_finger_does_not_fill_the_memory() -> None:
    with pytest.raises(DataError, match="more than 100000 files"):
        expand_braces("{0..99999999999}.tar")
    with pytest.raises(DataError, match="more than 100000 files"):
        expand_braces("{0..999}{0..999}.tar")
