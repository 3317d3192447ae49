"""Out-of-distribution score: how far an image lies from all classes, compared with images of val.

The distance of an image is the sum of two cosine distances, each to the nearest mean of a class: of
embeddings of length 1 as they are, and less the mean of all classes. The first sees pictures of
another kind, the second the classes that are missing among similar ones.

Measured on food10 (980 train), AUROC: each of the ten classes left out in turn against the others
(photographs of val and test, n = 620), and all classes against digits of scikit-learn (n = 150),
noise (n = 100) and parts of two other photographs (n = 100)::

    DenseNet169, ImageNet weights       left out   digits   noise   photographs
    this distance                       0.753      1.000    1.000   0.998
    nearest training image              0.703      1.000    1.000   1.000
    tenth nearest training image        0.676      1.000    1.000   0.999
    nearest class mean, as they are     0.690      1.000    1.000   0.999
    nearest class mean, centred         0.740      0.933    0.973   0.964
    Mahalanobis, shared covariance      0.625
    1 - top probability of a head       0.749      0.421    0.876   0.758
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from headbench.cache.disk import replacing
from headbench.cache.errors import StorageError
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import load_numbers
from headbench.classify.deployment import FALSE_ALARMS
from headbench.classify.errors import RunError, loading
from headbench.classify.inspection.principal_axes import unit
from headbench.classify.intervals import Estimate, wilson

LOG = logging.getLogger(__name__)

DISTANCES_FILE = "distances.npz"
# Of the classes left out in turn: each alone where there are no more.
MOST_GROUPS = 10


class Distances(NamedTuple):
    """The classes, and how far images of val lie from them.

    Attributes
    ----------
    means : float32 (n_classes, dim)
        Means over train of embeddings of length 1; without classes that train does not have.
    val : float32 (n_val,)
        Distances of the images of val, ascending.
    """

    means: NDArray[np.float32]
    val: NDArray[np.float32]

    def typicality(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """The share of val that lies at least as far away, float64 (n,), above 0 to 1.

        The image itself counts as one of val. So of images like those of val, at most 5 % have a
        typicality of 0.05 or less: the conformal p value (Bates et al. 2023, Ann. Stat. 51).

        Parameters
        ----------
        X : float32 (n, dim)
            Embeddings.
        """
        n_nearer = np.searchsorted(self.val, distances(X, self.means))
        return np.asarray((1 + len(self.val) - n_nearer) / (1 + len(self.val)))


def distances(X: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of each embedding from the nearest class, float32 (n,), 0 to 4; see above."""
    directions, center = unit(X), means.mean(axis=0)
    nearest = (directions @ unit(means).T).max(axis=1)
    nearest += (unit(directions - center) @ unit(means - center).T).max(axis=1)
    return np.asarray(2 - nearest, dtype=np.float32)


def open_distances(folder: Path, features: FeatureFile) -> Distances:
    """Read the distances from the folder of a run, or measure them and keep them there.

    Measuring reads train and val once, in blocks.
    """
    path, digest, float32 = folder / DISTANCES_FILE, features.digest(), np.dtype(np.float32)
    n_known, n_val = len(np.unique(features.labels("train"))), len(features.labels("val"))
    expected = {"means": ((n_known, features.dim), float32), "val": ((n_val,), float32)}
    # What is missing, damaged or of other features is measured again.
    with suppress(RunError), loading(path):
        kept = load_numbers(path)
        if str(kept.pop("digest")) == digest and expected == {
            name: (each.shape, each.dtype) for name, each in kept.items()
        }:
            return Distances(**kept)
    found = measure_distances(features)
    try:
        with replacing(path) as temporary:
            save_arrays(temporary, {**found._asdict(), "digest": np.array(digest)})
    except StorageError as error:
        LOG.info(f"{error} The distances from the classes are measured again each time.")
    return found


