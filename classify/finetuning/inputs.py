"""Batches to train on and to measure on: from the cached trunk, or from image files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from classify.finetuning.augment import augmented, frame_px
from classify.finetuning.trunk import ActivationStore
from classify.labelled_files import LabelledFiles, refuse_image
from extract.stopwatch import Stopwatch
from extract.stream import DecodedImage, decoded_images
from extract.threads import map_ahead

# Batches read ahead of training; one thread is enough for what is read from the disk.
N_THREADS, N_AHEAD = 1, 4


class InputBatch(NamedTuple):
    """Some inputs.

    Attributes
    ----------
    rows : int64 (n,)
        Which of the images each is.
    inputs : uint8 (n, size_px, size_px, 3) or float32 (n, ...)
        Images, or what the trunk made of them.
    """

    rows: NDArray[np.int64]
    inputs: NDArray[Any]


class Inputs(Protocol):
    """The images of a split, in whatever form they are trained on."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image."""

    def batches(
        self, order: NDArray[np.intp], batch_size: int, seed: tuple[int, int]
    ) -> Iterator[InputBatch]:
        """Batches in the order given; `seed` is that of augmentation."""


@dataclass(frozen=True)
class CachedInputs:
    """What the trunk made of each image, read from disk."""

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
    """Images, decoded anew whenever they are asked for."""

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
class AugmentedInputs:
    """Images, each changed at random."""

    files: LabelledFiles

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image."""
        return self.files.labels

    def batches(
        self, order: NDArray[np.intp], batch_size: int, seed: tuple[int, int]
    ) -> Iterator[InputBatch]:
        """Batches in the order given."""
        files = [self.files.files[row] for row in order]
        size_px = self.files.size_px

        def images() -> Iterator[DecodedImage]:
            pictures = decoded_images(files, frame_px(size_px), refuse_image(files), Stopwatch())
            # Changed by which image it is: whoever else has some of the batch, it is the same.
            return (each._replace(row=int(order[each.row])) for each in pictures)

        dataset = augmented(images, size_px, seed).batch(batch_size).prefetch(N_AHEAD)
        for rows, pixels in dataset.as_numpy_iterator():
            yield InputBatch(rows, pixels)
