"""What in a picture spoke for a class: class activation maps, or occlusion.

Where the embedding is the mean over the positions of a feature map and the head is linear, the
score of a class is the mean of what each position contributes to it (Zhou et al. 2016, Learning
Deep Features for Discriminative Localization). For others, parts of the picture are covered (Zeiler
and Fergus 2014, Visualizing and Understanding Convolutional Networks). A part is then worth the
log-odds that are lost (Robnik-Šikonja and Kononenko 2008, Explaining Classifications For Individual
Instances).

Positions of the feature map that are left out of the mean, for heads that are not linear, cost one
pass through the network and not fifty. They name less of what counts: deleting them loses 0.05 to
0.12 less probability than deleting what occlusion names (`vote`, `mlp` and `lightgbm` on
DenseNet169, n = 60).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.classify.deployment.classifier import Classifier
from headbench.extract.images.resizing import PADDING
from headbench.extract.images.stream import DecodedImage, in_batches
from headbench.extract.networks.engines import Embedder
from headbench.extract.networks.feature_map import FeatureMaps, NoMapError, may_have_map
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch

CAM, OCCLUSION = "class activation map", "occlusion"
WORDS = {
    CAM: "Class activation maps: the mean over a map is the score of the class, exactly.",
    OCCLUSION: "Parts of the picture were covered in turn; orange are those without which the "
    "class is less probable.",
}
# Cells of a side of a picture that is covered in part, and those of a window that is covered.
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

    Parameters
    ----------
    whole : Embedder, optional
        The whole network, if it is loaded already.
    one_head : context manager
        Entered while the head computes, such as a lock.

    Attributes
    ----------
    method : {"class activation map", "occlusion"}
        Known for certain once the network is loaded.
    """

    def __init__(
        self,
        classifier: Classifier,
        runtime: Runtime,
        whole: Embedder | None = None,
        one_head: AbstractContextManager[object] = nullcontext(),  # noqa: B008, it has no state
    ) -> None:
        self.classifier, self._runtime = classifier, runtime
        self._whole, self._one_head = whole, one_head
        self._embedder: Embedder | None = None
        self.method, head = OCCLUSION, classifier.head
        self._linear = None if head is None else head.linear_logits()
        if self._linear is not None and may_have_map(classifier.identity):
            self.method = CAM

    def pictures(
        self, image: Pixels, labels: Sequence[int], size_px: int | None = None
    ) -> list[Pixels]:
        """The picture once for each class, orange where something spoke for it; see `tinted`."""
        return tinted(image, self.maps(image, labels), size_px)

    def maps(self, image: Pixels, labels: Sequence[int]) -> Map:
        """What each part of a picture contributes to some classes.

        Parameters
        ----------
        image : uint8 (side, side, 3)
            As the network takes it.
        labels : sequence of int
            Columns of the classifier's probabilities, of classes that the head has seen.

        Returns
        -------
        float32 (n_labels, rows, columns)
            From the top left; above 0 is for the class. Of a class activation map the mean is the
            score before the softmax. By occlusion it is a loss of log-odds, in nats.
        """
        embedder, head = self._opened(image), self.classifier.head
        if self.method == OCCLUSION or head is None or self._linear is None:
            return self._occlusion(embedder, image, labels)
        positions = embedder.infer(image[None]).reshape(-1, head.n_features_in_)
        side, columns = math.isqrt(len(positions)), np.searchsorted(head.classes_, labels)
        kernel, bias = (each[..., columns] for each in self._linear)
        return np.ascontiguousarray((positions @ kernel + bias).T).reshape(-1, side, side)

    def _opened(self, image: Pixels) -> Embedder:
        """The network, up to the map where there is one; it is checked on the picture."""
        if self._embedder is None:
            network, arguments = self.classifier.network, (self._runtime, image[None], Stopwatch())
            if self.method != OCCLUSION and isinstance(network, KerasNetwork):
                try:
                    self._embedder = FeatureMaps(network).open(*arguments)
                    return self._embedder
                except NoMapError:
                    pass
            self.method, self._embedder = OCCLUSION, self._whole or network.open(*arguments)
        return self._embedder

    def _occlusion(self, embedder: Embedder, image: Pixels, labels: Sequence[int]) -> Map:
        squares = list(windows(len(image)))
        pictures = np.stack([image] * (1 + len(squares)))
        for picture, square in zip(pictures[1:], squares, strict=True):
            picture[square] = PADDING
        found = embedder(in_batches(map(DecodedImage, count(), pictures), embedder.batch_size))
        return self._lost(np.concatenate([outputs for _, outputs in found]), labels)

    def _lost(self, outputs: NDArray[np.float32], labels: Sequence[int]) -> Map:
        """Log-odds that are lost, the mean over the windows that hold a cell.

        `outputs` are those of the network for the whole picture and without each window. Odds and
        not probability: near 1 that hardly changes, whatever is covered.
        """
        with self._one_head:
            proba = self.classifier.proba(outputs).astype(np.float64)
        of_class = proba[:, list(labels)]
        others = proba.sum(axis=1, keepdims=True) - of_class
        scores = np.log(np.maximum(of_class, SMALLEST)) - np.log(np.maximum(others, SMALLEST))
        maps = np.zeros((len(labels), GRID, GRID), dtype=np.float32)
        n_times = np.zeros((GRID, GRID), dtype=np.float32)
        for window, without in zip(windows(GRID), scores[1:], strict=True):
            maps[:, *window] += (scores[0] - without)[:, None, None]
            n_times[window] += 1
        return maps / n_times


def windows(side: int) -> Iterator[tuple[slice, slice]]:
    """Windows of `WINDOW` cells, of `GRID` along each side of a square, row by row."""
    edges = np.linspace(0, side, GRID + 1).round().astype(int).tolist()
    spans = [slice(*each) for each in zip(edges, edges[WINDOW:], strict=False)]
    return ((rows, columns) for rows in spans for columns in spans)


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
        # Cells of equal size cover the whole picture, and the resizing keeps to that.
        share = np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR))
        share = OPAQUE * share[..., None]
        made.append((grey[..., None] * (1 - share) + share * COLOR).round().astype(np.uint8))
    return made
