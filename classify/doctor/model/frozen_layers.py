"""Layers in training: BatchNormalization, and frozen layers that change or run in every epoch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Finding, Grid, Severity, not_checked
from headbench.classify.doctor.model.anatomy import (
    Leaf,
    convolutions,
    in_frozen_block,
    norms_among,
)
from headbench.classify.doctor.model.measured import Condition, Measured
from headbench.classify.wording import count, percent, points, some
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.user_model import UserModel

REMEDY = (
    "Set layer.trainable = False on every BatchNormalization of the network, after unfreezing "
    "others and before compile; base(x, training=False) alone is not enough in Keras 3. Or extract "
    "features once in inference mode ('headbench features DATA') and train a head on them."
)
COLUMNS = ("pixels", "batch statistics", "moving statistics", "paired difference")
N_IMAGES = 16
LEARNING_RATE = 1e-3


def by_batch_in_training(user: UserModel, found: list[Leaf]) -> list[Any]:
    """The BatchNormalization layers that use batch statistics while the model is trained."""
    # A layer uses only its own flag, not that of the model around it.
    return [each for each in norms_among(found) if each.trainable or not user.froze_batch_norms]


def check_batch_norms(
    user: UserModel, found: list[Leaf], measured: Measured | None, scalings: tuple[str, ...]
) -> Iterator[Finding]:
    """Name layers that behave differently in training and validation, and the effect on accuracy.

    `scalings` are the pixel scalings in training; if unknown, all possible ones.
    """
    by_batch = by_batch_in_training(user, found)
    frozen = in_frozen_block(found)
    offending = [layer for layer in by_batch if id(layer) in frozen]
    # The scalings with which batch statistics are clearly more accurate than inference.
    differing = [
        name
        for name in scalings
        if measured
        and by_batch
        and measured.is_better(Condition(name, by_batch=True), Condition(name, by_batch=False))
        and measured.is_useful(measured.accuracy(Condition(name, by_batch=True)))
    ]
    is_sure = differing == list(scalings)
    if offending:
        yield _in_frozen_block(user, offending, len(norms_among(found)), is_sure)
    if measured and differing:
        yield _modes_differ(measured, differing, scalings, len(by_batch))
    yield from _untouched(found)


def _in_frozen_block(user: UserModel, offending: list[Any], n_norms: int, differs: bool) -> Finding:
    why = (
        "They are trainable (layer.trainable is True). BatchNormalization uses only that flag, not "
        "the flag of the model around it."
        if user.froze_batch_norms
        else f"The model was saved by Keras {user.keras_version}, in which a frozen "
        "BatchNormalization still used batch statistics in training."
    )
    return Finding(
        "batch-norm-trains-in-frozen-block",
        Severity.SEVERE if differs else Severity.WARNING,
        f"{count(len(offending), 'BatchNormalization layer')} of a frozen block use batch "
        "statistics in training and moving statistics in validation.",
        (
            f"{len(offending)} of {n_norms} BatchNormalization layers: "
            f"{some([layer.name for layer in offending])}. The weights before them are frozen.",
            why,
        ),
        REMEDY,
    )


def _modes_differ(
    measured: Measured, differing: list[str], possible: tuple[str, ...], n_layers: int
) -> Finding:
    is_sure = differing == list(possible)
    what = (
        "The same images get other predictions in training mode than in inference, so training "
        "accuracy does not carry over to validation."
    )
    unsure = (
        f"The scaling of pixels in training is unknown (possible: {', '.join(possible)}). The "
        f"modes differ with {'all of them' if is_sure else ', '.join(differing)}."
    )
    accuracies = [_both_accuracies(measured, name) for name in differing]
    first, n_images = accuracies[0], len(measured.sample.labels)
    layers = count(n_layers, "BatchNormalization layer")
    both = (
        f"Accuracy on {n_images} images, pixels {first[0]}: {first[1]} with batch statistics in "
        f"{layers}, {first[2]} with the moving statistics, as in validation; paired difference "
        f"{first[3]}. Dropout is off in both."
    )
    if len(differing) > 1:
        both = (
            f"Accuracy on {n_images} images with batch statistics in {layers}, and with the moving "
            "statistics, as in validation. Dropout is off in both."
        )
    return Finding(
        "batch-statistics",
        # With many scalings one or another differs in a sound model too.
        Severity.SEVERE if is_sure else Severity.NOTE,
        what if is_sure else f"With some possible scalings of pixels: {what[0].lower()}{what[1:]}",
        (
            *([unsure] if len(possible) > 1 else []),
            both,
            _shares_of_one_class(measured, differing),
        ),
        REMEDY,
        grid=Grid(COLUMNS, tuple(accuracies)) if len(differing) > 1 else None,
    )


def _both_accuracies(measured: Measured, scaling: str) -> tuple[str, ...]:
    """What stands in a row of `COLUMNS`."""
    by_batch, inference = Condition(scaling, by_batch=True), Condition(scaling, by_batch=False)
    found = measured.compare(by_batch, inference)
    return (
        scaling,
        percent(measured.accuracy(by_batch)),
        percent(measured.accuracy(inference)),
        points(found.difference),
    )


def _shares_of_one_class(measured: Measured, scalings: list[str]) -> str:
    counts = {
        name: np.bincount(measured.answers(Condition(name, by_batch=False))) for name in scalings
    }
    given = [f"{each.max()} of {each.sum()}" for each in counts.values()]
    if len(scalings) == 1:
        label = int(counts[scalings[0]].argmax())
        name = measured.sample.classes[label]
        return f"In inference, {given[0]} predictions are one class: {name}."
    under = [f"{many} with {name}" for name, many in zip(scalings, given, strict=True)]
    return f"Predictions of one class in inference: {', '.join(under)}."


def _untouched(found: list[Leaf]) -> Iterator[Finding]:
    norms = norms_among(found)
    fresh = [
        layer
        for layer in norms
        if not np.any(layer.moving_mean) and np.all(np.asarray(layer.moving_variance) == 1)
    ]
    if len(fresh) < 2:
        return
    yield Finding(
        "moving-statistics-never-set",
        Severity.WARNING,
        f"{len(fresh)} of {len(norms)} BatchNormalization layers still hold their initial "
        "statistics: mean 0, variance 1.",
        (f"{some([layer.name for layer in fresh])}.",),
        "Load trained weights: weights='imagenet', or load_weights. Without them the network is "
        "not trained.",
    )


class Changed(NamedTuple):
    """A layer whose weights changed, and the largest change of one of them."""

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
        yield not_checked("a step of training", "Every layer of the model is frozen.")
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
        "frozen part, or extract its features once in inference mode: 'headbench features DATA'.",
    )


def _trainable_inside(changed: list[Changed], n_frozen: int) -> Finding:
    return Finding(
        "frozen-layers-change",
        Severity.WARNING,
        f"One step of training changed {count(len(changed), 'layer')} inside a frozen network.",
        (
            _evidence(changed, n_frozen),
            "Their own layer.trainable is True. Keras 3 uses only that flag, not the flag of the "
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
            "In inference mode their output for an image is the same every time, unless your "
            "script augments it. That costs time, not accuracy.",
        ),
        "Extract features once ('headbench features DATA') and train heads on them in seconds "
        "('headbench heads'). 'headbench finetune' trains the last blocks and runs the frozen ones "
        "before them once.",
    )
