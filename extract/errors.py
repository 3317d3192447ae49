"""Errors of stage one that a user can fix; the tree is in :mod:`headbench.cache.errors`."""

from headbench.cache.errors import HeadbenchError

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
