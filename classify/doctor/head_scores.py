"""What the heads of a run predict, and how often neighbouring images share a label."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads.column_statistics import mean_and_scale
from headbench.classify.heads.registry import load_trained_head
from headbench.classify.heads.simple import Centroid
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.principal_axes import unit
from headbench.classify.intervals import Estimate
from headbench.classify.metrics import accuracy
from headbench.classify.run import Run, Trained, is_finetuned
from headbench.classify.train_heads import class_proba

LOG = logging.getLogger(__name__)

PRIOR, KNN, CENTROID = "Prior", "KNN", "Centroid"
MOST_TRAIN_ROWS = 3000
N_NEIGHBORS, IMAGES_PER_NEIGHBOR, N_SHUFFLES, BLOCK_ROWS = 10, 20, 200, 512
# Of few images even correct labels may agree as rarely as shuffled ones: the upper 95 % bound of
# shuffled labels has to lie this close to their mean.
FINEST = 0.05


@dataclass(frozen=True)
class TrainSample:
    """Images of train, evenly spread over its rows, or all of them if they are few.

    X is (n, dim), y (n,); `n_train` is the number of images in the whole of train.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int32]
    n_train: int

    @classmethod
    def of(cls, features: FeatureFile) -> "TrainSample":
        """Read the sample."""
        rows = features.rows("train")
        n = min(len(rows), MOST_TRAIN_ROWS)
        chosen = rows[np.linspace(0, len(rows) - 1, n).round().astype(np.intp)]
        return cls(features.read(chosen), features.table.labels[chosen], len(rows))


@dataclass(frozen=True)
class Scored:
    """A head with its predictions on val and its top-1 accuracy.

    Attributes
    ----------
    kind
        Class of the head, such as ``LogReg``; ``network`` for a fine-tuned network.
    y_val, predicted : int (n_val,)
    train
        On a `TrainSample`; None for a fine-tuned network, which needs the images themselves.
    """

    name: str
    kind: str
    y_val: NDArray[np.int32]
    predicted: NDArray[np.intp]
    val: Estimate
    train: Estimate | None

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each image of val is correctly classified, bool (n_val,)."""
        return np.asarray(self.predicted == self.y_val)

    @property
    def looks(self) -> bool:
        """Whether the head uses the embedding at all: `prior` does not."""
        return self.kind != PRIOR


def score_heads(
    run: Run, features: FeatureFile, sample: TrainSample
) -> Iterator[Scored | RunError]:
    """Score each head of a run; an error for each that cannot be used."""
    y_val = features.labels("val")
    for name in run.names:
        LOG.info(f"{name}: val and {len(sample.y)} images of train")
        try:
            yield _score(run.find(name, features), y_val, sample)
        except RunError as error:
            yield error


def _score(trained: Trained, y_val: NDArray[np.int32], sample: TrainSample) -> Scored:
    record = trained.record
    is_network = is_finetuned(record.name)
    return Scored(
        name=record.name,
        kind="network" if is_network else str(record.settings.get("kind")),
        y_val=y_val,
        predicted=trained.val.argmax(axis=1),
        val=accuracy(y_val, trained.val),
        train=None if is_network else _train_accuracy(sample, trained),
    )


def _train_accuracy(sample: TrainSample, trained: Trained) -> Estimate:
    proba = class_proba(load_trained_head(trained), sample.X, len(trained.record.classes))
    return accuracy(sample.y, proba)


def chance(y_train: NDArray[np.int32], y_val: NDArray[np.int32], n_classes: int) -> float:
    """Baseline accuracy on val: the most frequent class of train, or 1 / n_classes if higher."""
    most_common = np.bincount(y_train, minlength=n_classes).argmax()
    return max(float((y_val == most_common).mean()), 1 / n_classes)


class Agreement(NamedTuple):
    """How often an image of train has the label of its nearest neighbours.

    Attributes
    ----------
    n, n_neighbors
        Images, and neighbours compared with each.
    share
        Mean share of the neighbours with the same label.
    shuffled : float64 (200,)
        The same after shuffling the labels.
    """

    n: int
    n_neighbors: int
    share: float
    shuffled: NDArray[np.float64]

    @property
    def is_chance(self) -> bool:
        """Whether shuffled labels agree as often, and there are enough images to tell."""
        usual, most = float(self.shuffled.mean()), float(np.quantile(self.shuffled, 0.95))
        return self.share <= most and most - usual <= FINEST


def measure_agreement(sample: TrainSample) -> Agreement | None:
    """Compare each image with its nearest neighbours by cosine; None for a single image."""
    n = len(sample.y)
    if n < 2:
        return None
    # The nearest 10 of few images are nearly all of them.
    n_neighbors = int(np.clip(n // IMAGES_PER_NEIGHBOR, 1, N_NEIGHBORS))
    mean, scale = mean_and_scale(sample.X, np.ones(n))
    Z = unit((sample.X - mean) / scale)
    nearest = np.concatenate([_nearest(Z, rows, n_neighbors) for rows in row_blocks(n, BLOCK_ROWS)])

    def share(y: NDArray[np.integer]) -> float:
        return float((y[nearest] == y[:, None]).mean())

    rng = np.random.default_rng(0)
    shuffled = np.array([share(rng.permutation(sample.y)) for _ in range(N_SHUFFLES)])
    return Agreement(n, n_neighbors, share(sample.y), shuffled)


def _nearest(Z: NDArray[np.float32], rows: slice, n_neighbors: int) -> NDArray[np.intp]:
    cosine = Z[rows] @ Z.T
    own = np.arange(len(cosine))
    cosine[own, own + rows.start] = -np.inf
    return np.argpartition(-cosine, n_neighbors - 1, axis=1)[:, :n_neighbors]


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two shares of different images, with its interval.

    From both Wilson intervals (Newcombe 1998, Stat. Med. 17, 873-890, method 10); n is the smaller.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above, min(first.n, second.n))


def centroid_right(
    scored: list[Scored], features: FeatureFile, sample: TrainSample
) -> NDArray[np.bool_]:
    """Whether the nearest class mean correctly classifies each image of val, bool (n_val,).

    The head of the run; if the run has none, one fitted on the sample of train.
    """
    for each in scored:
        if each.kind == CENTROID:
            return each.is_right
    head = Centroid().fit(sample.X, sample.y)
    return np.concatenate([head.predict(X) == y for X, y in features.blocks("val")])
