"""Pictures cropped, mirrored and recoloured at random, in tf.data.

Each random number depends on the seed and the number of the picture alone: not on the batch, nor on
what came before.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from headbench.classify.labelled_files import refuse_image
from headbench.extract.images.resizing import Resizing, as_resizing
from headbench.extract.images.stream import DecodedImage, ImageFile, decoded_images
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.stopwatch import Stopwatch

# A crop has this share of the picture, and this ratio of width to height.
SMALLEST_AREA = 0.35
ASPECT = (3 / 4, 4 / 3)
# Largest change of brightness, as a share of white; of contrast and saturation, as a factor.
BRIGHTNESS, CONTRAST, SATURATION = 0.15, 0.2, 0.2
N_PARALLEL = 2
# All of it in words, which find a copy on disk: change them with `augment`.
AUGMENTATION = (
    f"crop of {SMALLEST_AREA} to 1, {ASPECT[0]} to {ASPECT[1]}; mirrored; brightness {BRIGHTNESS}, "
    f"contrast {CONTRAST}, saturation {SATURATION}"
)


def augmented_files(
    files: Sequence[ImageFile],
    numbers: Sequence[int],
    resizing: Resizing | int,
    seed: tuple[int, int],
) -> Any:
    """The pictures in files, each changed at random; see `augmented`.

    `numbers` are those of the pictures, from 0 to below 2 ** 63.
    """
    resizing = as_resizing(resizing)
    frame = resizing.enlarged()

    def pictures() -> Iterator[DecodedImage]:
        found = decoded_images(files, frame, refuse_image(files), Stopwatch())
        return (each._replace(row=numbers[each.row]) for each in found)

    return augmented(pictures, frame.size_px, resizing.size_px, seed)


def augmented(
    images: Callable[[], Iterator[DecodedImage]], frame_px: int, size_px: int, seed: tuple[int, int]
) -> Any:
    """Pictures, each changed at random, in the order in which they come.

    Parameters
    ----------
    frame_px, size_px : int
        Height and width of the pictures, and of what is cut out of them.
    seed : tuple of int
        Of the run, and the epoch.

    Returns
    -------
    tf.data.Dataset
        Of rows, int64 (), and pictures, uint8 (size_px, size_px, 3).
    """
    tf = load_tensorflow()
    signature = tf.TensorSpec((), tf.int64), tf.TensorSpec((frame_px, frame_px, 3), tf.uint8)
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
    image : tf.Tensor uint8 (frame_px, frame_px, 3)
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
