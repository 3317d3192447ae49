"""The classifier, open and at work for several requests at once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.deployment.classifier import Classifier
from classify.deployment.server.batcher import Batcher
from classify.deployment.server.neighbours import Neighbour, Neighbours
from extract.backbones import N_SAMPLE
from extract.errors import UnusableImageError
from extract.settings import Runtime
from extract.sources.source import Source
from extract.stopwatch import Stopwatch
from extract.stream import decode_file

MOST_SIMILAR = 20


class Asked(NamedTuple):
    """An image, and how many similar ones are wanted.

    Attributes
    ----------
    image : uint8 (size_px, size_px, 3)
    n_similar : int
    """

    image: NDArray[np.uint8]
    n_similar: int


class Answer(NamedTuple):
    """What is seen in it.

    Attributes
    ----------
    proba : float32 (n_classes,)
    similar : list of Neighbour or None
        None where none were wanted or none can be had.
    """

    proba: NDArray[np.float32]
    similar: list[Neighbour] | None


class ServingEngine:
    """A classifier whose network is loaded, and the batches that go through it.

    Parameters
    ----------
    classifier : Classifier
    neighbours : Neighbours or None
        None for a fine-tuned network: its activations are not those in the feature file.
    sample : uint8 (n, size_px, size_px, 3)
        What the network is checked on.
    runtime : Runtime
    max_batch : int
    say : callable
    """

    def __init__(
        self,
        classifier: Classifier,
        neighbours: Neighbours | None,
        sample: NDArray[np.uint8],
        runtime: Runtime,
        max_batch: int,
        say: Callable[[str], None],
    ) -> None:
        self.classifier, self.neighbours = classifier, neighbours
        self._embedder = classifier.network.open(runtime, sample, Stopwatch(), say)
        self._one_head = threading.Lock()
        # Once before the first request, which would be slow otherwise: graphs are traced.
        self._classify([Asked(image, 1) for image in sample])
        self.batcher = Batcher(self._classify, self._embedder.n_streams, max_batch)

    def submit(self, asked: Asked) -> Future[Answer]:
        """Classify an image; the future may be cancelled."""
        return self.batcher.submit(asked)

    def close(self) -> None:
        """End the threads."""
        self.batcher.close()

    def _classify(self, batch: Sequence[Asked]) -> list[Answer]:
        outputs = self._embedder.infer(np.stack([each.image for each in batch]))
        # Heads take next to no time, and not all of their libraries promise to bear two threads.
        with self._one_head:
            probas = self.classifier.proba(outputs)
        n_similar = max(each.n_similar for each in batch)
        if self.neighbours is None or n_similar == 0:
            return [Answer(proba, None) for proba in probas]
        found = self.neighbours.nearest(outputs, n_similar)
        return [
            Answer(proba, near[: each.n_similar] if each.n_similar else None)
            for each, proba, near in zip(batch, probas, found, strict=True)
        ]


def sample_images(features: FeatureFile, images: Source) -> NDArray[np.uint8]:
    """Some images to check a network on, uint8 (n, size_px, size_px, 3).

    Those of train where the folder of images is there, and noise where it is not.
    """
    size_px, table = features.identity.size_px, features.table
    rows = features.rows("train")[:N_SAMPLE]
    files = [images.file(table.paths[row]) for row in rows]
    decoded = [decode_file(file, size_px, Stopwatch()) for file in files]
    usable = [each for each in decoded if not isinstance(each, UnusableImageError)]
    if usable:
        return np.stack(usable)
    shape = (N_SAMPLE, size_px, size_px, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
