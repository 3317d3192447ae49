"""Weights and outputs that are no numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from classify.doctor.finding import Finding, Severity, not_checked
from classify.doctor.model.anatomy import Leaf
from classify.doctor.model.ending import Ending
from classify.wording import count, some

REMEDY = (
    "Go back to weights from before they became so; then a lower learning rate, clipnorm=1 in the "
    "optimizer, and keras.callbacks.TerminateOnNaN() to see when it happens."
)


def check_weights(found: list[Leaf]) -> Iterator[Finding]:
    """Name the layers whose weights are NaN or infinite; with one of them nothing else counts."""
    layers = [leaf.layer for leaf in found if leaf.layer.weights]
    broken = [layer for layer in layers if not all(map(_is_finite, layer.weights))]
    if not broken:
        return
    yield Finding(
        "not-finite",
        Severity.SEVERE,
        f"{count(len(broken), 'layer')} of {len(layers)} with weights hold NaN or infinity, and "
        "what the model gives is no answer.",
        (f"{some([layer.name for layer in broken])}.",),
        REMEDY,
    )
    yield not_checked(
        "all else about the model", "No answer of it means anything until that is mended."
    )


def check_noise(ending: Ending) -> Iterator[Finding]:
    """Name outputs that are NaN or infinite though all weights are numbers."""
    if ending.is_finite:
        return
    n_bad = int((~np.isfinite(ending.outputs)).any(axis=1).sum())
    yield Finding(
        "not-finite",
        Severity.WARNING,
        "The model gives NaN or infinity for some images, though all of its weights are numbers.",
        (f"{n_bad} of {len(ending.outputs)} images of noise, pixels from 0 to 255.",),
        "Look for a logarithm, a root or a division of what may be 0, and for float16 that "
        "overflows where pixels are not scaled.",
    )
    yield not_checked("the loss", "What the last layer gives for images of noise is no number.")


def _is_finite(weight: Any) -> bool:
    return bool(np.isfinite(np.asarray(weight, dtype=np.float64)).all())
