"""Errors of stages two and three that a user can mend; the tree is drawn in :mod:`cache.errors`."""

from cache.errors import HeadbenchError


class RunError(HeadbenchError):
    """Heads, or a run of them, that cannot be worked with."""
