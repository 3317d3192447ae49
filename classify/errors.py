"""Errors of stages two and three that a user can fix; `headbench.cache.errors` draws the tree."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headbench.cache.errors import HeadbenchError

# Keras offers to run a stranger's code: "you can override this by passing `safe_mode=False`".
UNSAFE = re.compile(r"safe_mode|unsafe_deserialization")


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
        raise RunError(f"{path}: cannot be loaded ({_reason(error)}). {way_out}") from error


def _reason(error: Exception) -> str:
    """The first line of an error, without sentences that offer to run code from the file."""
    line = str(error).strip().split("\n", maxsplit=1)[0]
    sentences = re.split(r"(?<=[.!?])\s+", line)
    said = " ".join(each for each in sentences if not UNSAFE.search(each))
    return said or type(error).__name__
