"""Checks of numbers that are loaded from files, and JSON that every reader accepts."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from headbench.classify.arrays import load_arrays

# Sums and products of larger numbers overflow float32.
LARGEST = 1e30
# Rounding to float16 moves a sum of probabilities no farther from 1.
SUM_TOLERANCE = 2e-3


def load_numbers(path: Path) -> dict[str, NDArray[Any]]:
    """Load arrays; raises `ValueError` for anything but finite numbers and text."""
    arrays = load_arrays(path)
    for name, array in arrays.items():
        if array.dtype.kind not in "biufU":
            raise ValueError(f"{name}: expected numbers or text, found {array.dtype}")
        # NaN fails every comparison.
        if array.dtype.kind == "f" and not (
            float(array.min(initial=0)) > -LARGEST and float(array.max(initial=0)) < LARGEST
        ):
            raise ValueError(f"{name}: expected finite numbers below {LARGEST:g}")
    return arrays


def check_proba(proba: NDArray[np.floating]) -> None:
    """Raise `ValueError` unless each row of (n_images, n_classes) holds probabilities."""
    lowest, highest = proba.min(initial=0), proba.max(initial=0)
    if not (lowest >= 0 and highest <= 1 + SUM_TOLERANCE):
        raise ValueError(f"expected probabilities from 0 to 1, found {lowest:g} to {highest:g}")
    sums = proba.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.size:
        row = wrong[0]
        raise ValueError(f"expected probabilities that sum to 1, row {row} sums to {sums[row]:g}")


def check_fields(kind: type, raw: Any) -> None:
    """Raise `ValueError` unless JSON has the fields of a dataclass or a named tuple, and no others.

    Each value must have the type of its field, and numbers must be finite.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"expected the fields of {kind.__name__}, found {_short(raw)}")
    hints = get_type_hints(kind)
    if missing := hints.keys() - raw.keys():
        raise ValueError(f"the field {min(missing)!r} is missing")
    if unknown := raw.keys() - hints.keys():
        raise ValueError(f"the field {min(unknown)!r} is unknown")
    for name, value in raw.items():
        if not _is(value, hints[name]):
            raise ValueError(f"the field {name!r} has an unexpected value: {_short(value)}")


def _is(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(_is(each, args[1]) for each in value.values())
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list) and all(_is(each, args[0]) for each in value)
    if hint is Any:
        return _is_finite(value)
    if hint is float:
        return isinstance(value, int | float) and _is_finite(value)
    if hasattr(hint, "_fields"):
        check_fields(hint, value)
        return True
    return isinstance(value, origin or hint) and not (hint is int and isinstance(value, bool))


def _is_finite(value: Any) -> bool:
    """Whether some JSON has no number that is NaN or infinite."""
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."


def as_json(value: Any) -> Any:
    """Dataclasses and named tuples as dicts, at any depth; ``class_`` becomes ``class``."""
    names = json_fields(type(value))
    if names:
        return {name.rstrip("_"): as_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def json_fields(kind: type) -> tuple[str, ...]:
    """Names of the fields of a dataclass or a named tuple; empty for other types."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    return tuple(getattr(kind, "_fields", ()))


def json_text(value: Any, indent: int | None = 2) -> str:
    """JSON text for people and programs; numbers that are not finite become null."""
    return json.dumps(_without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value if _is_finite(value) else None
