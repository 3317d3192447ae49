"""The simple heads: class frequencies, nearest class mean, nearest neighbours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.preprocessing import normalize

from headbench.cache.progress import Progress
from headbench.classify.heads.column_statistics import mean_and_scale, principal_axes
from headbench.classify.heads.grid import AT_LIMIT, choose_from
from headbench.classify.heads.head import Head, Labelled
from headbench.classify.heads.keras_layers import linear, standardised
from headbench.classify.heads.parameters import ASCENDING_COUNTS, Range, or_none, whole
from headbench.classify.heads.streaming import embedding_blocks, row_blocks, sum_over
from headbench.classify.metrics import mean_log_loss
from headbench.extract.networks.keras_runtime import load_keras

# Factor on the cosine before the softmax, without a temperature fitted on val.
SHARPNESS = 10.0
N_AXES = 128
NEIGHBORS, MOST_NEIGHBORS = (1, 3, 5, 10, 20, 50, 100), 400
# A neighbour whose cosine is smaller by this counts 1 / e as much (Wu et al. 2018, Unsupervised
# Feature Learning via Non-Parametric Instance Discrimination).
COSINE_SCALE = 0.07
# Share of class frequencies in the probabilities: else a class without a neighbour would get 0.
PRIOR_SHARE = 0.01


class Prior(Head):
    """The share of each class in train, for every image: the baseline.

    Parameters
    ----------
    class_weight : {None, "balanced"} or mapping
    """

    arrays_file: ClassVar[str] = "prior.npz"
    array_names: ClassVar[Sequence[str]] = ("prior",)

    def __init__(self, class_weight: Any = None) -> None:
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:  # noqa: ARG002, the contract's
        counts = np.bincount(train.y, train.weight, len(self.classes_))
        self.prior_ = counts / counts.sum()

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.tile(self.prior_, (len(X), 1))


class Centroid(Head):
    """Cosine similarity to the mean of each class, on standardised columns.

    Without standardisation all embeddings point in nearly the same direction. Val accuracy without
    and with it: 0.47 and 0.48 on 220 photographs of 10 classes, 0.43 and 0.50 on 15 150 synthetic
    embeddings of 101 classes.

    Parameters
    ----------
    class_weight : {None, "balanced"} or mapping
        Weights for the mean and deviation over train; the means of classes do not change.
    """

    is_exportable: ClassVar[bool] = True
    arrays_file: ClassVar[str] = "means.npz"
    array_names: ClassVar[Sequence[str]] = ("mean", "scale", "means")

    def __init__(self, class_weight: Any = None) -> None:
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:  # noqa: ARG002, the contract's
        self.mean_, self.scale_ = mean_and_scale(train.X, train.weight)
        n_classes = len(self.classes_)
        [sums] = sum_over(_class_sums, train.X, (train.y,), self.mean_, n_classes)
        sizes = np.bincount(train.y, minlength=n_classes)[:, None]
        self.means_ = normalize(sums / sizes / self.scale_).astype(np.float32)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        cosine = normalize((X - self.mean_) / self.scale_, copy=False) @ self.means_.T
        return softmax(SHARPNESS * cosine, axis=1)  # type: ignore[no-any-return]

    def keras_logits(self, X: Any) -> Any:
        """See `Head.keras_logits`."""
        unit = load_keras().layers.UnitNormalization(dtype="float32")
        directions = unit(standardised(X, self.mean_, self.scale_))
        kernel = SHARPNESS * self.means_.T
        return linear(directions, kernel, np.zeros(kernel.shape[1]))


class KNN(Head):
    """A vote of the nearest images of train; more similar ones have more weight.

    Similarity is the cosine on the first 128 principal axes of the standardised columns. That takes
    a tenth of the time and a sixteenth of the space of all 2 048 columns. Val accuracy with 20
    neighbours, on the axes and on all columns: 0.49 and 0.48 (15 150 synthetic embeddings of 101
    classes), 0.50 and 0.50 (220 photographs of 10 classes at 224 px), 0.45 and 0.46 (at 96 px).

    Parameters
    ----------
    neighbors : sequence of int or None
        Numbers of neighbours to try, ascending; the best is chosen on val by log loss. None: 1 to
        100, and beyond if 100 is the best.
    n_neighbors : int
        Used without val.
    class_weight : {None, "balanced"} or mapping
        Weight of each image of train in a vote.
    """

    needs_memory: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {
        "neighbors": or_none(ASCENDING_COUNTS),
        "n_neighbors": whole(1),
    }
    refit_with: ClassVar[Mapping[str, str]] = {"n_neighbors": "neighbors"}
    arrays_file: ClassVar[str] = "neighbors.npz"
    array_names: ClassVar[Sequence[str]] = (
        *("projection", "offset", "points", "labels", "votes", "used"),
    )

    def __init__(
        self,
        neighbors: Sequence[int] | None = None,
        n_neighbors: int = 20,
        class_weight: Any = None,
    ) -> None:
        self.neighbors = neighbors
        self.n_neighbors = n_neighbors
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        axes = principal_axes(train.X, train.weight, np.float32)
        first = axes.axes[:, -N_AXES:]
        self.projection_ = (first / axes.scale[:, None]).astype(np.float32)
        self.offset_ = (axes.mean @ self.projection_).astype(np.float32)
        blocks = embedding_blocks(train.X)
        self.points_ = np.concatenate([self._project(block) for _, block in blocks])
        self.labels_ = train.y.astype(np.int32)
        self.votes_ = train.weight.astype(np.float32)
        self._index()
        self.used_ = min(self.n_neighbors, len(self.points_))
        self.chosen_ = {"neighbors": self.used_}
        if val is not None:
            self._choose(val)

    def _choose(self, val: Labelled) -> None:
        n_points = len(self.points_)
        grid = sorted({min(n, n_points) for n in self.neighbors or NEIGHBORS})
        most = min(grid[-1] if self.neighbors else MOST_NEIGHBORS, n_points)
        cosine, nearest = self._search_in_blocks(val.X[:], most)

        def loss_of(n: float) -> float:
            n = int(n)
            return mean_log_loss(val.y, self._vote(cosine[:, :n], nearest[:, :n]), val.weight)

        with Progress("fit", len(grid), "numbers of neighbours") as progress:
            choice = choose_from(progress.counting(loss_of), grid, 2.0, (grid[0], most))
        self.used_ = int(choice.best)
        self.chosen_ = {"neighbors": self.used_}
        self.history_ = {"neighbors": choice.tried, "val_log_loss": choice.losses}
        # One neighbour, or all images, are limits that cannot be moved.
        if choice.is_at_limit and 1 < self.used_ < n_points:
            self.chosen_[AT_LIMIT] = True

    def _project(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        projected: NDArray[np.float32] = normalize(X @ self.projection_ - self.offset_, copy=False)
        return projected

    def _index(self) -> None:
        # On unit vectors the Euclidean order equals that of the cosine, and is faster here.
        # Its import takes as long as all other heads need to predict.
        from sklearn.neighbors import NearestNeighbors

        self.search_ = NearestNeighbors(algorithm="brute").fit(self.points_)
        counts = np.bincount(self.labels_, self.votes_, len(self.classes_))
        self.prior_ = counts / counts.sum()

    def _search(self, X: NDArray[np.float32], n: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Cosine of the `n` nearest images and their positions, (n_images, n), nearest first."""
        distance, nearest = self.search_.kneighbors(self._project(X), n_neighbors=n)
        return 1 - distance**2 / 2, nearest

    def _search_in_blocks(
        self, X: NDArray[np.float32], n: int
    ) -> tuple[NDArray[Any], NDArray[np.intp]]:
        found = []
        with Progress("search", len(X)) as progress:
            for rows in row_blocks(len(X)):
                found.append(self._search(X[rows], n))
                progress.update(rows.stop - rows.start)
        cosine, nearest = zip(*found, strict=True)
        return np.concatenate(cosine), np.concatenate(nearest)

    def _vote(self, cosine: NDArray[Any], nearest: NDArray[np.intp]) -> NDArray[np.float64]:
        votes = np.exp((cosine - cosine[:, :1]) / COSINE_SCALE) * self.votes_[nearest]
        n_classes = len(self.classes_)
        rows = np.arange(len(nearest))[:, None] * n_classes
        cells = (rows + self.labels_[nearest]).ravel()
        counts = np.bincount(cells, votes.ravel(), minlength=len(nearest) * n_classes)
        shares = counts.reshape(-1, n_classes) / votes.sum(axis=1, keepdims=True)
        mixed: NDArray[np.float64] = (1 - PRIOR_SHARE) * shares + PRIOR_SHARE * self.prior_
        return mixed

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return self._vote(*self._search(X, self.used_))

    def _load(self, folder: Path) -> None:
        super()._load(folder)
        self.used_ = int(self.used_)
        self._index()


def _class_sums(
    X: NDArray[np.float32], y: NDArray[np.integer], mean: NDArray[np.float32], n_classes: int
) -> tuple[NDArray[np.float32]]:
    is_of_class = np.zeros((n_classes, len(y)), dtype=np.float32)
    is_of_class[y, np.arange(len(y))] = 1
    return (is_of_class @ (X - mean),)
