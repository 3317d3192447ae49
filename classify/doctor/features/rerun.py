"""Embeddings of the file beside those that the network gives the same images now."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.doctor.features.columns import Columns
from classify.doctor.features.network import Condition, Rerun
from classify.doctor.features.sample import Sample
from extract.embedder import relative_differences
from extract.keras_backbone import FLOAT16_TOLERANCE
from extract.settings import FLOAT32

# Of an embedding's length. ResNet50 at 96 px agreed to 1e-6; the scalings that are most alike, tf
# and /255, lie 0.02 apart, caffe 1.0 from both. What is between leaves room for other releases of
# the library that decodes JPEG.
FLOAT32_TOLERANCE = 1e-2


class Beside:
    """A sample of the file, and the same images through the network again.

    Parameters
    ----------
    features : FeatureFile
    root : Path
        The folder of images.
    columns : Columns
        Of the same file.
    sample : Sample
        At least one image.
    rerun : Rerun
        The network.
    """

    def __init__(
        self, features: FeatureFile, root: Path, columns: Columns, sample: Sample, rerun: Rerun
    ) -> None:
        self.features, self.root, self.columns = features, root, columns
        self.sample, self.rerun = sample, rerun
        self.kept = features.read(sample.rows)
        self._again: dict[Condition, NDArray[np.float32]] = {}

    @property
    def tolerance(self) -> float:
        """Relative distance of two embeddings that are the same but for rounding."""
        is_float32 = self.features.identity.precision == FLOAT32
        return FLOAT32_TOLERANCE if is_float32 else FLOAT16_TOLERANCE

    @property
    def paths(self) -> list[Path]:
        """Files of the sample."""
        return [self.root / self.features.table.paths[row] for row in self.sample.rows]

    def again(self, condition: Condition) -> NDArray[np.float32]:
        """Embeddings of the sample, float32 (n, dim); batches do not mix its two parts."""
        if condition not in self._again:
            n, images = self.sample.n_neighbours, self.sample.images
            parts = [
                self.rerun.embed(part, condition) for part in (images[:n], images[n:]) if len(part)
            ]
            self._again[condition] = np.concatenate(parts)
        return self._again[condition]

    def distance(self, condition: Condition) -> NDArray[np.float64]:
        """Of each image: between the file's embedding and the network's, over the file's length."""
        return relative_differences(self.again(condition), self.kept)

    @cached_property
    def is_same(self) -> NDArray[np.bool_]:
        """Whether the file holds what the network gives as declared, bool (n,)."""
        return self.distance(self.rerun.declared) <= self.tolerance

    def medians(self, condition: Condition) -> list[float]:
        """Median distance of the first images of the file, and of the others where there are."""
        distance, n = self.distance(condition), self.sample.n_neighbours
        return [float(np.median(part)) for part in (distance[:n], distance[n:]) if len(part)]

    def nearness(self, condition: Condition) -> float:
        """The smaller of `medians`: who drew the batches at random had other batch-mates."""
        return min(self.medians(condition))
