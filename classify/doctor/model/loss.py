"""Whether a model's loss fits the output of its last layer: a table of both."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Finding, Severity, not_checked
from headbench.classify.doctor.model.anatomy import Leaf, inputs_of_layer
from headbench.classify.doctor.model.declared_loss import BINARY, CATEGORICAL, Loss

N_RANDOM = 8
SUM_TOLERANCE = 1e-3
# A sigmoid of 1, and the cross-entropies that no sigmoid of an output from 0 to 1 can go below.
LARGEST, LEAST_OF_0, LEAST_OF_1 = 0.731, 0.69, 0.31

# What the loss does with the outputs: takes them for probabilities, applies an activation to them
# again, or would if Keras did not look behind the last layer's activation.
AS_GIVEN, AGAIN, UNDONE = "from_logits=False", "from_logits=True", "from_logits=True, undone"
_UNDONE = (
    "{loss} has from_logits=True, so it applies the activation again. Keras 3 on TensorFlow warns "
    "and applies it once; on JAX or PyTorch, or before another layer, it is applied twice."
)
_BOUND = "A softmax of probabilities over {n} classes never exceeds {largest:.3f}{bound}."
_SIGMOID_BOUND = (
    f"A sigmoid of values from 0 to 1 is between 0.5 and {LARGEST}, however confident the model is."
    "{sigmoid_bound}"
)
_TWICE = "A softmax is applied twice: the loss can hardly fall, and training is very slow."
_ONE_SOFTMAX = (
    "Keep one: Dense(n, activation='softmax') with from_logits=False, or Dense(n) with "
    "from_logits=True."
)
_ONE_SIGMOID = (
    "Keep one: activation='sigmoid' with from_logits=False, or Dense(1) with from_logits=True."
)


def _severe(code: str, what: str, remedy: str, *evidence: str) -> Finding:
    return Finding(code, Severity.SEVERE, what, evidence, remedy)


def _warning(code: str, what: str, remedy: str, *evidence: str) -> Finding:
    return Finding(code, Severity.WARNING, what, evidence, remedy)


_NOT_QUITE = _warning(
    "softmax-missing",
    "The outputs are from 0 to 1, like a sigmoid's, and do not sum to 1; {loss} expects class "
    "probabilities.",
    "Dense(n, activation='softmax'). If an image can belong to several classes: "
    "binary_crossentropy on the sigmoid.",
    "Training works: Keras divides each row by its sum, or on TensorFlow replaces the sigmoid of "
    "the last layer by a softmax, and the largest output stays the largest. But the outputs are "
    "not probabilities.",
)
_SIGMOID_TWICE = _severe(
    "sigmoid-twice",
    "A sigmoid is applied to probabilities: the loss can hardly fall.",
    _ONE_SIGMOID,
    "The outputs are from 0 to 1, and {loss} has from_logits=True: it applies a sigmoid.",
    _SIGMOID_BOUND,
)
_ONE_OUTPUT = _severe(
    "wrong-loss",
    "{loss} on a model with one output.",
    "binary_crossentropy with Dense(1, activation='sigmoid'), or an output for each class.",
    "It compares the outputs of several classes. With one output there is nothing to compare, so "
    "the model learns nothing.",
)
# (what the last layer gives, kind of loss, what the loss does with it) -> verdict, with numbers to
# fill in. What is not in the table fits.
VERDICTS = {
    ("softmax", "categorical", UNDONE): _warning(
        "softmax-twice",
        "The last layer is a softmax, and the loss is set to apply one too.",
        _ONE_SOFTMAX,
        _UNDONE,
        _BOUND,
    ),
    ("softmax", "categorical", AGAIN): _severe(
        "softmax-twice", _TWICE, _ONE_SOFTMAX, "The loss, {loss}, applies it again.", _BOUND
    ),
    ("bounded", "categorical", AS_GIVEN): _NOT_QUITE,
    ("sigmoid", "categorical", AS_GIVEN): _NOT_QUITE,
    ("unbounded", "categorical", AS_GIVEN): _severe(
        "softmax-missing",
        "The outputs are not probabilities, but {loss} (from_logits=False) expects probabilities.",
        "Dense(n, activation='softmax'), or from_logits=True in the loss.",
        "Rows of outputs sum to {sums[0]:.3g} to {sums[1]:.3g}, with values from {low:.3g} to "
        "{high:.3g}; probabilities sum to 1. The loss clips outputs to 0 and 1, where its gradient "
        "is 0.",
    ),
    **{("one output", "categorical", each): _ONE_OUTPUT for each in (AS_GIVEN, AGAIN, UNDONE)},
    ("sigmoid", "binary", UNDONE): _warning(
        "sigmoid-twice",
        "The last layer is a sigmoid, and the loss is set to apply one too.",
        _ONE_SIGMOID,
        _UNDONE,
        _SIGMOID_BOUND,
    ),
    ("sigmoid", "binary", AGAIN): _SIGMOID_TWICE,
    ("softmax", "binary", AGAIN): _SIGMOID_TWICE,
    ("softmax", "binary", UNDONE): _SIGMOID_TWICE,
    ("unbounded", "binary", AS_GIVEN): _severe(
        "sigmoid-missing",
        "The outputs are not limited to 0 to 1, but {loss} (from_logits=False) expects that.",
        "Dense(1, activation='sigmoid'), or from_logits=True in the loss.",
        "Images of noise give {low:.3g} to {high:.3g}. The loss clips outputs to 0 and 1, where "
        "its gradient is 0: the model learns nothing from an image beyond that range.",
    ),
    ("softmax over many", "binary", AS_GIVEN): _warning(
        "wrong-loss",
        "{loss} on a softmax over {n} classes.",
        "categorical_crossentropy, or sparse_categorical_crossentropy for whole-number labels.",
        "It treats each output as a yes-or-no question of its own, and Keras then counts accuracy "
        "over all {n}: always predicting no gives {no:.0%} accuracy.",
    ),
}
# A softmax that is wrong under any loss.
OF_ONE_OUTPUT = _severe(
    "softmax-of-one-output",
    "The last layer is a softmax over one output, which is 1 for every image.",
    "Dense(1, activation='sigmoid') with binary_crossentropy, or Dense(2, activation='softmax') "
    "with sparse_categorical_crossentropy.",
    "{layer} gives 1 for all {n_images} images of noise: a softmax divides by the sum, and one "
    "value is its own sum.",
    "The loss may fall all the same: Keras 3 on TensorFlow computes it from the values before the "
    "softmax.",
)
OF_PROBABILITIES = _severe(
    "softmax-twice", _TWICE, _ONE_SOFTMAX, "The last layer is a softmax of probabilities.", _BOUND
)
WEIGHTS_BETWEEN = _warning(
    "softmax-twice",
    "There is a softmax before the last layer too, with weights between the two.",
    "activation='relu' in hidden layers; a softmax in the last layer only.",
    "The inputs of {layer} are rows of {n_given} values that sum to 1. Its weights can make up for "
    "their small range, but a softmax inside a head learns slowly for confident predictions.",
)


@dataclass(frozen=True)
class Ending:
    """Outputs and last layer of a model for images of noise.

    Attributes
    ----------
    outputs : float32 (n, n_outputs)
    activation, name
        Of the last layer that changes its input, such as ``softmax``; empty if it is unknown.
    given : float32 (n, n_values) or None
        Inputs of that layer, if known.
    is_undone
        Whether Keras' losses use the values before that activation, as they do on TensorFlow.
    """

    outputs: NDArray[np.float32]
    activation: str = ""
    name: str = ""
    given: NDArray[np.float32] | None = None
    has_weights: bool = False
    is_undone: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether no output is NaN or infinite."""
        return bool(np.isfinite(self.outputs).all())

    @property
    def kind(self) -> str:
        """The row of `VERDICTS`; a linear layer is unbounded, whatever its outputs for noise."""
        if are_probabilities(self.outputs):
            return "softmax"
        if self.activation in ("sigmoid", "linear"):
            return {"sigmoid": "sigmoid", "linear": "unbounded"}[self.activation]
        return "bounded" if ((self.outputs >= 0) & (self.outputs <= 1)).all() else "unbounded"


