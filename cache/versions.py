"""Versions of installed packages, looked up without importing them."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "not installed"


def installed_version(distribution: str) -> str:
    """Version of a distribution such as ``tensorflow``; ``not installed`` if it is not."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN
