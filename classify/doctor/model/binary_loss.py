"""binary_crossentropy, and a last layer that gives something else than it takes."""

from collections.abc import Iterator

from classify.doctor.finding import Finding, Severity
from classify.doctor.model.ending import Ending, are_probabilities
from classify.doctor.model.loss import TAKEN_BACK, Loss

# Of a sigmoid of 1, and the cross-entropies that no output of 0 to 1 can get below.
LARGEST, LEAST_OF_0, LEAST_OF_1 = 0.731, 0.69, 0.31


def check_binary_loss(ending: Ending, loss: Loss) -> Iterator[Finding]:
    """Hold what the last layer gives against what a binary loss takes.

    Parameters
    ----------
    ending : Ending
    loss : Loss
        A binary one.
    """
    is_softmax = are_probabilities(ending.outputs)
    if ending.activation == "softmax" and ending.n_outputs == 1:
        # Always 1, which has been said.
        return
    if loss.from_logits and (is_softmax or ending.activation == "sigmoid"):
        yield _sigmoid_twice(ending, loss)
    elif is_softmax and ending.n_outputs > 2:
        yield _of_many_classes(ending.n_outputs, loss)
    elif not loss.from_logits and not ending.is_within_one and not is_softmax:
        yield _sigmoid_missing(ending, loss)


def _sigmoid_twice(ending: Ending, loss: Loss) -> Finding:
    is_mended = ending.is_taken_back and ending.activation == "sigmoid"
    how = (
        f"The outputs are from 0 to 1, and {loss.name} has from_logits=True: it applies a sigmoid."
    )
    bound = (
        f"A sigmoid of those is from 0.5 to {LARGEST}: no image can be given less than 0.5, "
        "however sure the model is."
    )
    if not loss.is_focal:
        bound += (
            f" The cross-entropy stays above {LEAST_OF_0} where the answer is no, and above "
            f"{LEAST_OF_1} where it is yes."
        )
    return Finding(
        "sigmoid-twice",
        Severity.WARNING if is_mended else Severity.SEVERE,
        "The last layer is a sigmoid, and the loss is told that there is none."
        if is_mended
        else "A sigmoid is applied to probabilities: the loss can hardly fall.",
        (f"{how} {TAKEN_BACK}" if is_mended else how, bound),
        "Keep one: activation='sigmoid' with from_logits=False, or Dense(1) with from_logits=True.",
    )


def _sigmoid_missing(ending: Ending, loss: Loss) -> Finding:
    outputs = ending.outputs
    return Finding(
        "sigmoid-missing",
        Severity.SEVERE,
        f"Nothing keeps the outputs from 0 to 1, as {loss.name} (from_logits=False) takes them.",
        (
            f"Images of noise are given {outputs.min():.3g} to {outputs.max():.3g}. The loss cuts "
            "outputs off at 0 and 1, where its gradient is 0: an image beyond them teaches "
            "nothing.",
        ),
        "Dense(1, activation='sigmoid'), or from_logits=True in the loss.",
    )


def _of_many_classes(n_outputs: int, loss: Loss) -> Finding:
    return Finding(
        "wrong-loss",
        Severity.WARNING,
        f"{loss.name} on a softmax over {n_outputs} classes.",
        (
            "It takes each output for a question of its own, and Keras then counts accuracy over "
            f"all {n_outputs} of them: always answering no is right {1 - 1 / n_outputs:.0%} of the "
            "time.",
        ),
        "categorical_crossentropy, or sparse_categorical_crossentropy for whole-number labels.",
    )
