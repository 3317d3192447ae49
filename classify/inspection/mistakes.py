"""Mistakes of a head: confused classes, calibration, images whose label may be wrong."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from headbench.classify.errors import RunError
from headbench.classify.metrics import N_BINS, calibration_error

# The best order of the leaves takes time with the cube of the number of classes.
MOST_ORDERED = 300


@dataclass(frozen=True)
class ConfusedPair:
    """A class that is mistaken for another.

    Attributes
    ----------
    true : str
        True class.
    given : str
        Predicted class.
    n : int
        Images.
    of : int
        All images of the true class.
    """

    true: str
    given: str
    n: int
    of: int


def most_confused(
    confusion: NDArray[np.integer], classes: Sequence[str], n_most: int
) -> list[ConfusedPair]:
    """The most frequent pairs of a true class and a wrong predicted class.

    Parameters
    ----------
    confusion : int (n_classes, n_classes)
        Images by true class (rows) and predicted class (columns).
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    largest = np.argsort(-mistakes, axis=None, kind="stable")[:n_most]
    of_class = confusion.sum(axis=1)
    return [
        ConfusedPair(classes[true], classes[given], int(mistakes[true, given]), int(of_class[true]))
        for true, given in zip(*np.unravel_index(largest, mistakes.shape), strict=True)
        if mistakes[true, given]
    ]


def similarity_order(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order the classes so that classes which are often confused are side by side.

    Average linkage on the mean probability of each class for images of each other class, which is
    more precise than counts of few images. The leaves are ordered by Bar-Joseph et al. (2001),
    Bioinformatics 17, S22-S29.

    Parameters
    ----------
    y : int (n_images,)
    proba : float (n_images, n_classes)

    Returns
    -------
    intp (n_classes,)
    """
    n_classes = proba.shape[1]
    if n_classes < 3:
        return np.arange(n_classes)
    taken = np.zeros((n_classes, n_classes))
    np.add.at(taken, y, proba)
    taken /= np.maximum(np.bincount(y, minlength=n_classes), 1)[:, None]
    distance = 1 - (taken + taken.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = linkage(condensed, "average")
    if n_classes <= MOST_ORDERED:
        tree = optimal_leaf_ordering(tree, condensed)
    return np.asarray(leaves_list(tree), dtype=np.intp)


def busiest_classes(confusion: NDArray[np.integer], n_most: int) -> NDArray[np.intp]:
    """Labels of the classes with the most mistakes, as true or predicted class; ascending."""
    right = np.diagonal(confusion)
    mistakes = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * right
    return np.sort(np.argsort(-mistakes, kind="stable")[:n_most])


@dataclass(frozen=True)
class Bins:
    """The bins of a reliability diagram.

    Attributes
    ----------
    ece : float
        Expected calibration error, 0 to 1.
    confidence : list
        Mean probability of the predicted class, by bin that holds an image.
    accuracy : list
        Share of correctly classified images, by bin.
    n_images : list
        Number of images, by bin.
    """

    ece: float
    confidence: Sequence[float]
    accuracy: Sequence[float]
    n_images: Sequence[int]


def reliability(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Bins:
    """The bins of a reliability diagram (Guo et al. 2017, ICML).

    Parameters
    ----------
    y : int (n_images,)
    proba : float (n_images, n_classes)
    """
    confidence = proba.max(axis=1).astype(np.float64)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    n_images = np.bincount(bins, minlength=N_BINS)
    filled = n_images > 0
    of_confidence, of_right = (
        np.bincount(bins, weights=values, minlength=N_BINS)[filled] / n_images[filled]
        for values in (confidence, proba.argmax(axis=1) == y)
    )
    filled_bins = (each.tolist() for each in (of_confidence, of_right, n_images[filled]))
    return Bins(calibration_error(y, proba), *filled_bins)


def before_temperature(proba: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Undo temperature scaling of probabilities, float (n_images, n_classes).

    Scaling divided their logarithms by the temperature, so raising to its power undoes it.
    """
    # Of the most probable class the power is 1: not all can become 0.
    powers = (proba / proba.max(axis=1, keepdims=True).astype(np.float64)) ** temperature
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def has_cleanlab() -> bool:
    """Whether the optional cleanlab is installed; does not import it."""
    return find_spec("cleanlab") is not None


def find_suspects(labels: NDArray[np.integer], proba: NDArray[np.float32]) -> NDArray[np.intp]:
    """Find images whose label may be wrong, by confident learning; the most suspicious first.

    Confident learning [1]_ counts, for each pair of classes, the images of the first that are at
    least as probably of the second as images of the second are on average. From that count cleanlab
    estimates how many of each pair are mislabelled, and returns as many (``prune_by_noise_rate``,
    its default), but none whose label is the most probable class. So the only image of a class is
    never returned.

    They are ranked by self confidence, the probability of the given label, the lowest first.
    Measured on 1 200 photographs of 10 classes of Food-101 (ResNet50 at 96 px, logreg over 5 folds,
    accuracy 49 %), 60 of them relabelled at random, mean of 5 draws: 51 of the 60 were among 451
    images found (recall 0.85, precision 0.11). Of the first 20 found, 67 % were relabelled, of the
    first 60, 45 %; ranked by normalized margin, 40 % and 29 %. Precision is a lower bound, as the
    photographs have wrong labels of their own. With an inaccurate head, many of the images found
    are only hard to classify: look at the first ones.

    Parameters
    ----------
    labels : int (n,)
        Index into the columns of `proba`; not every class needs an image. Not modified.
    proba : float32 (n, n_classes)
        From a head that was fitted without the image. Not modified.

    Returns
    -------
    intp (n_suspects,)
        Positions in `labels`.

    Raises
    ------
    RunError
        If cleanlab is not installed.

    References
    ----------
    .. [1] Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset
       Labels", J. Artif. Intell. Res. 70 (2021), 1373-1411.
    """
    find_label_issues = _import_cleanlab()
    if len(np.unique(labels)) < 2:
        # No other class to suspect; cleanlab refuses this.
        return np.empty(0, dtype=np.intp)
    with warnings.catch_warnings():
        # A class of at most one image; said above.
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        found = find_label_issues(
            labels,
            proba,
            return_indices_ranked_by="self_confidence",
            # In this process: starting others takes longer than the work.
            n_jobs=1,
        )
    return np.asarray(found, dtype=np.intp)


def _import_cleanlab() -> Callable[..., NDArray[np.integer]]:
    # Imported here: optional, and slow to import.
    try:
        with warnings.catch_warnings():
            # tqdm's in a notebook without ipywidgets; no bar is shown here.
            warnings.filterwarnings("ignore", "IProgress not found")
            from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise RunError(
            f"The search for wrong labels needs cleanlab, which cannot be imported ({error}). "
            'Run pip install "headbench[suspects]".'
        ) from error
    return find_label_issues  # type: ignore[no-any-return]
