"""A last layer, and a loss that takes something else than what it gives."""

from collections.abc import Iterator

import numpy as np

from classify.doctor.finding import Finding, Severity, not_checked
from classify.doctor.model.binary_loss import check_binary_loss
from classify.doctor.model.ending import Ending, are_probabilities
from classify.doctor.model.loss import BINARY, CATEGORICAL, TAKEN_BACK, Loss

KEEP_ONE = (
    "Keep one: Dense(n, activation='softmax') with from_logits=False, or Dense(n) with "
    "from_logits=True."
)


def check_loss(ending: Ending, loss: Loss | None) -> Iterator[Finding]:
    """Hold what the last layer gives against what the loss takes.

    Parameters
    ----------
    ending : Ending
    loss : Loss or None
        None if it is not known.
    """
    if loss is None or not (loss.is_categorical or loss.is_binary):
        yield _unknown(loss)
    yield from _check_softmax(ending)
    if loss and loss.is_categorical:
        yield from _check_categorical(ending, loss)
    elif loss and loss.is_binary:
        yield from check_binary_loss(ending, loss)


def _unknown(loss: Loss | None) -> Finding:
    known = ", ".join((*CATEGORICAL, *BINARY))
    return not_checked(
        "the loss",
        f"{loss.name} is none of those that we know: {known}."
        if loss
        else "The model's file names none that can be read.",
        "Say it: --script-settings loss=categorical_crossentropy, say, and from_logits=true where "
        "it is given logits.",
    )


def _check_softmax(ending: Ending) -> Iterator[Finding]:
    """A softmax that is wrong under any loss."""
    if ending.activation != "softmax":
        return
    if ending.n_outputs == 1:
        yield _of_one_output(ending)
    elif are_probabilities(ending.given) and ending.has_weights:
        yield _weights_between(ending)
    elif are_probabilities(ending.given):
        yield _twice(Severity.SEVERE, "The last layer is a softmax of probabilities.", ending, None)


def _check_categorical(ending: Ending, loss: Loss) -> Iterator[Finding]:
    if ending.n_outputs == 1:
        yield _nothing_to_choose(loss)
    elif not are_probabilities(ending.outputs):
        if not loss.from_logits:
            yield _close_enough(loss) if ending.is_within_one else _missing(ending, loss)
    elif loss.from_logits and ending.is_taken_back:
        how = f"The last layer is a softmax, and {loss.name} has from_logits=True. {TAKEN_BACK}"
        yield _twice(Severity.WARNING, how, ending, loss)
    elif loss.from_logits:
        how = f"The loss, {loss.name}, applies it once more."
        yield _twice(Severity.SEVERE, how, ending, loss)


def _twice(severity: Severity, how: str, ending: Ending, loss: Loss | None) -> Finding:
    largest = np.e / (np.e + ending.n_outputs - 1)
    # A focal loss weighs down what is sure, and has no such bound.
    crawls = (
        ""
        if loss and loss.is_focal
        else f", so that a cross-entropy stays above {-np.log(largest):.2f}, however sure the "
        "model is"
    )
    what = "A softmax is applied twice: the loss can hardly fall, and training crawls."
    if severity is Severity.WARNING:
        what = "The last layer is a softmax, and the loss is told that there is none."
    return Finding(
        "softmax-twice",
        severity,
        what,
        (
            how,
            f"A softmax of probabilities over {ending.n_outputs} classes never exceeds "
            f"{largest:.3f}{crawls}.",
        ),
        KEEP_ONE,
    )


def _weights_between(ending: Ending) -> Finding:
    n_values = 0 if ending.given is None else ending.given.shape[1]
    return Finding(
        "softmax-twice",
        Severity.WARNING,
        "There is a softmax before the last layer too, with weights between the two.",
        (
            f"{ending.name} is given rows of {n_values} values that add up to 1. Its weights can "
            "make up for their small range, but a softmax amid a head lets few of its values "
            "through, and learns slowly where it is sure.",
        ),
        "activation='relu' in hidden layers, a softmax in the last one alone.",
    )


def _of_one_output(ending: Ending) -> Finding:
    return Finding(
        "softmax-of-one-output",
        Severity.SEVERE,
        "The last layer is a softmax over one output, which is 1 for every image.",
        (
            f"All {len(ending.outputs)} images of noise are given 1 by {ending.name}: a softmax "
            "divides by the sum, and one value is its own sum.",
            "The loss may fall all the same: Keras 3 on TensorFlow computes it from what the "
            "softmax is given.",
        ),
        "Dense(1, activation='sigmoid') with binary_crossentropy, or Dense(2, "
        "activation='softmax') with sparse_categorical_crossentropy.",
    )


def _nothing_to_choose(loss: Loss) -> Finding:
    why = (
        "It takes labels for the number of an output, and there is none but number 0."
        if loss.name.startswith("sparse")
        else "It takes the output as a share of the sum of all, which is 1 where there is but one: "
        "the loss is 0 whatever the model says, and nothing is learnt."
    )
    return Finding(
        "wrong-loss",
        Severity.SEVERE,
        f"{loss.name} on a model of one output.",
        (why,),
        "binary_crossentropy with Dense(1, activation='sigmoid'), or an output for each class.",
    )


def _missing(ending: Ending, loss: Loss) -> Finding:
    outputs = ending.outputs
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


def _close_enough(loss: Loss) -> Finding:
    return Finding(
        "softmax-missing",
        Severity.WARNING,
        f"The outputs are from 0 to 1, as a sigmoid's, and do not add up to 1; {loss.name} takes "
        "probabilities of classes.",
        (
            "It trains: Keras divides each row by its sum, or on TensorFlow puts a softmax in "
            "place of the last layer's sigmoid, and the largest output stays the largest. But no "
            "output is the probability of its class.",
        ),
        "Dense(n, activation='softmax'); where an image can be of several classes, "
        "binary_crossentropy on the sigmoid.",
    )
