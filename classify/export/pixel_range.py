"""Detect the range of pixels before they become whole grey levels.

Keras and TensorFlow cast their input to the type of the model's input. Cast to uint8, pixels / 255
would be zeros, and every image would get the same answer. So the input is float32 and is checked.
"""

from typing import Any

from headbench.extract.networks.keras_runtime import load_keras

# Float32 arithmetic leaves 1 and 255 by less than this.
SLACK = 1e-3
EXPECTED = "expected pixels from 0 to 255, RGB, not preprocessed; found values below 0 or above 255"


def grey_levels(pixels: Any) -> tuple[Any, Any]:
    """Whole grey levels of images, whatever of the two ranges each image is in.

    Parameters
    ----------
    pixels : float32 tensor (n, height, width, 3)
        RGB. An image from 0 to 1 with any value in between is one of pixels / 255.

    Returns
    -------
    uint8 tensor (n, height, width, 3) and bool tensor (n, 1)
        0-255; and whether an image was in either range. If not, its levels mean nothing.
    """
    ops, axes = load_keras().ops, (1, 2, 3)
    smallest = ops.min(pixels, axis=axes, keepdims=True)
    largest = ops.max(pixels, axis=axes, keepdims=True)
    has_fractions = ops.any(pixels != ops.round(pixels), axis=axes, keepdims=True)
    is_divided = has_fractions & (largest <= 1 + SLACK)
    levels = ops.where(is_divided, 255 * pixels, pixels)
    fits = (smallest >= -SLACK) & (largest <= 255 + SLACK)
    return ops.cast(ops.round(levels), "uint8"), ops.reshape(fits, (-1, 1))


def with_grey_levels(network: Any) -> Any:
    """A keras.Model of float32 pixels around one of uint8; NaN for images in no range.

    Of Keras' own operations, which can raise no error, so that it loads in safe mode.
    """
    keras = load_keras()
    # The name is in the summary and in the messages of Keras.
    pixels = keras.Input(network.input_shape[1:], dtype="float32", name="pixels_0_to_255")
    levels, fits = grey_levels(pixels)
    return keras.Model(pixels, keras.ops.where(fits, network(levels), float("nan")))
