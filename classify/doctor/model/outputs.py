"""Findings about a model's outputs: NaN, their number, one class for all, chance, class order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headbench.classify.doctor.chance import USEFUL, Renamed, gives_one_class, rename
from headbench.classify.doctor.finding import Finding, Grid, Severity, not_checked
from headbench.classify.doctor.model.anatomy import Leaf
from headbench.classify.doctor.model.loss import Ending
from headbench.classify.doctor.model.measured import SIGNIFICANT, Condition, Measured
from headbench.classify.doctor.scalings import BGR_SCALINGS, SCALINGS
from headbench.classify.wording import count, percent, share, some, with_n

# From this share of predictions on, one class is called a collapse.
MOST_OF_ONE_CLASS = 0.9
MOST_NAMED = 12
# Another class order must be better by clearly more than this; any order gains a little.
LEAST_GAIN = 0.15
# Classes that are hardly ever predicted correctly may be given any output.
MOST_FROM_ONE = 0.5
# With this many times as many outputs as classes, they are the outputs of other classes.
MOST_OUTPUTS = 2


def check_weights(found: list[Leaf]) -> Iterator[Finding]:
    """Name the layers with weights that are NaN or infinite."""

    def is_finite(weight: Any) -> bool:
        return bool(np.isfinite(np.asarray(weight, dtype=np.float64)).all())

    layers = [leaf.layer for leaf in found if leaf.layer.weights]
    broken = [layer for layer in layers if not all(map(is_finite, layer.weights))]
    if not broken:
        return
    yield Finding(
        "not-finite",
        Severity.SEVERE,
        f"{count(len(broken), 'layer')} of {len(layers)} with weights hold NaN or infinity: the "
        "model's outputs mean nothing.",
        (f"{some([layer.name for layer in broken])}.",),
        "Go back to earlier weights, without NaN. Check that labels go from 0 to n - 1: a larger "
        "label makes the loss NaN. Then use a lower learning rate, clipnorm=1 in the optimizer, "
        "and keras.callbacks.TerminateOnNaN() to see when it happens.",
    )
    yield not_checked("loss, accuracy and a step of training", "The outputs mean nothing.")


def check_noise(ending: Ending) -> Iterator[Finding]:
    """Name outputs that are NaN or infinite although all weights are numbers."""
    if ending.is_finite:
        return
    n_bad = int((~np.isfinite(ending.outputs)).any(axis=1).sum())
    yield Finding(
        "not-finite",
        Severity.WARNING,
        "Some outputs of the model are NaN or infinity, although all its weights are numbers.",
        (f"{n_bad} of {len(ending.outputs)} images of noise, pixels from 0 to 255.",),
        "Look for a logarithm, a root or a division of values that may be 0, and for float16 that "
        "overflows on pixels from 0 to 255.",
    )
    yield not_checked("the loss", "The outputs are NaN or infinity for images of noise.")


def fits_outputs(n_outputs: int, n_classes: int) -> bool:
    """Whether there is an output for each class, or one (a sigmoid) for two classes."""
    return n_outputs == n_classes or (n_outputs, n_classes) == (1, 2)


def can_be_measured(n_outputs: int, n_classes: int) -> bool:
    """Whether the outputs may be those of the classes, with some missing or too many."""
    is_near = 1 < n_outputs < MOST_OUTPUTS * n_classes
    return is_near or fits_outputs(n_outputs, n_classes)


def check_outputs(n_outputs: int, classes: tuple[str, ...]) -> Iterator[Finding]:
    """Compare the number of outputs with the number of classes."""
    if fits_outputs(n_outputs, len(classes)):
        return
    yield Finding(
        "wrong-number-of-outputs",
        Severity.SEVERE,
        f"The model has {count(n_outputs, 'output')}, the folder has {len(classes)} classes.",
        (f"Classes of the folder: {', '.join(classes[:MOST_NAMED])}.",),
        f"Make the last layer Dense({len(classes)}), or name the folder that the model was trained "
        "on.",
    )


def check_answers(measured: Measured, condition: Condition) -> Iterator[Finding]:
    """Name a model that predicts one class for nearly all images, one at chance, and too few."""
    answers, sample = measured.answers(condition), measured.sample
    right, n = percent(measured.accuracy(condition)), len(sample.labels)
    largest = f"the most frequent class has {share(sample.largest_share)} of the images."
    if gives_one_class(answers, sample.labels, MOST_OF_ONE_CLASS):
        counts = np.bincount(answers, minlength=len(sample.classes))
        label = int(counts.argmax())
        yield Finding(
            "one-class-predicted",
            Severity.SEVERE,
            f"The model predicts one class for nearly every image: {sample.classes[label]}.",
            (
                f"Predicted for {counts[label]} of {n} images; true for "
                f"{int((sample.labels == label).sum())}. Accuracy {right}, pixels "
                f"{condition.scaling}, in inference mode.",
            ),
            "Look at the other findings for the cause. Usual causes: another scaling of pixels "
            "than in training, or moving statistics of BatchNormalization that do not fit the "
            "images.",
        )
    if measured.has_learnt_nothing:
        yield _learnt_nothing(measured)
    elif measured.is_at_chance(condition):
        yield Finding(
            "at-chance",
            Severity.SEVERE,
            "In inference the model is no better than always predicting the most frequent class.",
            (f"Accuracy {right}, n = {n}, pixels {condition.scaling}; {largest}",),
            "Look at the other findings for the cause. If there are none: was the model trained on "
            "these classes, with the correct labels?",
        )
    if measured.is_open(condition):
        yield Finding(
            "too-few-to-judge",
            Severity.NOTE,
            f"{count(n, 'image')}: too few to tell the accuracy from chance.",
            (f"Accuracy {right}, n = {n}, pixels {condition.scaling}, in inference; {largest}",),
            "Name a folder with more labelled images.",
        )


def _learnt_nothing(measured: Measured) -> Finding:
    sample = measured.sample
    return Finding(
        "learnt-nothing",
        Severity.SEVERE,
        "The model has learnt nothing: with every scaling of pixels its accuracy is at chance.",
        (
            f"n = {len(sample.labels)}; the most frequent class has {share(sample.largest_share)} "
            "of the images. So accuracy cannot tell which scaling it was trained on.",
        ),
        "Check that its weights were loaded and that it was trained. Then look at the other "
        "findings, at the learning rate, and whether labels and images are in the same order.",
        measured.grid(),
    )


def check_channels(measured: Measured, by_batch: bool | None = None) -> Iterator[Finding]:
    """Name a model that was trained on BGR: clearly more accurate on it than on any RGB."""
    best = measured.best(by_batch)
    if best.scaling not in BGR_SCALINGS:
        return
    others = [each for each in measured.conditions(best.by_batch) if each.scaling in SCALINGS]
    rgb = max(others, key=lambda each: measured.accuracy(each).value)
    if not (measured.is_useful(measured.accuracy(best)) and measured.is_better(best, rgb)):
        return
    yield Finding(
        "channels-reversed",
        Severity.SEVERE,
        "The model was trained on BGR, as OpenCV reads images, not on RGB.",
        (
            f"Accuracy on {len(measured.sample.labels)} images: {percent(measured.accuracy(best))} "
            f"with {best.scaling}, at most {percent(measured.accuracy(rgb))} from RGB "
            f"({rgb.scaling}).",
        ),
        "Use one order everywhere: cv2.cvtColor(image, cv2.COLOR_BGR2RGB) after cv2.imread, in "
        "training and in prediction. Train again, or always give this model BGR.",
        measured.grid(),
    )


def other_order(measured: Measured, declared: str | None) -> Renamed | None:
    """The order of the outputs, if it differs from the order of the classes.

    `declared` is the scaling of pixels; None to try all.
    """
    sample = measured.sample
    conditions = [each for each in measured.outputs if declared in (None, each.scaling)]
    found = [
        rename(sample.labels, measured.answers(each), len(sample.classes)) for each in conditions
    ]
    best = max(found, key=lambda each: each.gain.value)
    is_sure = best.gain.low > LEAST_GAIN and best.p < SIGNIFICANT / len(conditions)
    # Of two classes, one answer or its opposite is better than chance without any training.
    level = sample.largest_share
    return best if is_sure and best.top1.low > level + USEFUL * (1 - level) else None


def in_order(measured: Measured, order: Renamed) -> Measured:
    """The same outputs with labels in their order, so that other checks can go on."""
    sample = measured.sample
    classes = tuple(sample.classes[label] for label in np.argsort(order.names))
    moved = sample._replace(labels=order.names[sample.labels], classes=classes)
    return Measured(moved, measured.outputs)


def is_from_one(order: Renamed, measured: Measured) -> bool:
    """Whether most classes have the output after their own, and one output is left."""
    present = np.unique(measured.sample.labels)
    is_left = len(measured.sample.classes) > len(present)
    return is_left and bool((order.names[present] == present + 1).mean() > MOST_FROM_ONE)


def _labels_from_one(order: Renamed) -> Finding:
    return Finding(
        "labels-start-at-one",
        Severity.SEVERE,
        "The model was trained with labels that start at 1: output 0 is no class.",
        (
            f"Accuracy with output 1 as the first class: {with_n(order.top1)}; with output 0: "
            f"{share(order.top1.value - order.gain.value)}.",
            "The other findings use the outputs in that order.",
        ),
        "Subtract 1 from the labels, give the last layer one output for each class, and train "
        "again; or subtract 1 from every predicted index.",
    )


def describe_order(order: Renamed, measured: Measured) -> Finding:
    """Name the outputs that are another class than their number says."""
    classes = measured.sample.classes
    stands_for = np.argsort(order.names)
    moved = [row for row, label in enumerate(stands_for.tolist()) if label != row]
    if is_from_one(order, measured):
        return _labels_from_one(order)
    return Finding(
        "classes-in-another-order",
        Severity.SEVERE,
        "The outputs are in another order than the classes of the folder.",
        (
            f"Accuracy with {count(len(moved), 'output')} in another order: {with_n(order.top1)}; "
            f"in the present order: {share(order.top1.value - order.gain.value)}. The order was "
            "found on one half of the images and measured on the other; then the halves were "
            "swapped. Keras numbers class folders in the order of their names.",
            "The other findings use the outputs in that order.",
        ),
        "Save the class names in order with the model and use them, as headbench's exports do.",
        Grid(
            ("output", "class by name", "class that fits"),
            tuple((str(row), classes[row], classes[stands_for[row]]) for row in moved[:MOST_NAMED]),
        ),
    )
