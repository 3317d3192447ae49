"""The loaded classifier for several requests at once, and search for the most similar images."""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import Classifier
from headbench.classify.deployment.uncertainty import Doubt, Uncertainty
from headbench.classify.inspection.explanation import WORDS, Explainer
from headbench.classify.inspection.principal_axes import unit
from headbench.classify.report.photographs import as_address, encode
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import decode_file
from headbench.extract.networks.backbone import N_SAMPLE
from headbench.extract.settings import Runtime
from headbench.extract.sources.source import Source
from headbench.extract.stopwatch import Stopwatch


class Neighbour(NamedTuple):
    """A training image.

    Attributes
    ----------
    number : int
        Its place among the training images, by which its thumbnail is requested.
    similarity : float
        Cosine of the embeddings, -1 to 1.
    """

    number: int
    class_name: str
    similarity: float


class Neighbours:
    """Exact search in all embeddings of train, which are kept in memory.

    60 600 embeddings of 2 048 columns take 496 MB. A batch of images takes one pass over them.

    Parameters
    ----------
    images : Source
        The training images; without them there are no thumbnails.
    """

    def __init__(self, features: FeatureFile, images: Source) -> None:
        rows, table = features.rows("train"), features.table
        self._embeddings = np.empty((len(rows), features.dim), dtype=np.float32)
        n_read = 0
        for X, _ in features.blocks("train"):
            self._embeddings[n_read : n_read + len(X)] = unit(X)
            n_read += len(X)
        self._classes = [table.classes[label] for label in table.labels[rows]]
        contents = table.contents()
        self._files = [(table.paths[row], contents[row]) for row in rows]
        self._images = images
        self.has_pictures = images.is_there

    def nearest(self, embeddings: NDArray[np.float32], n: int) -> list[list[Neighbour]]:
        """The `n` most similar to each of float32 (n_images, dim), the most similar first."""
        similarities = np.minimum(unit(embeddings) @ self._embeddings.T, 1)
        return [self._largest(row, min(n, len(row))) for row in similarities]

    def thumbnail(self, number: int, size_px: int) -> bytes:
        """A small picture of a training image.

        Raises
        ------
        IndexError
            If there is no such image.
        DataError, UnusableImageError
            If the file cannot be used, for instance because it has changed since extraction.
        """
        if number < 0:
            raise IndexError(number)
        path, content = self._files[number]
        image = decode_file(self._images.file(path, content), size_px, Stopwatch())
        if isinstance(image, UnusableImageError):
            raise image
        return encode(image)

    def _largest(self, similarity: NDArray[np.float32], n: int) -> list[Neighbour]:
        candidates = np.argpartition(-similarity, n - 1)[:n]
        order = np.lexsort((candidates, -similarity[candidates]))
        return [
            Neighbour(number, self._classes[number], float(similarity[number]))
            for number in candidates[order].tolist()
        ]


class Asked(NamedTuple):
    """An image, uint8 (size_px, size_px, 3), and the number of similar images to find."""

    image: NDArray[np.uint8]
    n_similar: int


class Answer(NamedTuple):
    """Probabilities, float32 (n_classes,), similar images, and doubts."""

    proba: NDArray[np.float32]
    similar: list[Neighbour]
    doubt: Doubt


Waiting = tuple[Asked, asyncio.Future[Answer]]


