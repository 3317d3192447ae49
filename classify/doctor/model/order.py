"""Outputs in another order than the classes."""

import numpy as np

from classify.doctor.class_order import Renamed, rename
from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.model.measured import SIGNIFICANT, Condition, Measured
from classify.wording import count, percent

# By how much another order has to be better, surely; any order gains a little somewhere.
LEAST_GAIN = 0.15
MOST_ROWS = 12


def other_order(measured: Measured, declared: str | None) -> Renamed | None:
    """The order of the outputs, if it is another than that of the classes.

    Parameters
    ----------
    measured : Measured
    declared : str or None
        The scaling of pixels; None to look under each.
    """
    sample = measured.sample
    conditions: list[Condition] = [
        each for each in measured.outputs if declared in (None, each.scaling)
    ]
    found = [
        rename(sample.labels, measured.answers(each), len(sample.classes)) for each in conditions
    ]
    best = max(found, key=lambda each: each.gain.value)
    is_sure = best.gain.low > LEAST_GAIN and best.p < SIGNIFICANT / len(conditions)
    return best if is_sure else None


def in_order(measured: Measured, order: Renamed) -> Measured:
    """The same answers with the labels that belong to them, so that other checks can go on."""
    sample = measured.sample
    classes = tuple(sample.classes[label] for label in np.argsort(order.names))
    moved = sample._replace(labels=order.names[sample.labels], classes=classes)
    return Measured(moved, measured.outputs)


def describe_order(order: Renamed, measured: Measured) -> Finding:
    """The finding."""
    classes = measured.sample.classes
    stands_for = np.argsort(order.names)
    moved = [row for row, label in enumerate(stands_for.tolist()) if label != row]
    return Finding(
        "classes-in-another-order",
        Severity.SEVERE,
        "The outputs are in another order than the classes of the folder.",
        (
            f"{percent(order.top1)} of {order.top1.n} images are right with "
            f"{count(len(moved), 'output')} in another order, "
            f"{100 * (order.top1.value - order.gain.value):.1f} % as they stand. The order was "
            "found on one half of the images and measured on the other, both ways round. Keras "
            "numbers class folders in the order of their names.",
            "All else is judged with the outputs in that order.",
        ),
        "Keep the class names in order beside the model, and use them; our exports hold them.",
        Grid(
            ("output", "class by name", "class that fits"),
            tuple((str(row), classes[row], classes[stands_for[row]]) for row in moved[:MOST_ROWS]),
        ),
    )
