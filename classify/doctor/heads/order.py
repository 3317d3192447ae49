"""Whether the labels of val are those of train under another order of the classes."""

import numpy as np

from classify.compare import SIGNIFICANT, holm
from classify.doctor.chance import Renamed, rename
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.heads.scored import Scored
from classify.wording import count, percent, points

# Of the accuracy: a gain that is surely less than this is no other class map.
SMALLEST_GAIN = 0.05
MOST_NAMED = 5


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
        each
        for each in scored
        if each.looks and each.train is not None and each.train.low > max(level, each.val.high)
    ]
    renamed = [rename(each.y_val, each.predicted, len(classes)) for each in candidates]
    corrected = holm([each.p for each in renamed]) if renamed else []
    found = [
        (each, order)
        for each, order, p in zip(candidates, renamed, corrected, strict=True)
        if p < SIGNIFICANT and order.gain.low > SMALLEST_GAIN
    ]
    if not found:
        return None
    names = max((order for _, order in found), key=lambda order: order.top1.value).names
    moved = np.flatnonzero(names != np.arange(len(classes))).tolist()
    return Finding(
        "val-labels-in-another-order",
        Severity.SEVERE,
        "The classes of val stand in another order than those of train.",
        (
            f"On train the heads are right; on val they are right once {len(moved)} of "
            f"{len(classes)} classes are renamed. The names were found on one half of val, and "
            "what they gain was measured on the other half, both ways round.",
            *(
                f"What val calls {classes[label]} is {classes[names[label]]}."
                for label in moved[:MOST_NAMED]
            ),
            *([f"And {len(moved) - MOST_NAMED} more."] if len(moved) > MOST_NAMED else []),
        ),
        "Make one list of class names and use it for every split: two generators number the "
        "classes by the folders that each of them finds. 'make features' on a folder with train/ "
        "and val/ in it does; then 'make heads'.",
        grid=Grid(
            ("head", "train", "val", "val, classes renamed", "gain"),
            tuple(_row(*each) for each in found),
        ),
    )


def _row(scored: Scored, order: Renamed) -> tuple[str, ...]:
    return (
        scored.name,
        percent(scored.train),
        f"{percent(scored.val)} of {count(scored.val.n, 'image')}",
        percent(order.top1),
        points(order.gain),
    )