def measure_distances(features: FeatureFile) -> Distances:
    """Measure them on train and val."""
    n_classes, n_columns = len(features.classes), features.dim
    sums, sizes = np.zeros((n_classes, n_columns)), np.zeros(n_classes)
    for X, y in features.blocks("train"):
        ones, rows = np.ones(len(y), dtype=np.float32), np.arange(len(y))
        sums += csr_array((ones, (y, rows)), shape=(n_classes, len(y))) @ unit(X)
        sizes += np.bincount(y, minlength=n_classes)
    means = (sums[sizes > 0] / sizes[sizes > 0, None]).astype(np.float32)
    return Distances(means, np.sort(_of_split(features, "val", means)))


def _of_split(features: FeatureFile, split: str, means: NDArray[np.float32]) -> NDArray[np.float32]:
    found = [distances(X, means) for X, _ in features.blocks(split)]
    return np.concatenate([np.empty(0, np.float32), *found])


class OutOfDistribution(NamedTuple):
    """How well the distance from the classes tells images of none of them.

    Attributes
    ----------
    auroc : Estimate or None
        Each class is left out in turn, as if it were unknown; with more than ten classes, a tenth
        of them at a time. The share of pairs of an image of val of a class that is left out and
        one of another class in which the first lies farther from the classes that are left.
        Interval: Wilson, with the number of images that a jackknife finds them to be worth. Null
        where val has one class.
    false_alarms : Estimate
        Share of the images of test with a typicality of 0.05 or less, which counts as out of
        distribution. Interval: Wilson.
    """

    auroc: Estimate | None
    false_alarms: Estimate


def measure_out_of_distribution(features: FeatureFile, known: Distances) -> OutOfDistribution:
    """Measure on val with classes left out, and count false alarms on test."""
    labels = np.unique(features.labels("train"))
    # Of each mean; in turn, so that neighbours by name are not left out at once.
    group_of = np.arange(len(labels)) % MOST_GROUPS
    place = np.searchsorted(labels, features.labels("val"))
    group = group_of[np.minimum(place, len(labels) - 1)]
    auroc = None
    if len(np.unique(group)) > 1:
        kept = [known.means[group_of != each] for each in range(group_of.max() + 1)]
        auroc = left_out_auroc(
            np.stack([_of_split(features, "val", means) for means in kept], axis=1), group
        )
    typicality = [known.typicality(X) for X, _ in features.blocks("test")]
    is_alarm = np.concatenate(typicality) <= FALSE_ALARMS
    return OutOfDistribution(auroc, wilson(int(is_alarm.sum()), len(is_alarm)))


def left_out_auroc(scores: NDArray[np.floating], group: NDArray[np.integer]) -> Estimate:
    """AUROC over all groups that were left out; see `OutOfDistribution`.

    Parameters
    ----------
    scores : float (n_images, n_groups)
        Distance of each image if a group of classes is left out.
    group : int (n_images,)
        The group of each image; at least two are there.
    """
    # Imported here: predict needs none of it, and it takes long.
    from scipy.stats import rankdata

    n = len(group)
    # Pairs that each image is in, and those that are ordered as they should be.
    n_pairs, n_ordered = np.zeros(n), np.zeros(n)
    for number, of_group in enumerate(scores.T):
        is_out = group == number
        n_out = is_out.sum()
        # How many of the other side lie below; those that are equal count half.
        below = rankdata(of_group)
        for side in (is_out, ~is_out):
            below[side] -= rankdata(of_group[side])
        n_pairs += np.where(is_out, n - n_out, n_out)
        n_ordered += np.where(is_out, below, n_out - below)
    # Every pair has two images.
    all_pairs, all_ordered = n_pairs.sum() / 2, n_ordered.sum() / 2
    value = all_ordered / all_pairs
    without = (all_ordered - n_ordered) / np.maximum(all_pairs - n_pairs, 1)
    variance, of_one = (n - 1) * without.var(), value * (1 - value)
    worth = float(of_one / variance) if variance > 0 and of_one > 0 else n
    # Half of a pair that ties is ordered: a share of images, though no whole number of them.
    return wilson(value * worth, worth)._replace(value=float(value), n=n)
