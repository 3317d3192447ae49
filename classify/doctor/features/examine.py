"""Examine a feature file."""

from collections.abc import Callable
from pathlib import Path

from cache.reader import FeatureFile
from classify.doctor.finding import Examination


def examine_features(
    features: FeatureFile, data: Path | None, weights: str | None, say: Callable[[str], None]
) -> Examination:
    """To come."""
    return Examination(f"{features.path}", [])
