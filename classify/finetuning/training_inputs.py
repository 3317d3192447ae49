"""Batches of inputs: cached activations, images, or augmented images.

Augmentation crops, flips and recolours at random, in tf.data. Each random number depends on the
seed, the epoch and the image's row alone, so a resumed run sees the same images as any other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headbench.classify.finetuning.frozen_part import ActivationStore
from headbench.classify.labelled_files import LabelledFiles, refuse_image
from headbench.extract.images.resizing import as_resizing
from headbench.extract.images.stream import DecodedImage, decoded_images, map_ahead
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.stopwatch import Stopwatch

# Batches read ahead of training; one thread is enough for what is read from the disk.
N_THREADS, N_AHEAD = 1, 4
# A crop has this share of the picture, and this ratio of width to height.
SMALLEST_AREA = 0.35
ASPECT = (3 / 4, 4 / 3)
# Largest change of brightness, as a share of white; of contrast and saturation, as a factor.
BRIGHTNESS, CONTRAST, SATURATION = 0.15, 0.2, 0.2
N_PARALLEL = 2


class InputBatch(NamedTuple):
    """Some inputs.

    Attributes
    ----------
    rows : int64 (n,)
        Index of each image in its split.
    inputs : uint8 (n, size_px, size_px, 3) or float32 (n, ...)
        Images, or their activations after the frozen part.
    """

    rows: NDArray[np.int64]
    inputs: NDArray[Any]


class Inputs(Protocol):
    """The images of a split, in the form that training takes."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image."""

    def batches(
        self, order: NDArray[np.intp], batch_size: int, seed: tuple[int, int]
    ) -> Iterator[InputBatch]:
        """Batches in the order given; `seed` is that of augmentation."""


@dataclass(frozen=True)
class CachedInputs:
    """Activations of each image after the frozen part, read from disk."""

    store: ActivationStore
    contents: Sequence[bytes]
    labels: NDArray[np.int32]

    def batches(
        self,
        order: NDArray[np.intp],
        batch_size: int,
        seed: tuple[int, int],  # noqa: ARG002
    ) -> Iterator[InputBatch]:
        """Batches in the order given."""

        def read(rows: NDArray[np.intp]) -> InputBatch:
            activations = self.store.read([self.contents[row] for row in rows])
            # Here, in a thread of its own: TensorFlow on CPUs has no fast conversion.
            return InputBatch(rows, activations.astype(np.float32))

        slices = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
        return map_ahead(read, slices, N_THREADS, N_AHEAD)


@dataclass(frozen=True)
class ImageInputs:
    """Images, decoded each time."""

    files: LabelledFiles

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image."""
        return self.files.labels

    def batches(
        self,
        order: NDArray[np.intp],
        batch_size: int,
        seed: tuple[int, int],  # noqa: ARG002
    ) -> Iterator[InputBatch]:
        """Batches in the order given."""
        for rows, images in self.files.batches(batch_size, order):
            yield InputBatch(order[rows], images)


@dataclass(frozen=True)
class AugmentedInputs(ImageInputs):
    """Images, each changed at random."""

    def batches(
        self, order: NDArray[np.intp], batch_size: int, seed: tuple[int, int]
    ) -> Iterator[InputBatch]:
        """Batches in the order given."""
        files = [self.files.files[row] for row in order]
        resizing = as_resizing(self.files.resizing)
        frame = resizing.enlarged()

        def images() -> Iterator[DecodedImage]:
            pictures = decoded_images(files, frame, refuse_image(files), Stopwatch())
            # The change depends on the image alone, not on the batch that it is in.
            return (each._replace(row=int(order[each.row])) for each in pictures)

        dataset = augmented(images, frame.size_px, resizing.size_px, seed)
        for rows, pixels in dataset.batch(batch_size).prefetch(N_AHEAD).as_numpy_iterator():
            yield InputBatch(rows, pixels)


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
