"""What in a picture spoke for a class: class activation maps, and occlusion.

Where the embedding is the mean over the positions of a feature map and the head is linear, the
score of a class is the mean of what each position contributes to it (Zhou et al. 2016, Learning
Deep Features for Discriminative Localization). Elsewhere parts of the picture are covered, and the
loss of log-probability is measured (Zeiler and Fergus 2014, Visualizing and Understanding
Convolutional Networks).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.classify.deployment.classifier import Classifier
from headbench.extract.images.resizing import PADDING
from headbench.extract.images.stream import Batch
from headbench.extract.networks.engines import Embedder
from headbench.extract.networks.feature_map import FeatureMaps, NoMapError, may_have_map
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch

CAM, OCCLUSION = "class activation map", "occlusion"
# Cells of a side, and those that a window covers.
GRID, WINDOW = 8, 2
SMALLEST = float(np.finfo(np.float32).tiny)
# What spoke for a class is laid over the grey picture in orange, which differs from grey for those
# who see few colours too; even the strongest lets the picture through.
COLOR, OPAQUE = (255, 110, 0), 0.75

Pixels = NDArray[np.uint8]
Map = NDArray[np.float32]


class Explainer:
    """Maps of what spoke for a class, by the method that suits head and network.

    The network is loaded when the first map is asked for.

    Attributes
    ----------
    method : {"class activation map", "occlusion"}
        Known for certain once the network is loaded.
    """

    def __init__(self, classifier: Classifier, runtime: Runtime) -> None:
        self.classifier, self._runtime = classifier, runtime
        self._embedder: Embedder | None = None
        head, network = classifier.head, classifier.network
        self._linear = head.linear_logits() if head is not None else None
        is_cam = self._linear is not None and may_have_map(classifier.identity)
        self.method = CAM if is_cam and isinstance(network, KerasNetwork) else OCCLUSION

    def maps(self, image: Pixels, labels: Sequence[int]) -> Map:
        """What each part of a picture contributes to some classes.

        Parameters
        ----------
        image : uint8 (side, side, 3)
            As the network takes it.
        labels : sequence of int
            Columns of the classifier's probabilities.

        Returns
        -------
        float32 (n_labels, rows, columns)
            From the top left; above 0 is for the class. Of a class activation map the mean is the
            score before the softmax. Of occlusion it is the loss of log-probability, in nats.
        """
        embedder = self._opened(image)
        if self.method == CAM:
            return self._activation(embedder, image, labels)
        return self._occlusion(embedder, image, labels)

    def _opened(self, image: Pixels) -> Embedder:
        if self._embedder is None:
            network, arguments = self.classifier.network, (self._runtime, image[None], Stopwatch())
            if self.method == CAM and isinstance(network, KerasNetwork):
                try:
                    self._embedder = FeatureMaps(network).open(*arguments)
                except NoMapError:
                    self.method = OCCLUSION
            self._embedder = self._embedder or network.open(*arguments)
        return self._embedder

    def _activation(self, embedder: Embedder, image: Pixels, labels: Sequence[int]) -> Map:
        assert self._linear is not None and self.classifier.head is not None
        kernel, bias = self._linear
        columns = np.searchsorted(self.classifier.head.classes_, labels)
        positions = embedder.infer(image[None]).reshape(-1, len(kernel))
        side = math.isqrt(len(positions))
        scores = positions @ kernel[:, columns] + bias[columns]
        return np.ascontiguousarray(scores.T, dtype=np.float32).reshape(-1, side, side)

    def _occlusion(self, embedder: Embedder, image: Pixels, labels: Sequence[int]) -> Map:
        pictures = np.stack([image, *_covered(image)])
        starts = range(0, len(pictures), embedder.batch_size)
        batches = (pictures[start : start + embedder.batch_size] for start in starts)
        found = embedder(Batch(np.arange(len(each)), each) for each in batches)
        proba = self.classifier.proba(np.concatenate([outputs for _, outputs in found]))
        scores = np.log(np.maximum(proba[:, list(labels)], SMALLEST))
        maps = np.zeros((len(labels), GRID, GRID), dtype=np.float32)
        n_times = np.zeros((GRID, GRID), dtype=np.float32)
        for (rows, columns), covered in zip(_windows(GRID), scores[1:], strict=True):
            maps[:, rows, columns] += (scores[0] - covered)[:, None, None]
            n_times[rows, columns] += 1
        return maps / n_times


def _windows(side: int) -> Iterator[tuple[slice, slice]]:
    """Windows of `WINDOW` cells of a `GRID` over a square of `side`, row by row."""
    edges = np.linspace(0, side, GRID + 1).round().astype(int).tolist()
    spans = [slice(*each) for each in zip(edges, edges[WINDOW:], strict=False)]
    return ((rows, columns) for rows in spans for columns in spans)


def _covered(image: Pixels) -> Iterator[Pixels]:
    """The picture once for each window, which has the mean colour of ImageNet."""
    for rows, columns in _windows(len(image)):
        covered = image.copy()
        covered[rows, columns] = PADDING
        yield covered


def tinted(image: Pixels, maps: Map, size_px: int | None = None) -> list[Pixels]:
    """The picture in grey for each map, orange where something spoke for the class.

    All maps have one scale: the largest of all their values is the strongest colour, and what is 0
    or less has none.

    Parameters
    ----------
    image : uint8 (side, side, 3)
        The picture that was explained.
    maps : float32 (n, rows, columns)
    size_px : int, optional
        Side of the result; by default that of the picture.

    Returns
    -------
    list of uint8 (size_px, size_px, 3), length n
    """
    size = (size_px or len(image),) * 2
    grey = np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.LANCZOS))
    made, most = [], max(float(maps.max()), SMALLEST)
    for each in np.clip(maps / most, 0, 1):
        # A map covers the whole picture: its first value is that of the first of its cells.
        share = np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR))
        share = OPAQUE * share[..., None]
        made.append((grey[..., None] * (1 - share) + share * COLOR).round().astype(np.uint8))
    return made
