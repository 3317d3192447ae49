"""Random crops, flips and colours of the images of train, in tf.data.

Every number is drawn from the seed, the epoch and the image's row, so that a run that is resumed or
shared by several machines sees what an uninterrupted one on a single machine would have seen.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from extract.decode import shorter_side_px
from extract.keras_runtime import load_tensorflow
from extract.stream import DecodedImage

# A crop has this share of the picture, and this ratio of width to height.
SMALLEST_AREA = 0.35
ASPECT = (3 / 4, 4 / 3)
# Largest change of brightness, as a share of white; of contrast and saturation, as a factor.
BRIGHTNESS, CONTRAST, SATURATION = 0.15, 0.2, 0.2
N_PARALLEL = 2


def frame_px(size_px: int) -> int:
    """Size of the pictures that crops of `size_px` are taken from: what evaluation sees, larger."""
    return shorter_side_px(size_px)


def augmented(
    images: Callable[[], Iterator[DecodedImage]], size_px: int, seed: tuple[int, int]
) -> Any:
    """Pictures, each changed at random, in the order in which they come.

    Parameters
    ----------
    images : callable
        Gives uint8 pictures of `frame_px`, with their rows.
    size_px : int
        Height and width of the results.
    seed : tuple of int
        Of the run, and the epoch.

    Returns
    -------
    tf.data.Dataset
        Of rows, int64 (), and pictures, uint8 (size_px, size_px, 3).
    """
    tf = load_tensorflow()
    frame = frame_px(size_px)
    signature = (
        tf.TensorSpec((), tf.int64),
        tf.TensorSpec((frame, frame, 3), tf.uint8),
    )
    mixed = np.random.SeedSequence(seed).generate_state(1)[0]

    def change(row: Any, image: Any) -> tuple[Any, Any]:
        return row, augment(image, size_px, tf.stack([tf.constant(mixed, tf.int64), row]))

    def pairs() -> Iterator[tuple[int, Any]]:
        return ((each.row, each.image) for each in images())

    dataset = tf.data.Dataset.from_generator(pairs, output_signature=signature)
    return dataset.map(change, num_parallel_calls=N_PARALLEL, deterministic=True)


def augment(image: Any, size_px: int, seed: Any) -> Any:
    """A random part of a picture, perhaps mirrored, in slightly other colours.

    Parameters
    ----------
    image : tf.Tensor uint8 (frame, frame, 3)
    size_px : int
    seed : tf.Tensor int64 (2,)

    Returns
    -------
    tf.Tensor uint8 (size_px, size_px, 3)
    """
    tf = load_tensorflow()
    seeds = tf.unstack(tf.random.split(seed, 6))
    box = _random_box(seeds[0], seeds[1])
    crops = tf.image.crop_and_resize(
        tf.cast(image, tf.float32)[tf.newaxis], box[tf.newaxis], [0], (size_px, size_px)
    )
    pixels = tf.image.stateless_random_flip_left_right(crops[0], seeds[2]) / 255
    pixels = tf.image.stateless_random_brightness(pixels, BRIGHTNESS, seeds[3])
    pixels = tf.image.stateless_random_contrast(pixels, 1 - CONTRAST, 1 + CONTRAST, seeds[4])
    pixels = tf.clip_by_value(pixels, 0, 1)
    pixels = tf.image.stateless_random_saturation(pixels, 1 - SATURATION, 1 + SATURATION, seeds[5])
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0, 1) * 255), tf.uint8)


def _random_box(size_seed: Any, place_seed: Any) -> Any:
    """Top, left, bottom and right of a crop, as shares of the picture, float32 (4,)."""
    tf = load_tensorflow()
    area, logarithm = tf.unstack(
        tf.random.stateless_uniform((2,), size_seed)
        * tf.constant([1 - SMALLEST_AREA, float(np.log(ASPECT[1] / ASPECT[0]))])
        + tf.constant([SMALLEST_AREA, float(np.log(ASPECT[0]))])
    )
    aspect = tf.exp(logarithm)
    sides = tf.minimum(tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)]), 1.0)
    corner = tf.random.stateless_uniform((2,), place_seed) * (1 - sides)
    return tf.concat([corner, corner + sides], axis=0)
