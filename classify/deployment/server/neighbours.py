"""The training images that are most like a new one, as the network sees them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.inspection.principal_axes import unit
from headbench.classify.report.photographs import encode
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import decode_file
from headbench.extract.progress import Stopwatch
from headbench.extract.sources.source import Source


class Neighbour(NamedTuple):
    """A training image.

    Attributes
    ----------
    number : int
        Its place among the training images: what its thumbnail is asked for by.
    similarity : float
        Cosine of the embeddings, -1 to 1.
    """

    number: int
    class_name: str
    similarity: float


class Neighbours:
    """Exact search in all embeddings of train, which are held in memory.

    60 600 embeddings of 2 048 columns are 496 MB: they are read once for a batch of images.

    Parameters
    ----------
    images : Source
        Where the images lie; without them there are no thumbnails.
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
            If it cannot be shown, for instance because the file has changed since extraction.
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
