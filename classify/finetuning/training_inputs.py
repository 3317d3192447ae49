"""Batches of inputs: cached activations, images, or augmented images.

Augmentation depends on the seed, the epoch and the image's row alone, so a resumed run sees the
same images as any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headbench.classify.finetuning.augmentation import augmented_files
from headbench.classify.finetuning.frozen_part import ActivationStore
from headbench.classify.labelled_files import LabelledFiles
from headbench.extract.images.stream import map_ahead

# Batches read ahead of training; one thread is enough for what is read from the disk.
N_THREADS, N_AHEAD = 1, 4


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
    """Activations of each image after the frozen part, read from disk.

    Attributes
    ----------
    copies : sequence of sequence of bytes, n_copies of n_images
        Keys in the store. Each epoch reads the next copy of all images, and begins again after the
        last one.
    """

    store: ActivationStore
    copies: Sequence[Sequence[bytes]]
    labels: NDArray[np.int32]

    def batches(
        self,
        order: NDArray[np.intp],
        batch_size: int,
        seed: tuple[int, int],
    ) -> Iterator[InputBatch]:
        """Batches in the order given."""
        keys = self.copies[(seed[1] - 1) % len(self.copies)]

        def read(rows: NDArray[np.intp]) -> InputBatch:
            activations = self.store.read([keys[row] for row in rows])
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
        dataset = augmented_files(files, order.tolist(), self.files.resizing, seed)
        for rows, pixels in dataset.batch(batch_size).prefetch(N_AHEAD).as_numpy_iterator():
            yield InputBatch(rows, pixels)
