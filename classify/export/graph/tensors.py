"""Bytes of a string tensor as numbers and pieces, and errors that a graph raises."""

from typing import Any

from extract.keras_runtime import load_tensorflow


def text_at(data: Any, position: Any, n_bytes: Any) -> Any:
    """A piece of a string tensor (), shorter or empty where the string ends before it does."""
    tf = load_tensorflow()
    length = tf.strings.length(data)
    # substr raises an error for a start past the end.
    start = tf.clip_by_value(position, 0, length)
    return tf.strings.substr(data, start, tf.clip_by_value(n_bytes, 0, length - start))


def number_at(data: Any, position: Any, n_bytes: int, is_big_endian: Any = True) -> Any:
    """A whole number, int32 tensor (), zeros where the string has ended.

    One of four bytes with its first bit set comes out negative.
    """
    tf = load_tensorflow()
    piece = text_at(data, position, n_bytes) + bytes(n_bytes)
    numbers = tf.cast(tf.io.decode_raw(text_at(piece, 0, n_bytes), tf.uint8), tf.int32)
    ordered = tf.where(is_big_endian, numbers, tf.reverse(numbers, [0]))
    places = [8 * each for each in reversed(range(n_bytes))]
    return tf.reduce_sum(tf.bitwise.left_shift(ordered, places))


def require(is_right: Any, otherwise: str) -> Any:
    """A context whose tensors are computed only if a bool tensor () is true.

    Raises, when the graph runs, ``InvalidArgumentError`` with the text.
    """
    tf = load_tensorflow()
    return tf.control_dependencies([tf.debugging.Assert(is_right, [otherwise])])