class ServingEngine:
    """A classifier whose network is loaded; waiting images go through it in batches.

    A single image is classified at once. While all streams of the network are busy, images wait,
    and the next free stream takes its share of them. Batches were 1.4 times as fast as single
    images (ResNet50 at 96 px, OpenVINO, 2 cores): `make bench-serve`.

    Parameters
    ----------
    neighbours : Neighbours or None
        None for a fine-tuned network: the feature file has no embeddings by it.
    sample : uint8 (n, size_px, size_px, 3)
        Images to check the network on.
    uncertainty : Uncertainty
        How predictions are doubted.

    Attributes
    ----------
    batch_sizes : Counter of int
        Number of batches of each size.
    """

    def __init__(
        self,
        classifier: Classifier,
        neighbours: Neighbours | None,
        sample: NDArray[np.uint8],
        runtime: Runtime,
        max_batch: int,
        uncertainty: Uncertainty = Uncertainty(),  # noqa: B008, it is immutable
    ) -> None:
        self.classifier, self.neighbours = classifier, neighbours
        self.uncertainty = uncertainty
        self.batch_sizes: Counter[int] = Counter()
        self._runtime = runtime
        self._embedder = classifier.network.open(runtime, sample, Stopwatch())
        self._one_head = threading.Lock()
        self._max_batch, self._n_free = max_batch, self._embedder.n_streams
        self._waiting: list[Waiting] = []
        # One at a time: the others wait here, and those that are cancelled are never begun.
        self._explaining = ThreadPoolExecutor(1)
        # Once before the first request, which would be slow otherwise: graphs are traced.
        self._classify([Asked(image, 1) for image in sample])

    async def classify(self, asked: Asked) -> Answer:
        """Classify an image; one that is cancelled while it waits is skipped."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._fill_streams()
        return await answer

    async def explain(
        self, image: NDArray[np.uint8], labels: Sequence[int]
    ) -> tuple[str, list[str]]:
        """How a picture is explained, in words; for each class its picture as a ``data:`` URL."""
        work = partial(self._explain, image, labels)
        return await asyncio.get_running_loop().run_in_executor(self._explaining, work)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.classifier, self._runtime, self._embedder, self._one_head)

    def _explain(self, image: NDArray[np.uint8], labels: Sequence[int]) -> tuple[str, list[str]]:
        pictures = list(map(as_address, self._explainer.pictures(image, labels)))
        return WORDS[self._explainer.method], pictures

    def _fill_streams(self) -> None:
        self._waiting = [each for each in self._waiting if not each[1].done()]
        while self._n_free and self._waiting:
            n = min(math.ceil(len(self._waiting) / self._n_free), self._max_batch)
            batch, self._waiting = self._waiting[:n], self._waiting[n:]
            self._n_free -= 1
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(None, self._classify, [asked for asked, _ in batch])
            work.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: list[Waiting], work: asyncio.Future[list[Answer]]) -> None:
        self._n_free += 1
        self.batch_sizes[len(batch)] += 1
        error = work.exception()
        for number, (_, answer) in enumerate(batch):
            # One that took too long is cancelled by now, and done.
            if answer.done():
                continue
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(work.result()[number])
        self._fill_streams()

    def _classify(self, batch: Sequence[Asked]) -> list[Answer]:
        outputs = self._embedder.infer(np.stack([each.image for each in batch]))
        # Heads take very little time, and not all of their libraries are safe in two threads.
        with self._one_head:
            probas = self.classifier.proba(outputs)
        doubts = self.uncertainty.of(outputs, probas, self.classifier.classes)
        n_similar = max(each.n_similar for each in batch)
        similar: list[list[Neighbour]] = [[] for _ in batch]
        if self.neighbours is not None and n_similar > 0:
            similar = self.neighbours.nearest(outputs, n_similar)
        return [
            Answer(proba, near[: each.n_similar], doubt)
            for each, proba, near, doubt in zip(batch, probas, similar, doubts, strict=True)
        ]


def sample_images(features: FeatureFile, images: Source) -> NDArray[np.uint8]:
    """Images to check a network on, uint8 (n, size_px, size_px, 3).

    They come from train if its images are there; otherwise they are noise.
    """
    resizing, table = resizing_of(features.identity), features.table
    rows = features.rows("train")[: N_SAMPLE if images.is_there else 0]
    files = [images.file(table.paths[row]) for row in rows]
    decoded = [decode_file(file, resizing, Stopwatch()) for file in files]
    usable = [each for each in decoded if not isinstance(each, UnusableImageError)]
    if usable:
        return np.stack(usable)
    shape = (N_SAMPLE, resizing.size_px, resizing.size_px, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
