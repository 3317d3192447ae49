"""What frozen layers do in training: one step must not change them, and they run in every epoch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Finding, Severity, not_checked
from headbench.classify.doctor.model.anatomy import Leaf, convolutions
from headbench.classify.wording import count, some
from headbench.extract.networks.keras_runtime import load_keras

N_IMAGES = 16
LEARNING_RATE = 1e-3


class Changed(NamedTuple):
    """A layer whose weights changed.

    Attributes
    ----------
    largest
        Of all changes of a weight.
    """

    layer: Any
    largest: float


def check_step(
    model: Any, found: list[Leaf], images: NDArray[np.float32], labels: NDArray[np.int64]
) -> Iterator[Finding]:
    """Train for one step, by Keras' own `train_on_batch`, and compare every weight.

    The model is changed.

    Parameters
    ----------
    images : float32 (n, height, width, 3)
        Scaled as for the model.
    labels : int64 (n,)
    """
    if not model.trainable_variables:
        yield not_checked("a step of training", "every layer of the model is frozen.")
        return
    frozen = [leaf.layer for leaf in found if leaf.is_frozen and leaf.layer.weights]
    before = [_weights(layer) for layer in frozen]
    _step(model, images, labels)
    changed = [
        Changed(layer, largest)
        for layer, weights in zip(frozen, before, strict=True)
        if (largest := _largest_change(weights, _weights(layer)))
    ]
    if against := [each for each in changed if not each.layer.trainable]:
        yield _against_their_flag(against, len(frozen))
    if by_it := [each for each in changed if each.layer.trainable]:
        yield _trainable_inside(by_it, len(frozen))


def _weights(layer: Any) -> list[NDArray[np.floating]]:
    return [weight.numpy() for weight in layer.weights]


def _largest_change(before: list[NDArray[np.floating]], after: list[NDArray[np.floating]]) -> float:
    """The largest change of a weight: 0 for none, NaN for a weight that became NaN."""
    pairs = zip(before, after, strict=True)
    changes = [np.abs(b - a).max() for b, a in pairs if not np.array_equal(b, a, equal_nan=True)]
    return float(np.max(changes)) if changes else 0.0


def _against_their_flag(changed: list[Changed], n_frozen: int) -> Finding:
    return Finding(
        "frozen-layers-change",
        Severity.SEVERE,
        f"{count(len(changed), 'frozen layer')} changed in one step of training, although "
        "trainable is False.",
        (_evidence(changed, n_frozen),),
        "Such layers change their weights whenever they run in training mode. Take them out of the "
        "frozen part, or extract its features once in inference mode: 'make features'.",
    )


def _trainable_inside(changed: list[Changed], n_frozen: int) -> Finding:
    return Finding(
        "frozen-layers-change",
        Severity.WARNING,
        f"One step of training changed {count(len(changed), 'layer')} inside a frozen network.",
        (
            _evidence(changed, n_frozen),
            "Their own layer.trainable is True. Keras 3 uses that flag only, not that of the "
            "network around them.",
        ),
        "To train them: base.trainable = True first, then False on each layer that stays frozen. "
        "To freeze them: base.trainable = False last, which freezes all layers inside. Compile "
        "after either.",
    )


def _evidence(changed: list[Changed], n_frozen: int) -> str:
    largest = max(changed, key=lambda each: each.largest)
    return (
        f"{len(changed)} of {n_frozen} layers that are frozen, or in a frozen network: "
        f"{some([each.layer.name for each in changed])}. The largest change is "
        f"{largest.largest:.3g}, in {largest.layer.name}."
    )


def _step(model: Any, images: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    losses = load_keras().losses
    n_outputs = model.output_shape[-1]
    # Any loss will do: frozen layers must not change under any.
    loss = losses.SparseCategoricalCrossentropy() if n_outputs > 1 else losses.MeanSquaredError()
    # One step does not pay for a graph.
    model.compile(load_keras().optimizers.SGD(LEARNING_RATE), loss, run_eagerly=True)
    model.train_on_batch(images[:N_IMAGES], labels[:N_IMAGES] % n_outputs)


def check_repeated(found: list[Leaf]) -> Iterator[Finding]:
    """Note that most layers compute the same in every epoch, unless the model augments inside."""
    weighted = [leaf for leaf in found if leaf.layer.weights]
    # In a frozen network, some may be trained by their own flag.
    frozen = [leaf for leaf in weighted if not leaf.layer.trainable]
    augments = any(type(leaf.layer).__name__.startswith("Rand") for leaf in found)
    if augments or 2 * len(convolutions(frozen)) <= len(convolutions(weighted)):
        return
    yield Finding(
        "frozen-in-every-epoch",
        Severity.NOTE,
        f"{len(frozen)} of {len(weighted)} layers are frozen and run in every epoch.",
        (
            "In inference mode they give the same for an image every time, unless your script "
            "augments it. That costs time, not accuracy.",
        ),
        "Extract features once and train heads on them in seconds: 'make features', 'make heads'. "
        "'make finetune' trains the last blocks and runs the frozen ones before them once.",
    )
