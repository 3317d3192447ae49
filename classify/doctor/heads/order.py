"""Whether the labels of val are those of train under another order of the classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from classify.bootstrap import Estimate, wilson
from classify.compare import SIGNIFICANT, compare_right, holm
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.heads.scored import Scored
from classify.wording import count, percent, points

# Of the accuracy: a gain that is surely less than this is no other class map.
SMALLEST_GAIN = 0.05
MOST_NAMED = 5


class Renamed(NamedTuple):
    """What putting the classes of val into another order does to a head.

    Attributes
    ----------
    scored : Scored
    true_class : intp (n_classes,)
        What each class that val names seems to be.
    top1 : Estimate
        Accuracy on val under that order, which was found on the other half of val each time.
    gain : Estimate
        Of that over the accuracy as it stands, paired.
    p : float
        Of McNemar's test.
    """

    scored: Scored
    true_class: NDArray[np.intp]
    top1: Estimate
    gain: Estimate
    p: float


def examine_class_order(
    scored: list[Scored], classes: tuple[str, ...], level: float
) -> Finding | None:
    """Labels of val that another order of the classes explains.

    Parameters
    ----------
    scored : list of Scored
    classes : tuple of str
    level : float
        Chance on val.
    """
    candidates = [
        rename(each, len(classes))
        for each in scored
        if each.looks and each.train is not None and each.train.low > max(level, each.val.high)
    ]
    corrected = holm([each.p for each in candidates]) if candidates else []
    found = [
        each
        for each, p in zip(candidates, corrected, strict=True)
        if p < SIGNIFICANT and each.gain.low > SMALLEST_GAIN
    ]
    if not found:
        return None
    best = max(found, key=lambda each: each.top1.value)
    moved = np.flatnonzero(best.true_class != np.arange(len(classes))).tolist()
    return Finding(
        "val-labels-in-another-order",
        Severity.SEVERE,
        "The classes of val stand in another order than those of train.",
        (
            f"On train the heads are right; on val they are right once {len(moved)} of "
            f"{len(classes)} classes are renamed. The names were found on one half of val, and "
            "what they gain was measured on the other half, both ways round.",
            *(
                f"What val calls {classes[label]} is {classes[best.true_class[label]]}."
                for label in moved[:MOST_NAMED]
            ),
            *([f"And {len(moved) - MOST_NAMED} more."] if len(moved) > MOST_NAMED else []),
        ),
        "Make one list of class names and use it for every split: two generators number the "
        "classes by the folders that each of them finds. 'make features' on a folder with train/ "
        "and val/ in it does; then 'make heads'.",
        grid=Grid(
            ("head", "train", "val", "val, classes renamed", "gain"),
            tuple(_row(each) for each in found),
        ),
    )


def rename(scored: Scored, n_classes: int) -> Renamed:
    """Find the names on one half of val and measure them on the other, both ways round.

    Parameters
    ----------
    scored : Scored
    n_classes : int
    """
    y, predicted = scored.y_val, scored.predicted
    is_right = np.empty(len(y), dtype=bool)
    # Every other image of each class: halves in file order would hold other classes.
    half = np.empty(len(y), dtype=bool)
    half[np.argsort(y, kind="stable")] = np.arange(len(y)) % 2 == 0
    for fitted, measured in ((half, ~half), (~half, half)):
        names = _names(y[fitted], predicted[fitted], n_classes)
        is_right[measured] = names[y[measured]] == predicted[measured]
    [both] = compare_right({"renamed": is_right, "as it is": scored.is_right})
    return Renamed(
        scored,
        _names(y, predicted, n_classes),
        wilson(int(is_right.sum()), len(y)),
        both.difference,
        both.p,
    )


def _names(y: NDArray[np.integer], predicted: NDArray[np.intp], n_classes: int) -> NDArray[np.intp]:
    """For each label the class that it is to be called for most to be right, each class once."""
    counts = np.bincount(y * n_classes + predicted, minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes)
    # Of orders that are equally good, the one that leaves most as it is.
    gain = counts + np.eye(n_classes) / (2 * n_classes)
    return np.asarray(linear_sum_assignment(-gain)[1])


def _row(found: Renamed) -> tuple[str, ...]:
    scored = found.scored
    return (
        scored.name,
        percent(scored.train),
        f"{percent(scored.val)} of {count(scored.val.n, 'image')}",
        percent(found.top1),
        points(found.gain),
    )
