"""The layers of a model: frozen layers, the network that they belong to, the inputs of a layer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow


class Leaf(NamedTuple):
    """A layer without layers inside; frozen if it, or a model around it, is frozen."""

    layer: Any
    is_frozen: bool


@dataclass(frozen=True)
class Family:
    """Networks of keras.applications that expect the same pixels.

    Attributes
    ----------
    has
        Names of layers that identify it; all must be there.
    has_not
        Names of layers of other families that have those layers too.
    scaling
        Scaling that its first convolution expects: a name in
        `headbench.classify.doctor.scalings.KNOWN`.
    or_else
        Other scalings that are correct too, in other versions of Keras or without ImageNet weights.
    """

    name: str
    has: tuple[str, ...]
    has_not: tuple[str, ...]
    scaling: str
    or_else: tuple[str, ...] = ()


CONVNEXT = ("tiny", "small", "base", "large", "xlarge")
# From MobileNetV3 on they scale pixels themselves, before their first convolution.
FAMILIES = (
    Family("ResNet", ("conv1_conv", "conv1_bn", "conv2_block1_1_conv"), ("pool2_bn",), "caffe"),
    # As Keras 2.2 called the same layers.
    Family("ResNet", ("conv1", "bn_conv1", "res2a_branch2a"), (), "caffe"),
    Family("ResNetV2", ("conv2_block1_preact_bn", "post_bn"), (), "tf"),
    Family("DenseNet", ("conv2_block1_0_bn", "pool2_bn"), (), "torch"),
    Family("VGG", ("block1_conv1", "block5_conv3"), (), "caffe"),
    Family("Xception", ("block1_conv1", "block2_sepconv1"), (), "tf"),
    Family("MobileNet", ("conv1", "conv_dw_1"), (), "tf"),
    Family("MobileNetV2", ("Conv1", "expanded_conv_depthwise", "Conv_1"), (), "tf"),
    Family("InceptionV3", ("mixed0", "mixed10"), (), "tf"),
    Family("InceptionResNetV2", ("mixed_5b", "mixed_7a"), (), "tf"),
    Family("NASNet", ("stem_conv1", "stem_bn1"), (), "tf"),
    Family("MobileNetV3", ("conv", "expanded_conv_depthwise", "conv_1"), (), "tf"),
    Family("EfficientNet", ("stem_conv", "block1a_dwconv"), (), "torch", ("root", "/255")),
    # Without these two it is an EfficientNet of version 1, or one of the larger ones: other pixels.
    Family(
        "EfficientNetV2B",
        ("stem_conv", "block1a_project_conv", "block6h_add"),
        ("block1a_dwconv", "block6m_add"),
        "torch",
    ),
    # Without its own preprocessing Keras documents -1 to 1.
    Family(
        "EfficientNetV2S, M or L",
        ("stem_conv", "block1a_project_conv", "block6m_add"),
        ("block1a_dwconv",),
        "/128 - 1",
        ("tf",),
    ),
    *(Family("ConvNeXt", (f"convnext_{size}_stem_conv",), (), "torch") for size in CONVNEXT),
)


def leaves(layer: Any, is_inside_frozen: bool = False) -> list[Leaf]:
    """All layers of a model that have no layers inside, in the order of Keras."""
    is_frozen = is_inside_frozen or not layer.trainable
    # Keras has no public way to list the layers of layers.
    inside = layer._flatten_layers(include_self=False, recursive=False)
    if not inside:
        return [Leaf(layer, is_frozen)]
    return [leaf for each in inside for leaf in leaves(each, is_frozen)]


def find_family(found: list[Leaf]) -> Family | None:
    """The family of networks whose layers a model has; None if unknown."""
    names = {leaf.layer.name for leaf in found}
    for family in FAMILIES:
        if names.issuperset(family.has) and names.isdisjoint(family.has_not):
            return family
    return None


def first_convolution(found: list[Leaf]) -> Any:
    """The first convolution; None if there is none."""
    kinds = load_keras().layers
    convolutions = (kinds.Conv2D, kinds.DepthwiseConv2D, kinds.SeparableConv2D)
    return next((leaf.layer for leaf in found if isinstance(leaf.layer, convolutions)), None)


def convolutions(found: list[Leaf]) -> list[Leaf]:
    """Convolutions of any dimension: they take most of the time and hold most weights."""
    return [leaf for leaf in found if "Conv" in type(leaf.layer).__name__]


def norms_among(found: list[Leaf]) -> list[Any]:
    """The BatchNormalization layers."""
    kind = load_keras().layers.BatchNormalization
    return [leaf.layer for leaf in found if isinstance(leaf.layer, kind)]


def in_frozen_block(found: list[Leaf]) -> set[int]:
    """The ids of BatchNormalization layers that follow frozen weights.

    Layers that normalise vectors are left out: they belong to the head on a frozen network.
    """
    norms = set(map(id, norms_among(found)))
    frozen: set[int] = set()
    is_frozen = False
    for leaf in (each for each in found if each.layer.weights):
        if id(leaf.layer) not in norms:
            is_frozen = leaf.is_frozen
        elif is_frozen and leaf.layer.input_spec.ndim > 2:
            frozen.add(id(leaf.layer))
    return frozen


class _ReachedError(BaseException):
    """Ends a forward pass; Keras would wrap an `Exception`."""


def inputs_of_layer(
    model: Any, layer: Any, images: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """A layer's inputs in inference, float32; None if it is not called. Later layers do not run."""
    seen: list[NDArray[np.float32]] = []

    def reached(inputs: Any, *_: Any, **__: Any) -> Any:
        seen.append(np.asarray(inputs, dtype=np.float32))
        raise _ReachedError

    layer.call = reached
    try:
        model(load_tensorflow().constant(images), training=False)
    except _ReachedError:
        return seen[0]
    finally:
        del layer.call
    return None


def input_size(model: Any, size_px: int) -> tuple[int, int]:
    """Height and width of a model's input; `size_px` for a side that may have any size."""
    height, width = (side or size_px for side in model.input_shape[1:3])
    return height, width


def batch_norms(model: Any) -> list[Any]:
    """The BatchNormalization layers of a Keras model and of models inside it, in order."""
    kind = load_keras().layers.BatchNormalization
    # Keras has no public way to list the layers of layers.
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


@contextmanager
def batch_statistics(layers: Iterable[Any]) -> Iterator[None]:
    """Let some BatchNormalization layers, frozen or not, use batch statistics for a while.

    Nothing else changes: Dropout and augmentation stay in inference mode, and the moving statistics
    are restored at the end. TensorFlow functions traced inside keep batch statistics; functions
    traced outside never use them.
    """
    changed = [
        (
            layer,
            (layer.trainable, [variable.trainable for variable in layer.variables]),
            (layer.moving_mean.numpy(), layer.moving_variance.numpy()),
        )
        for layer in layers
    ]
    for layer, *_ in changed:
        # A frozen layer ignores training=True.
        layer.trainable = True
        layer.call = _in_training(layer)
    try:
        yield
    finally:
        for layer, (is_trainable, flags), moving in changed:
            del layer.call
            layer.trainable = is_trainable
            for variable, flag in zip(layer.variables, flags, strict=True):
                variable.trainable = flag
            layer.moving_mean.assign(moving[0])
            layer.moving_variance.assign(moving[1])


def _in_training(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG001
        return type(layer).call(layer, inputs, training=True, mask=mask)

    return call
