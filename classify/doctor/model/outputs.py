"""Outputs, loss and classes that do not belong together."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.doctor.finding import Finding, Severity
from classify.doctor.model.measured import Condition, Measured
from classify.wording import percent

SUM_TOLERANCE = 1e-3
# What one class may be given of all answers before it is called a collapse.
MOST_OF_ONE_CLASS = 0.9
MOST_NAMED = 12


class Loss(NamedTuple):
    """The loss that a model is trained with.

    Attributes
    ----------
    name : str
        In lower case with underscores, such as ``sparse_categorical_crossentropy``.
    from_logits : bool
    """

    name: str
    from_logits: bool


def read_loss(described: Any, name: str | None, from_logits: bool | None) -> Loss | None:
    """The loss as a model's file describes it, or as the user says, who wins.

    Parameters
    ----------
    described : mapping or str or None
        `UserModel.loss`.
    name : str or None
    from_logits : bool or None
    """
    config: Mapping[str, Any] = {}
    found = described
    if isinstance(described, Mapping):
        config = described.get("config", {})
        found = described.get("class_name")
        if isinstance(config, str):
            # A function: its name.
            found, config = config, {}
    found = name or found
    if not isinstance(found, str):
        return None
    is_from_logits = from_logits
    if is_from_logits is None:
        is_from_logits = bool(isinstance(config, Mapping) and config.get("from_logits", False))
    return Loss(_snake(found), is_from_logits)


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


def check_loss(
    outputs: NDArray[np.float32], before_softmax: NDArray[np.float32] | None, loss: Loss | None
) -> Iterator[Finding]:
    """Hold what the last layer gives against what the loss takes.

    Parameters
    ----------
    outputs : float32 (n, n_outputs)
        Of any images.
    before_softmax : float32 (n, n_values) or None
        What the last layer is given; None if it is no softmax.
    loss : Loss or None
        None if it is not known.
    """
    if are_probabilities(outputs):
        if before_softmax is not None and are_probabilities(before_softmax):
            yield _softmax_twice(outputs, "The last layer is a softmax of probabilities.")
        elif loss and loss.from_logits:
            yield _softmax_twice(outputs, f"The loss, {loss.name}, applies it once more.")
        elif loss and loss.name == "binary_crossentropy" and outputs.shape[1] > 2:
            yield _binary(outputs.shape[1])
    elif loss and not loss.from_logits and loss.name.endswith("categorical_crossentropy"):
        yield _softmax_missing(outputs, loss)


def check_answers(measured: Measured, condition: Condition) -> Iterator[Finding]:
    """Name a collapse on one class, and chance."""
    counts = np.bincount(measured.answers(condition), minlength=len(measured.sample.classes))
    n = int(counts.sum())
    if counts.max() > MOST_OF_ONE_CLASS * n and measured.sample.largest_share < 1 / 2:
        yield _one_class(measured, condition, counts)
    if measured.is_at_chance(condition):
        yield _at_chance(measured, condition)


def are_probabilities(values: NDArray[np.float32]) -> bool:
    """Whether each row, of at least two values, adds up to 1 and has nothing below 0."""
    if values.ndim != 2 or values.shape[1] < 2:
        return False
    return bool((values >= 0).all() and np.abs(values.sum(axis=1) - 1).max() < SUM_TOLERANCE)


def _softmax_twice(outputs: NDArray[np.float32], how: str) -> Finding:
    n = outputs.shape[1]
    largest = np.e / (np.e + n - 1)
    return Finding(
        "softmax-twice",
        Severity.SEVERE,
        "A softmax is applied twice: the loss can hardly fall, and training crawls.",
        (
            how,
            f"A softmax of probabilities over {n} classes never exceeds {largest:.3f}, so that the "
            f"loss stays above {-np.log(largest):.2f}, however sure the model is.",
        ),
        "Keep one: Dense(n, activation='softmax') with from_logits=False, or Dense(n) with "
        "from_logits=True.",
    )


def _softmax_missing(outputs: NDArray[np.float32], loss: Loss) -> Finding:
    sums = outputs.sum(axis=1)
    return Finding(
        "softmax-missing",
        Severity.SEVERE,
        f"The last layer gives no probabilities, which {loss.name} (from_logits=False) takes.",
        (
            f"Rows of its outputs add up to {sums.min():.3g} to {sums.max():.3g}, and hold values "
            f"from {outputs.min():.3g} to {outputs.max():.3g}; probabilities add up to 1. The loss "
            "cuts them off at 0 and 1, where its gradient is 0.",
        ),
        "Dense(n, activation='softmax'), or from_logits=True in the loss.",
    )


def _binary(n_outputs: int) -> Finding:
    return Finding(
        "wrong-loss",
        Severity.WARNING,
        f"binary_crossentropy on a softmax over {n_outputs} classes.",
        (
            "It takes each output for a question of its own, and Keras then counts accuracy over "
            f"all {n_outputs} of them: always answering no is right {1 - 1 / n_outputs:.0%} of the "
            "time.",
        ),
        "categorical_crossentropy, or sparse_categorical_crossentropy for whole-number labels.",
    )


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


def _snake(name: str) -> str:
    """A class name such as CategoricalCrossentropy as the name of its function."""
    if "_" in name or name.islower():
        return name.lower()
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
