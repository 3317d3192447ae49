"""Is an accuracy that of a guess? Few images leave it open."""

from classify.intervals import Estimate

# Of the way from chance to all right: what may have gone so far cannot be called at chance, and
# where images are few everything may.
USEFUL = 0.25


def may_be_chance(accuracy: Estimate, level: float) -> bool:
    """Whether it may be no better than chance, `level`."""
    return accuracy.low <= level


def is_chance(accuracy: Estimate, level: float) -> bool:
    """Whether it may be no better than chance, and is surely not much better."""
    return may_be_chance(accuracy, level) and accuracy.high < level + USEFUL * (1 - level)
