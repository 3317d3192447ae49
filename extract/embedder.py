"""Batches of pixels to embeddings, through a frozen network in inference mode."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.keras_runtime import load_tensorflow
from extract.stream import Batch

# Batches decoded while the network is busy with the one before.
N_PREFETCHED = 2


class Embedded(NamedTuple):
    """Some embeddings.

    Attributes
    ----------
    rows : int64 (n,)
        Those of the batch.
    embeddings : float32 (n, dim)
    """

    rows: NDArray[np.int64]
    embeddings: NDArray[np.float32]


@contextmanager
def as_dataset(batches: Iterable[Any], signature: Any) -> Iterator[Any]:
    """Feed batches to TensorFlow, the next ones made ready while it works on one.

    Parameters
    ----------
    batches : iterable of tuple of array
    signature : tuple of tf.TensorSpec

    Yields
    ------
    tf.data.Dataset
        To be read once, inside the context. An error in `batches` leaves the context as itself:
        tf.data would bury it in one of its own.
    """
    errors: list[Exception] = []

    def until_error() -> Iterator[Any]:
        try:
            yield from batches
        except Exception as error:  # raised again below
            errors.append(error)

    dataset = load_tensorflow().data.Dataset.from_generator(until_error, output_signature=signature)
    try:
        yield dataset.prefetch(N_PREFETCHED)
    finally:
        if errors:
            raise errors[0]


class NetworkEmbedder:
    """A Keras network in inference mode: no output depends on the others of its batch.

    Parameters
    ----------
    network : keras.Model
        Takes uint8 (n, size_px, size_px, 3), RGB, 0-255; gives float32 (n, dim).
    """

    def __init__(self, network: Any) -> None:
        tf = load_tensorflow()
        pixels = tf.TensorSpec(network.input_shape, tf.uint8)
        self._signature = (tf.TensorSpec((None,), tf.int64), pixels)
        self._infer = tf.function(
            lambda images: network(images, training=False), input_signature=[pixels]
        )

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Push batches through the network, in order, decoding ahead.

        Parameters
        ----------
        batches : iterable of Batch

        Yields
        ------
        Embedded
        """
        with as_dataset(batches, self._signature) as dataset:
            for rows, images in dataset:
                yield Embedded(rows.numpy(), self._infer(images).numpy())


def embed_mean_color(batches: Iterable[Batch]) -> Iterator[Embedded]:
    """Mean red, green and blue of each image, float32 (n, 3), 0-255: a stand-in for a network."""
    for rows, images in batches:
        yield Embedded(rows, images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32))
