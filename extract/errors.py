"""Errors of stage one that a user can fix; the tree is in :mod:`headbench.cache.errors`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headbench.cache.errors import HeadbenchError

# Keras offers to run a stranger's code: "you can override this by passing `safe_mode=False`".
UNSAFE = re.compile(r"safe_mode|unsafe_deserialization")
WAY_ON = "Finished work is kept: run the same command again."


class DataError(HeadbenchError):
    """A folder of images that cannot be used."""


class LayoutError(DataError):
    """Folders that look like splits but would be read as classes.

    Its message consists of what is wrong, the evidence and the remedy, which are attributes too.
    """

    def __init__(self, what: str, evidence: tuple[str, ...], remedy: str) -> None:
        super().__init__(" ".join((what, *evidence, remedy)))
        self.what, self.evidence, self.remedy = what, evidence, remedy


class WeightsError(HeadbenchError):
    """Weights that are missing, or belong to another network."""


class UnusableImageError(HeadbenchError):
    """An image that cannot be used; its message is the reason, without the path.

    `content` is the SHA-256 of its bytes; empty if they were never hashed.
    """

    def __init__(self, reason: str, content: bytes = b"") -> None:
        super().__init__(reason)
        self.content = content


class TooLargeError(UnusableImageError):
    """An image of more bytes or pixels than are allowed."""


class DeviceError(HeadbenchError):
    """A device or an engine that is missing or too small."""


class ClusterError(HeadbenchError):
    """Workers or a scheduler that cannot be reached, or were lost."""


@contextmanager
def loading_model(path: Path, way_out: str) -> Iterator[None]:
    """Name the file when a model cannot be loaded, and say what to do, as a `WeightsError`.

    A damaged or a malicious file makes NumPy, HDF5 and Keras raise errors of many kinds.
    """
    try:
        yield
    except HeadbenchError:
        raise
    except Exception as error:
        reason = safe_reason(error)
        raise WeightsError(f"{path}: cannot be loaded ({reason}). {way_out}") from error


def safe_reason(error: Exception) -> str:
    """The first line of an error, without sentences that offer to run code from the file."""
    line = str(error).strip().split("\n", maxsplit=1)[0]
    sentences = re.split(r"(?<=[.!?])\s+", line)
    said = " ".join(each for each in sentences if not UNSAFE.search(each))
    return said.rstrip(".") or type(error).__name__
