"""Errors of stages two and three that a user can fix; `headbench.cache.errors` draws the tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headbench.cache.errors import HeadbenchError


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
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        raise RunError(f"{path}: cannot be loaded ({reason}). {way_out}") from error
