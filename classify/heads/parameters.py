"""Ranges of parameters; a head declares its own and is not fitted outside of them."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple


class Range(NamedTuple):
    """What is expected, in words, and whether a value is as expected."""

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) < 1e30


def _is_ascending(values: Any, is_one: Callable[[Any], bool]) -> bool:
    is_list = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    return is_list and all(map(is_one, values)) and list(values) == sorted(set(values))


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def whole(smallest: int) -> Range:
    """A whole number, at least `smallest`."""
    return Range(
        f"a whole number of at least {smallest}",
        lambda value: _is_whole(value) and value >= smallest,
    )


POSITIVE = Range("a number above 0", _is_positive)
ASCENDING = Range("numbers above 0, ascending", lambda v: _is_ascending(v, _is_positive))
ASCENDING_COUNTS = Range(
    "whole numbers of at least 1, ascending", lambda v: _is_ascending(v, _is_count)
)
SHARE = Range("a number above 0 and at most 1", lambda v: is_number(v) and 0 < v <= 1)
RATE = Range("a number of at least 0 and below 1", lambda v: is_number(v) and 0 <= v < 1)
FLAG = Range("true or false", lambda v: isinstance(v, bool))
WIDTHS = Range(
    "a list of whole numbers of at least 1",
    lambda v: isinstance(v, Sequence) and not isinstance(v, str) and all(map(_is_count, v)),
)
CLASS_WEIGHT = Range(
    "'balanced' or nothing", lambda v: v is None or v == "balanced" or isinstance(v, Mapping)
)


def one_of(*choices: str) -> Range:
    """One of the given words."""
    return Range(f"one of {', '.join(choices)}", lambda v: v in choices)


def or_none(range_: Range) -> Range:
    """The same range, or None."""
    return Range(f"{range_.expected}, or nothing", lambda v: v is None or range_.holds(v))


# Ranges of parameters that mean the same in every head.
SHARED: dict[str, Range] = {"class_weight": CLASS_WEIGHT, "seed": whole(0)}


def check_parameters(parameters: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Refuse values that are out of range; parameters without a range are not checked.

    Raises
    ------
    ValueError
        Names the parameter, what was expected and what was found.
    """
    ranges = {**SHARED, **ranges}
    for name, value in parameters.items():
        if name in ranges and not ranges[name].holds(value):
            raise ValueError(f"{name}: expected {ranges[name].expected}, found {value!r}")