def look_at_ending(model: Any, found: list[Leaf], images: NDArray[np.float32]) -> Ending:
    """Run a model in inference on images (n, height, width, 3) and find its last activation."""
    answered = model(images, training=False)
    outputs = np.asarray(answered, dtype=np.float32)
    drops = False
    for leaf in reversed(found):
        given = inputs_of_layer(model, layer := leaf.layer, images)
        if given is None or not _gives(layer, given, outputs):
            break
        if given.shape != outputs.shape or not np.array_equal(given, outputs, equal_nan=True):
            # Keras keeps there what an activation was given, and has no public way to ask for it.
            is_undone = hasattr(answered, "_keras_logits") and not drops
            name, has_weights = layer.name, bool(layer.weights)
            return Ending(outputs, activation_of(layer), name, given, has_weights, is_undone)
        # As Dropout in inference, or an activation that only turns float16 into float32.
        drops |= "Dropout" in type(layer).__name__
    return Ending(outputs)


def _gives(layer: Any, given: NDArray[np.float32], outputs: NDArray[np.float32]) -> bool:
    """Whether a layer's outputs are those of the model, so that nothing is done after it."""
    found = np.asarray(layer(given), dtype=np.float32)
    return found.shape == outputs.shape and np.allclose(found, outputs, 1e-4, 1e-5, equal_nan=True)


