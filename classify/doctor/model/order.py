"""Outputs in another order than the classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from classify.doctor.finding import Finding, Grid, Severity
from classify.doctor.model.measured import Condition, Measured

# By how much columns in another order have to be better, on images that did not choose it.
ORDER_GAIN = 0.25
FEWEST_IMAGES = 40
MOST_ROWS = 12


class Order(NamedTuple):
    """Columns in the order that fits the labels best.

    Attributes
    ----------
    means : int64 (n_classes,)
        Which class each output stands for.
    as_is, reordered : float
        Share of right answers, as the columns stand and in that order, on images that did not
        choose it.
    n : int
        How many those are.
    """

    means: NDArray[np.int64]
    as_is: float
    reordered: float
    n: int

    @property
    def gain(self) -> float:
        """How much better that order is, as a share of the images."""
        return self.reordered - self.as_is


def find_order(measured: Measured, condition: Condition) -> Order:
    """Choose an order on one half of the images, and measure it on the other."""
    labels, answers = measured.sample.labels, measured.answers(condition)
    # As they were drawn, in turns of one image a class: both halves hold all classes.
    half = len(labels) // 2
    counts = np.zeros((len(measured.sample.classes),) * 2)
    np.add.at(counts, (answers[:half], labels[:half]), 1)
    _, means = linear_sum_assignment(counts, maximize=True)
    as_is = float((answers[half:] == labels[half:]).mean())
    reordered = float((means[answers[half:]] == labels[half:]).mean())
    return Order(means, as_is, reordered, len(labels) - half)


def other_order(measured: Measured, declared: str | None) -> Order | None:
    """The order of the columns, if it is another than that of the classes.

    Parameters
    ----------
    measured : Measured
    declared : str or None
        The scaling of pixels; None to look under each.
    """
    if len(measured.sample.labels) < FEWEST_IMAGES:
        return None
    conditions = [each for each in measured.outputs if declared in (None, each.scaling)]
    best = max((find_order(measured, each) for each in conditions), key=lambda found: found.gain)
    return best if best.gain >= ORDER_GAIN else None


def in_order(measured: Measured, order: Order) -> Measured:
    """The same answers with the labels that belong to them, so that other checks can go on."""
    column_of = np.argsort(order.means)
    sample = measured.sample
    classes = tuple(sample.classes[label] for label in order.means)
    moved = sample._replace(labels=column_of[sample.labels], classes=classes)
    return Measured(moved, measured.outputs)


def describe_order(order: Order, classes: tuple[str, ...]) -> Finding:
    """The finding."""
    moved = [row for row, label in enumerate(order.means.tolist()) if label != row]
    return Finding(
        "classes-in-another-order",
        Severity.SEVERE,
        "The outputs are in another order than the classes of the folder.",
        (
            f"{100 * order.as_is:.1f} % of {order.n} images are right as the columns stand, "
            f"{100 * order.reordered:.1f} % with {len(moved)} columns in the order that fits the "
            "other images drawn. Keras numbers class folders in the order of their names.",
            "All else is judged with the columns in that order.",
        ),
        "Keep the class names in order beside the model, and use them; our exports hold them.",
        Grid(
            ("output", "class by name", "class that fits"),
            tuple((str(row), classes[row], classes[order.means[row]]) for row in moved[:MOST_ROWS]),
        ),
    )
