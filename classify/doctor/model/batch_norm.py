"""BatchNormalization that does in training what it does not do in validation."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from classify.doctor.finding import Finding, Severity
from classify.doctor.model.anatomy import Leaf, batch_norm_leaves, in_frozen_block
from classify.doctor.model.load import UserModel
from classify.doctor.model.measured import Condition, Measured
from classify.wording import count, percent, points, some

REMEDY = (
    "Set layer.trainable = False on every BatchNormalization of the network, again after "
    "unfreezing and before compile: base(x, training=False) alone does not do it in Keras 3. Or "
    "extract once in inference mode, 'make features', and train a head on that."
)


def by_batch_in_training(user: UserModel, found: list[Leaf]) -> list[Any]:
    """The BatchNormalization layers that normalise by the batch while the model is trained."""
    norms = [leaf.layer for leaf in batch_norm_leaves(found)]
    # The layer looks at its own flag alone, not at that of the model around it.
    return [each for each in norms if each.trainable or not user.froze_batch_norms]


def check_batch_norms(
    user: UserModel, found: list[Leaf], measured: Measured | None, scalings: tuple[str, ...]
) -> Iterator[Finding]:
    """Name layers that differ between training and validation, and show what that does.

    Parameters
    ----------
    user : UserModel
    found : list of Leaf
    measured : Measured or None
        None where there are no labelled images.
    scalings : tuple of str
        That of the pixels that the model is trained on; all that it may be, if it is not known.
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
    """Under which of them more is right by the batch than in inference."""
    return [
        name
        for name in scalings
        if measured.is_better(Condition(name, by_batch=True), Condition(name, by_batch=False))
    ]


def _in_frozen_block(user: UserModel, offending: list[Any], n_norms: int, differs: bool) -> Finding:
    why = (
        "They are trainable (layer.trainable is True), which is all that a BatchNormalization "
        "looks at, whatever the model around it says."
        if user.froze_batch_norms
        else f"Saved by Keras {user.keras_version}, in which a frozen BatchNormalization still "
        "used the batch in training."
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
        "The same images get other answers in training mode than in inference: what training "
        "accuracy shows is not there in validation."
    )
    unsure = (
        f"The model may be trained on pixels {', '.join(possible)}, which is not said: it is so "
        f"under {'each' if is_sure else ', '.join(differing)}."
    )
    return Finding(
        "batch-statistics",
        # Of many scalings one or another differs in a sound model too.
        Severity.SEVERE if is_sure else Severity.NOTE,
        what
        if is_sure
        else f"Under some pixels that it may be trained on: {what[0].lower()}{what[1:]}",
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
        f"Pixels {scaling}, {len(measured.sample.labels)} images: "
        f"{percent(measured.accuracy(by_batch))} right with the "
        f"statistics of the batch in {count(n_layers, 'BatchNormalization layer')}, "
        f"{percent(measured.accuracy(inference))} with the moving statistics, as in "
        f"validation; paired difference {points(found.difference)}. Dropout is off in both."
    )


def _shares_of_one_class(measured: Measured, scalings: list[str]) -> str:
    counts = {
        name: np.bincount(measured.answers(Condition(name, by_batch=False))) for name in scalings
    }
    given = [f"{each.max()} of {each.sum()}" for each in counts.values()]
    if len(scalings) == 1:
        label = int(counts[scalings[0]].argmax())
        return f"In inference {given[0]} answers are one class, {measured.sample.classes[label]}."
    under = [f"{many} under {name}" for name, many in zip(scalings, given, strict=True)]
    return f"In inference that many answers are one class: {', '.join(under)}."


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
        f"{len(fresh)} of {len(norms)} BatchNormalization layers hold the statistics that they "
        "were created with: mean 0, variance 1.",
        (f"{some([layer.name for layer in fresh])}.",),
        "Were the network's weights loaded (weights='imagenet', or load_weights)? Without, it "
        "knows nothing.",
    )
