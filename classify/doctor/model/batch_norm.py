"""BatchNormalization that behaves differently in training and in validation."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import Leaf, batch_norm_leaves, in_frozen_block
from headbench.classify.doctor.model.load import UserModel
from headbench.classify.doctor.model.measured import Condition, Measured
from headbench.classify.wording import count, percent, points, some

REMEDY = (
    "Set layer.trainable = False on every BatchNormalization of the network, after unfreezing "
    "others and before compile; base(x, training=False) alone is not enough in Keras 3. Or extract "
    "features once in inference mode ('make features') and train a head on them."
)


def by_batch_in_training(user: UserModel, found: list[Leaf]) -> list[Any]:
    """The BatchNormalization layers that use batch statistics while the model is trained."""
    norms = [leaf.layer for leaf in batch_norm_leaves(found)]
    # A layer looks at its own flag only, not at that of the model around it.
    return [each for each in norms if each.trainable or not user.froze_batch_norms]


def check_batch_norms(
    user: UserModel, found: list[Leaf], measured: Measured | None, scalings: tuple[str, ...]
) -> Iterator[Finding]:
    """Name layers that differ between training and validation, and the effect on accuracy.

    Parameters
    ----------
    measured
        None if there are no labelled images.
    scalings
        Of the pixels in training; if unknown, all that are possible.
    """
    by_batch = by_batch_in_training(user, found)
    frozen = in_frozen_block(found)
    offending = [layer for layer in by_batch if id(layer) in frozen]
    differing = _differing(measured, scalings) if measured and by_batch else []
    is_sure = differing == list(scalings)
    if offending:
        yield _in_frozen_block(user, offending, len(batch_norm_leaves(found)), is_sure)
    if measured and differing:
        yield _modes_differ(measured, differing, scalings, len(by_batch))
    yield from _untouched(found)


def _differing(measured: Measured, scalings: tuple[str, ...]) -> list[str]:
    """The scalings under which batch statistics are clearly more accurate than inference."""
    return [
        name
        for name in scalings
        if measured.is_better(Condition(name, by_batch=True), Condition(name, by_batch=False))
    ]


def _in_frozen_block(user: UserModel, offending: list[Any], n_norms: int, differs: bool) -> Finding:
    why = (
        "They are trainable (layer.trainable is True). BatchNormalization looks at that flag only, "
        "not at the model around it."
        if user.froze_batch_norms
        else f"Keras {user.keras_version} saved the model: there a frozen BatchNormalization still "
        "used batch statistics in training."
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
        "The same images get other answers in training mode than in inference: training accuracy "
        "does not carry over to validation."
    )
    unsure = (
        f"The scaling of pixels in training is unknown ({', '.join(possible)} are possible). The "
        f"modes differ with {'each of them' if is_sure else ', '.join(differing)}."
    )
    return Finding(
        "batch-statistics",
        # With many scalings one or another differs in a sound model too.
        Severity.SEVERE if is_sure else Severity.NOTE,
        what if is_sure else f"With some possible scalings of pixels: {what[0].lower()}{what[1:]}",
        (
            *([unsure] if len(possible) > 1 else []),
            *(_both_modes(measured, name, n_layers) for name in differing),
            _shares_of_one_class(measured, differing),
        ),
        REMEDY,
    )


def _both_modes(measured: Measured, scaling: str, n_layers: int) -> str:
    by_batch, inference = Condition(scaling, by_batch=True), Condition(scaling, by_batch=False)
    found = measured.compare(by_batch, inference)
    return (
        f"Accuracy on {len(measured.sample.labels)} images, pixels {scaling}: "
        f"{percent(measured.accuracy(by_batch))} with batch statistics in "
        f"{count(n_layers, 'BatchNormalization layer')}, "
        f"{percent(measured.accuracy(inference))} with the moving statistics, as in validation; "
        f"paired difference {points(found.difference)}. Dropout is off in both."
    )


def _shares_of_one_class(measured: Measured, scalings: list[str]) -> str:
    counts = {
        name: np.bincount(measured.answers(Condition(name, by_batch=False))) for name in scalings
    }
    given = [f"{each.max()} of {each.sum()}" for each in counts.values()]
    if len(scalings) == 1:
        label = int(counts[scalings[0]].argmax())
        return f"In inference {given[0]} answers are one class: {measured.sample.classes[label]}."
    under = [f"{many} with {name}" for name, many in zip(scalings, given, strict=True)]
    return f"Answers of one class in inference: {', '.join(under)}."


def _untouched(found: list[Leaf]) -> Iterator[Finding]:
    norms = [leaf.layer for leaf in batch_norm_leaves(found)]
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
        "Load the network's weights: weights='imagenet', or load_weights. Without them the network "
        "is not trained.",
    )
