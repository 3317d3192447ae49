"""Outputs and classes that do not belong together, and answers that say nothing."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from classify.doctor.collapse import gives_one_class
from classify.doctor.finding import Finding, Severity
from classify.doctor.model.measured import Condition, Measured
from classify.wording import percent

# What one class may be given of all answers before it is called a collapse.
MOST_OF_ONE_CLASS = 0.9
MOST_NAMED = 12


def check_outputs(n_outputs: int, classes: tuple[str, ...]) -> Iterator[Finding]:
    """Count the outputs."""
    # One output of a sigmoid tells two classes apart.
    if n_outputs == len(classes) or (n_outputs, len(classes)) == (1, 2):
        return
    yield Finding(
        "wrong-number-of-outputs",
        Severity.SEVERE,
        f"The model has {n_outputs} outputs, the folder {len(classes)} classes.",
        (f"Classes of the folder: {', '.join(classes[:MOST_NAMED])}.",),
        f"Make the last layer Dense({len(classes)}), or name the folder that it was trained on.",
    )


def check_answers(measured: Measured, condition: Condition) -> Iterator[Finding]:
    """Name a collapse on one class, and chance."""
    answers, sample = measured.answers(condition), measured.sample
    if gives_one_class(answers, sample.labels, MOST_OF_ONE_CLASS):
        counts = np.bincount(answers, minlength=len(sample.classes))
        yield _one_class(measured, condition, counts)
    if measured.is_at_chance(condition):
        yield _at_chance(measured, condition)


def _one_class(measured: Measured, condition: Condition, counts: NDArray[np.int64]) -> Finding:
    label = int(counts.argmax())
    return Finding(
        "one-class-predicted",
        Severity.SEVERE,
        f"Nearly every image is given one class, {measured.sample.classes[label]}.",
        (
            f"{counts[label]} of {counts.sum()} images, of which "
            f"{int((measured.sample.labels == label).sum())} are of that class; pixels "
            f"{condition.scaling}, in inference: {percent(measured.accuracy(condition))} right.",
        ),
        "Look at the other findings for the cause: most often pixels of another scaling than in "
        "training, or BatchNormalization whose moving statistics are not those of the images.",
    )


def _at_chance(measured: Measured, condition: Condition) -> Finding:
    return Finding(
        "at-chance",
        Severity.SEVERE,
        "In inference the model is no better than always giving the most frequent class.",
        (
            f"{percent(measured.accuracy(condition))} of {len(measured.sample.labels)} images are "
            f"right, pixels {condition.scaling}; the most frequent class is "
            f"{100 * measured.sample.largest_share:.1f} % of them.",
        ),
        "Look at the other findings for the cause. If there is none: was it trained on these "
        "classes, and on labels that belong to the images?",
    )