def activation_of(layer: Any) -> str:
    """The name of a layer's activation, such as ``softmax``; empty without one."""
    if type(layer).__name__ == "Softmax":
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "")


def are_probabilities(values: NDArray[np.float32] | None) -> bool:
    """Whether each row has at least two values, sums to 1, and has no value below 0."""
    if values is None or values.ndim != 2 or values.shape[1] < 2:
        return False
    return bool((values >= 0).all() and np.abs(values.sum(axis=1) - 1).max() < SUM_TOLERANCE)


def noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Images of noise, float32 of `shape`, from 0 to 255, the same each time."""
    pixels = np.random.default_rng(0).uniform(0, 255, size=(N_RANDOM, *shape))
    return pixels.astype(np.float32)


def check_loss(ending: Ending, loss: Loss | None) -> Iterator[Finding]:
    """Compare the output of the last layer with what the loss expects; None if it is unknown."""
    if loss is None or not (loss.is_categorical or loss.is_binary):
        yield _unknown(loss)
    verdicts = [_softmax_alone(ending), VERDICTS.get(_row(ending, loss)) if loss else None]
    for verdict in filter(None, verdicts):
        yield _filled(verdict, ending, loss)


def _unknown(loss: Loss | None) -> Finding:
    why = f"The loss {loss.name} is unknown" if loss else "The model's file names no loss"
    return not_checked(
        "the loss",
        f"{why}. Known are {', '.join((*CATEGORICAL, *BINARY))}.",
        "Name it, for example --script-settings loss=categorical_crossentropy, with "
        "from_logits=true if it expects logits.",
    )


def _softmax_alone(ending: Ending) -> Finding | None:
    if ending.activation != "softmax":
        return None
    if ending.outputs.shape[1] == 1:
        return OF_ONE_OUTPUT
    if not are_probabilities(ending.given):
        return None
    return WEIGHTS_BETWEEN if ending.has_weights else OF_PROBABILITIES


def _row(ending: Ending, loss: Loss) -> tuple[str, str, str]:
    n_outputs, kind = ending.outputs.shape[1], ending.kind
    applied = (UNDONE if ending.is_undone else AGAIN) if loss.from_logits else AS_GIVEN
    if loss.is_categorical:
        return "one output" if n_outputs == 1 else kind, "categorical", applied
    if kind == "softmax" and applied == AS_GIVEN and n_outputs > 2:
        kind = "softmax over many"
    return kind, "binary" if loss.is_binary else "", applied


def _filled(verdict: Finding, ending: Ending, loss: Loss | None) -> Finding:
    """A verdict with its numbers; a focal loss gives less weight to sure answers: no bound."""
    outputs, n = ending.outputs, ending.outputs.shape[1]
    largest, sums = np.e / (np.e + n - 1), outputs.sum(axis=1)
    facts: dict[str, Any] = dict.fromkeys(("bound", "sigmoid_bound"), "")
    if not (loss and loss.is_focal):
        least = f"{LEAST_OF_0} for no and {LEAST_OF_1} for yes"
        facts["bound"] = f", so a cross-entropy stays above {-np.log(largest):.2f}"
        facts["sigmoid_bound"] = f" The cross-entropy stays above {least}."
    facts |= {"loss": loss.name if loss else "", "layer": ending.name, "n": n, "no": 1 - 1 / n}
    facts |= {"n_images": len(outputs), "low": outputs.min(), "high": outputs.max()}
    facts |= {"n_given": 0 if ending.given is None else ending.given.shape[1]}
    facts |= {"sums": (sums.min(), sums.max()), "largest": largest}
    evidence = tuple(each.format(**facts) for each in verdict.evidence)
    return replace(verdict, what=verdict.what.format(**facts), evidence=evidence)
