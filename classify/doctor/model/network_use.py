"""Findings about the use of a network: dead layers, its own top as features, nothing frozen."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import Leaf, convolutions, find_family
from headbench.classify.doctor.model.loss import activation_of
from headbench.classify.wording import count, some
from headbench.extract.networks.keras_runtime import load_tensorflow

N_IMAGES = 16
IMAGENET_CLASSES = 1000
# Layers of keras.applications that give the classes of ImageNet, by how their names end.
TOPS = ("predictions", "conv_preds", "logits", "head_dense")


class Given(NamedTuple):
    """Layers whose output is 0 for all of some images, in order, and the outputs of the model."""

    dead: list[Any]
    outputs: NDArray[np.float32]


def look_at_layers(model: Any, found: list[Leaf], images: NDArray[np.float32]) -> Given:
    """Run a model in inference on images (n, height, width, 3), scaled for it."""
    is_dead: dict[int, bool] = {}
    layers = [leaf.layer for leaf in found]

    def watched(layer: Any) -> Callable[..., Any]:
        def call(*inputs: Any, **options: Any) -> Any:
            given = type(layer).call(layer, *inputs, **options)
            is_zero = not np.any(np.asarray(given))
            is_dead[id(layer)] = is_zero and is_dead.get(id(layer), True)
            return given

        return call

    for layer in layers:
        layer.call = watched(layer)
    try:
        tensor = load_tensorflow().constant(images[:N_IMAGES])
        outputs = np.asarray(model(tensor, training=False), dtype=np.float32)
    finally:
        for layer in layers:
            del layer.call
    return Given([each for each in layers if is_dead.get(id(each), False)], outputs)


def check_dead(given: Given) -> Iterator[Finding]:
    """Name layers whose output is 0 for all images."""
    if not given.dead:
        return
    first, n_images = given.dead[0], len(given.outputs)
    is_blind = bool((given.outputs == given.outputs[0]).all())
    yield Finding(
        "dead-layer",
        Severity.SEVERE if is_blind else Severity.WARNING,
        f"The output of layer {first.name} is 0 for every image"
        + (": the model's output is the same for all." if is_blind else "."),
        (
            f"{n_images} images. Layers whose output is always 0: "
            f"{some([layer.name for layer in given.dead])}.",
            "No gradient passes a ReLU that is 0 for every image: it cannot recover by training.",
        ),
        "Build the head again and train it with a lower learning rate and with the pixel scaling "
        "that the network expects; or use LeakyReLU.",
    )


def check_top(found: list[Leaf]) -> Iterator[Finding]:
    """Name a head whose inputs are the 1 000 classes of ImageNet."""
    weighted = [row for row, leaf in enumerate(found) if leaf.layer.weights]
    for row in weighted[:-1]:
        layer = found[row].layer
        if _width(layer) == IMAGENET_CLASSES and _ends_a_network(found, row):
            yield _top(layer)


def _width(layer: Any) -> int:
    return getattr(layer, "units", 0) or getattr(layer, "filters", 0) or 0


def _ends_a_network(found: list[Leaf], row: int) -> bool:
    """Whether a layer is the top of keras.applications, or a softmax follows before any weights."""
    if found[row].layer.name.endswith(TOPS):
        return True
    for leaf in found[row:]:
        if leaf.layer.weights and leaf is not found[row]:
            return False
        if activation_of(leaf.layer) == "softmax":
            return True
    return False


def _top(layer: Any) -> Finding:
    return Finding(
        "imagenet-top-as-features",
        Severity.WARNING,
        "The head is trained on ImageNet's 1 000 classes, not on the network's embeddings.",
        (f"{layer.name} has {IMAGENET_CLASSES} outputs, and layers with weights follow it.",),
        "Build the network with include_top=False, pooling='avg', and train the head again: "
        "embeddings hold far more than probabilities of 1 000 other classes.",
    )


def check_nothing_frozen(found: list[Leaf], has_learnt: bool) -> Iterator[Finding]:
    """Name a network of keras.applications that is trained as a whole."""
    family, weighted = find_family(found), [leaf for leaf in found if leaf.layer.weights]
    if family is None or any(leaf.is_frozen for leaf in weighted):
        return
    n_convolutions = len(convolutions(weighted))
    yield Finding(
        "nothing-frozen",
        # A network that was fine-tuned as a whole, and is accurate, is no fault.
        Severity.NOTE if has_learnt else Severity.WARNING,
        f"{family.name} is inside, and none of its layers is frozen.",
        (
            f"{count(n_convolutions, 'convolution')} of {n_convolutions} are trained. With a new "
            "head and a usual learning rate, the first steps overwrite what the network learnt "
            "on ImageNet.",
        ),
        "Set base.trainable = False, train the head, then unfreeze the last block with a learning "
        "rate of 1e-5; 'headbench heads' and 'headbench finetune' do that.",
    )
