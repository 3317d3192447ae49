"""Examine trained heads."""

from collections.abc import Callable

from cache.reader import FeatureFile
from classify.doctor.finding import Examination
from classify.run import Run


def examine_heads(run: Run, features: FeatureFile, say: Callable[[str], None]) -> Examination:
    """To come."""
    return Examination(f"{run.folder}", [])
