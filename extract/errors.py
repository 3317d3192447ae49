"""Errors of stage one that a user can fix; the tree is drawn in :mod:`headbench.cache.errors`."""

from headbench.cache.errors import HeadbenchError

WAY_ON = "What was finished is kept: run the same command again."


class DataError(HeadbenchError):
    """A folder of images that cannot be worked with."""


class LayoutError(DataError):
    """Folders that look like splits but would be read as classes; in parts for those who show it.

    Its message is all of them: what is wrong, the evidence, and the way out.
    """

    def __init__(self, what: str, evidence: tuple[str, ...], remedy: str) -> None:
        super().__init__(" ".join((what, *evidence, remedy)))
        self.what, self.evidence, self.remedy = what, evidence, remedy


class WeightsError(HeadbenchError):
    """Weights that cannot be had, or that belong to another network."""


class UnusableImageError(HeadbenchError):
    """An image that cannot be decoded; its message is the reason, without the path.

    `content` is the SHA-256 of its bytes; empty if they were never hashed.
    """

    def __init__(self, reason: str, content: bytes = b"") -> None:
        super().__init__(reason)
        self.content = content


class DeviceError(HeadbenchError):
    """A device or an engine that is not there, or too small."""


class ClusterError(HeadbenchError):
    """Workers or a scheduler that cannot be reached, or that are lost."""
