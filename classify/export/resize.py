"""Pillow's antialiased bilinear resize in a TensorFlow graph, equal bit for bit.

Pillow resizes one axis, rounds to whole grey levels, resizes the other, and rounds again; its
weights are whole numbers of 2 ** -22. Products of those with grey levels stay below 2 ** 53, so
that float64 adds them up exactly, in whatever order.
"""

from typing import Any, NamedTuple

from headbench.cache.writer import installed_version
from headbench.extract.networks.keras_runtime import load_tensorflow

tf = load_tensorflow()

ONE = 2**22
DOWN_FIRST_SINCE = 13
# Pixels that are turned into float64 at a time: 24 MB.
BLOCK_PIXELS = 2**20


class Weights(NamedTuple):
    """What each pixel of one axis counts for in each pixel of the result.

    Attributes
    ----------
    first : int32 ()
        The first pixel that counts for anything.
    values : float64 (size_px, n_pixels)
        From that pixel on; whole numbers, each row about 2 ** 22.
    """

    first: Any
    values: Any


def resize(pixels: Any, x: Any, y: Any, size: tuple[Any, Any]) -> Any:
    """Resize a box of an image.

    Parameters
    ----------
    pixels : uint8 tensor (height, width, n_channels)
    x, y : float32 tensor (2,)
        Where the box begins and ends on each axis, in pixels.
    size : tuple of int or int32 tensor ()
        Width and height of the result.

    Returns
    -------
    uint8 tensor (height, width, n_channels)
        As ``Image.resize(size, BILINEAR, box)``.
    """
    width, height = size
    return tf.cond(
        _is_down_first(tf.shape(pixels), width, height),
        lambda: _transposed(_resize_across_then_down(_transposed(pixels), y, x, (height, width))),
        lambda: _resize_across_then_down(pixels, x, y, (width, height)),
    )


def _is_down_first(shape: Any, width: Any, height: Any) -> Any:
    """Whether Pillow resizes down before it resizes across; rounded differently, by a grey level.

    Found by trying: since version 13 where much more is taken off the height than off the width.
    """
    if int(installed_version("pillow").split(".")[0]) < DOWN_FIRST_SINCE:
        return tf.constant(False)
    return (shape[0] > height) & (shape[0] - height > 2 * (shape[1] - width))


def _transposed(pixels: Any) -> Any:
    return tf.transpose(pixels, [1, 0, 2])


def _resize_across_then_down(pixels: Any, x: Any, y: Any, size: tuple[Any, Any]) -> Any:
    shape, (width, height) = tf.shape(pixels), size
    across, down = axis_weights(shape[1], x, width), axis_weights(shape[0], y, height)
    n_rows, n_columns = tf.shape(down.values)[1], tf.shape(across.values)[1]
    n_block = tf.maximum(1, BLOCK_PIXELS // n_columns)
    columns = slice(across.first, across.first + n_columns)

    def add_rows(row: Any, total: Any) -> Any:
        end = tf.minimum(row + n_block, n_rows)
        block = tf.transpose(pixels[down.first + row : down.first + end, columns], [0, 2, 1])
        flat = tf.cast(tf.reshape(block, [-1, n_columns]), tf.float64)
        narrow = _rounded(tf.matmul(flat, across.values, transpose_b=True))
        rows = tf.reshape(narrow, [end - row, shape[2] * width])
        return end, total + tf.matmul(down.values[:, row:end], rows)

    _, total = tf.while_loop(
        lambda row, _: row < n_rows,
        add_rows,
        [0, tf.zeros([height, shape[2] * width], tf.float64)],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, None])],
        parallel_iterations=1,
    )
    resized = tf.reshape(_rounded(total), [height, shape[2], width])
    return tf.cast(tf.transpose(resized, [0, 2, 1]), tf.uint8)


def axis_weights(length: Any, box: Any, size_px: Any) -> Weights:
    """Weights of a triangle as wide as two pixels of the result, or of the picture.

    Parameters
    ----------
    length : int32 tensor ()
        Of the axis, in pixels.
    box : float32 tensor (2,)
    size_px : int or int32 tensor ()
        Of the result.
    """
    # Pillow takes this difference in float32, and all else in float64.
    extent = tf.cast(box[1] - box[0], tf.float64)
    # When a graph is optimised, plain division by a constant becomes multiplication by 1 / size_px.
    # Its last bit decides weights that lie in the middle between two whole numbers.
    scale = tf.math.divide_no_nan(extent, tf.cast(size_px, tf.float64))
    reach = tf.maximum(scale, 1.0)
    steps = tf.range(tf.cast(size_px, tf.float64), dtype=tf.float64) + 0.5
    centres = tf.cast(box[0], tf.float64) + steps * scale
    lows = tf.maximum(tf.floor(centres - reach + 0.5), 0.0)
    highs = tf.minimum(tf.floor(centres + reach + 0.5), tf.cast(length, tf.float64))
    at = tf.range(lows[0], highs[-1], dtype=tf.float64)
    distances = tf.abs((at - centres[:, tf.newaxis] + 0.5) * (1.0 / reach))
    is_inside = (at >= lows[:, tf.newaxis]) & (at < highs[:, tf.newaxis])
    values = tf.where(is_inside, tf.maximum(1.0 - distances, 0.0), 0.0)
    shares = values / tf.reduce_sum(values, axis=1, keepdims=True)
    return Weights(tf.cast(lows[0], tf.int32), tf.floor(0.5 + shares * ONE))


def _rounded(sums: Any) -> Any:
    """Whole grey levels from sums of grey levels times 2 ** 22."""
    return tf.clip_by_value(tf.floor((sums + ONE / 2) / ONE), 0.0, 255.0)
