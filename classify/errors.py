"""Errors of stages two and three that a user can fix; `headbench.cache.errors` draws the tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headbench.cache.errors import HeadbenchError
from headbench.extract.errors import safe_reason


class RunError(HeadbenchError):
    """Heads, or a run of them, that cannot be worked with."""


@contextmanager
def loading(path: Path, way_out: str = "Delete it and train again.") -> Iterator[None]:
    """Name the file when something that was trained cannot be loaded, and say what to do.

    A damaged or a malicious file makes NumPy, LightGBM and Keras raise errors of many kinds.
    """
    try:
        yield
    except HeadbenchError:
        raise
    except Exception as error:
        raise RunError(f"{path}: cannot be loaded ({safe_reason(error)}). {way_out}") from error
