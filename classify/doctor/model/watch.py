"""What reaches a layer of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.keras_runtime import load_tensorflow
from extract.scalings import Scaling, which_scaling

SEED, N_COLORS = 0, 16


@contextmanager
def watching(layer: Any) -> Iterator[list[NDArray[np.float32]]]:
    """Note what a layer is given, each time that the model is called inside, not traced."""
    seen: list[NDArray[np.float32]] = []
    call = layer.call

    def watched(inputs: Any, *more: Any, **named: Any) -> Any:
        seen.append(np.asarray(inputs, dtype=np.float32))
        return call(inputs, *more, **named)

    layer.call = watched
    try:
        yield seen
    finally:
        del layer.call


def inputs_of_layer(
    model: Any, layer: Any, images: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """What a layer is given in inference, float32; None if it is not asked."""
    with watching(layer) as seen:
        model(load_tensorflow().constant(images), training=False)
    return seen[0] if seen else None


def input_size(model: Any, size_px: int) -> tuple[int, int]:
    """Height and width of the images that a model takes; `size_px` where it takes any."""
    height, width = (side or size_px for side in model.input_shape[1:3])
    return height, width


def arriving(model: Any, first: Any, size_px: int, given: Scaling) -> Scaling | None:
    """What has been done to pixels when they reach the first convolution.

    Found by pictures of one colour each, of which resizing and cropping change nothing.

    Parameters
    ----------
    model : keras.Model
    first : keras.layers.Layer
        Its first convolution.
    size_px : int
        Of the sides that the model leaves open.
    given : Scaling
        What is done before the model.

    Returns
    -------
    Scaling or None
        None if it is no scaling that we know, or that layer sees no three channels.
    """
    colors = np.random.default_rng(SEED).integers(0, 256, size=(N_COLORS, 3), dtype=np.uint8)
    became = colors_at(model, first, size_px, given, colors)
    return None if became is None else which_scaling(colors, became, [given])


def colors_at(
    model: Any, first: Any, size_px: int, given: Scaling, colors: NDArray[np.uint8]
) -> NDArray[np.float32] | None:
    """What colours, uint8 (n, 3), are when they reach the first convolution; see `arriving`.

    Returns
    -------
    float32 (n, 3) or None
        None if that layer sees no three channels.
    """
    shape = (len(colors), *input_size(model, size_px), 3)
    images = np.broadcast_to(colors[:, None, None], shape)
    seen = inputs_of_layer(model, first, given(images))
    if seen is None or seen.ndim != 4 or seen.shape[-1] != 3:
        return None
    middle: NDArray[np.float32] = seen[:, seen.shape[1] // 2, seen.shape[2] // 2]
    return middle
