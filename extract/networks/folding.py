"""BatchNormalization folded into the convolution before it: fewer multiplications per pixel.

In inference mode ``norm(conv(x)) = (conv(x) + b - mean) * s + beta`` with
``s = gamma / sqrt(variance + epsilon)`` is a convolution again: kernel ``k * s``, bias
``(b - mean) * s + beta``.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.extract.networks.cut import inputs_of
from headbench.extract.networks.keras_runtime import load_keras


def fold_batch_norms(network: Any) -> Any:
    """The network without the BatchNormalization layers that directly follow a convolution.

    The network must be functional, and is not modified. The result is for inference only, where it
    equals the network up to rounding.
    """
    norm_of = {conv.name: norm for conv, norm in _foldable(network)}
    if not norm_of:
        return network
    folded = {norm.name for norm in norm_of.values()}

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in norm_of:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **kwargs)

    result = load_keras().models.clone_model(network, clone_function=copy, call_function=call)
    for layer in (each for each in result.layers if each.weights):
        original = network.get_layer(layer.name)
        norm = norm_of.get(layer.name)
        layer.set_weights(original.get_weights() if norm is None else _fold(original, norm))
    result.trainable = False
    return result


def base_of(network: Any) -> Any:
    """The network inside a model that adds preprocessing, and perhaps a head."""
    models = [each for each in network.layers if isinstance(each, load_keras().Model)]
    # A head may be a model too, but it takes embeddings.
    [base] = [each for each in models if len(each.input_shape) == 4]
    return base


def fold_base(network: Any) -> Any:
    """The model with `base_of` it folded by `fold_batch_norms`; everything else is shared by both.

    The model must be functional and contain one model; it is not modified.
    """
    base = base_of(network)
    folded = fold_batch_norms(base)
    return load_keras().models.clone_model(
        network, clone_function=lambda layer: folded if layer is base else layer
    )


def _foldable(network: Any) -> list[tuple[Any, Any]]:
    """Each convolution whose output goes only into a BatchNormalization, and that layer."""
    layers = load_keras().layers
    n_readers = Counter(id(tensor) for each in network.operations for tensor in inputs_of(each))
    convs = {
        id(layer.output): layer
        for layer in network.layers
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and layer.activation.__name__ == "linear"
        and n_readers[id(layer.output)] == 1
    }
    return [
        (convs[id(layer.input)], layer)
        for layer in network.layers
        if type(layer) is layers.BatchNormalization and id(layer.input) in convs
    ]


def _fold(conv: Any, norm: Any) -> list[NDArray[np.float32]]:
    """Kernel and bias of both layers in one; computed in float64, so that rounding happens once."""
    kernel, *biases = (np.asarray(weight, np.float64) for weight in conv.get_weights())
    bias = biases[0] if biases else 0.0
    mean, variance = (_values(each) for each in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * _values(norm.gamma)
    shift = _values(norm.beta) if norm.center else 0.0
    # A depthwise kernel ends in (channels, multiplier), any other in its output channels.
    is_depthwise = kernel.shape[-1] != scale.size
    kernel = kernel * (scale.reshape(kernel.shape[-2:]) if is_depthwise else scale)
    return [kernel.astype(np.float32), ((bias - mean) * scale + shift).astype(np.float32)]


def _values(variable: Any) -> NDArray[np.float64]:
    return np.asarray(variable.numpy(), np.float64)
