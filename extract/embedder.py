"""Batches of pixels to embeddings: an engine that was checked, fed by several threads, in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from extract.engines import Engine
from extract.stopwatch import Stopwatch
from extract.stream import Batch
from extract.threads import map_ahead


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


class Embedder(Protocol):
    """What turns batches into embeddings."""

    @property
    def batch_size(self) -> int:
        """Images in a batch that suit it."""

    @property
    def n_streams(self) -> int:
        """Threads that should call `infer` at the same time."""

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, float32 (n, dim), of one batch of uint8 (n, size_px, size_px, 3)."""

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""


@dataclass(frozen=True)
class EngineEmbedder:
    """Pushes batches through an engine, `n_streams` at the same time.

    Attributes
    ----------
    engine : Engine
    batch_size : int
    stopwatch : Stopwatch
        Counts the stage ``network``.
    """

    engine: Engine
    batch_size: int
    stopwatch: Stopwatch

    @property
    def n_streams(self) -> int:
        """Threads that should call `infer` at the same time."""
        return self.engine.n_streams

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings, float32 (n, dim), of one batch of uint8 (n, size_px, size_px, 3)."""
        with self.stopwatch.measure("network"):
            return self.engine.infer(images)

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""

        def embed(batch: Batch) -> Embedded:
            return Embedded(batch.rows, self.infer(batch.images))

        # As many wait as run, so that no stream stands still while results are written.
        return map_ahead(embed, batches, self.n_streams, 2 * self.n_streams)


def embed_mean_color(batches: Iterable[Batch]) -> Iterator[Embedded]:
    """Mean red, green and blue of each image, float32 (n, 3), 0-255: a stand-in for a network."""
    for rows, images in batches:
        yield Embedded(rows, images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32))


class Candidate(NamedTuple):
    """An engine that may be used.

    Attributes
    ----------
    name : str
    build : callable
        Makes the engine.
    tolerance : float
        How far its embeddings may lie from the untouched network's, relative.
    """

    name: str
    build: Callable[[], Engine]
    tolerance: float


def first_that_agrees(
    candidates: Sequence[Candidate],
    reference: NDArray[np.float32],
    sample: NDArray[np.uint8],
    say: Callable[[str], None],
) -> Engine:
    """The first engine whose embeddings are those of the untouched network.

    Parameters
    ----------
    candidates : sequence of Candidate
        From the fastest on; the last one is the untouched network itself, and not checked.
    reference : float32 (n, dim)
        Embeddings of `sample` by the untouched network.
    sample : uint8 (n, size_px, size_px, 3)
        Real images.
    say : callable
        Told of an engine that disagrees.
    """
    for name, build, tolerance in candidates[:-1]:
        engine = build()
        difference = relative_difference(engine.infer(sample), reference)
        if difference <= tolerance:
            return engine
        say(
            f"note: {name} is not used: on the first images its embeddings differ by "
            f"{difference:.1e} from the untouched network's, more than {tolerance:.0e}."
        )
    return candidates[-1].build()


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest distance of two embeddings of an image, over the length of the expected one."""
    return float(relative_differences(found, expected).max())


def relative_differences(
    found: NDArray[np.float32], expected: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Distance of two embeddings of each image, over the length of the expected one.

    Parameters
    ----------
    found, expected : float32 (n, dim)

    Returns
    -------
    float64 (n,)
        NaN where an embedding is; it fails every comparison, so it is found to differ.
    """
    distances = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    lengths = np.linalg.norm(expected.astype(np.float64), axis=1)
    ratios: NDArray[np.float64] = distances / np.maximum(lengths, np.finfo(np.float32).tiny)
    return ratios
