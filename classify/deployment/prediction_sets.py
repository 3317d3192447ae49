"""Prediction sets: the classes that hold the true one with a chosen probability.

Split conformal prediction (Vovk et al. 2005) with the score 1 - probability of the true class
(LAC; Sadinle et al. 2019, J. Am. Stat. Assoc. 114): a set has all classes that are at least as
probable as a threshold, and always the most probable one.

Measured on food10 with DenseNet169 (ImageNet weights): 100 random halves of val and test, 220
photographs to calibrate on and 400 to measure, logreg. Mean number of classes in a set::

    score                                       90 %    95 %
    LAC                                         1.33    1.98
    APS (Romano et al. 2020), random             1.78    2.33
    RAPS (Angelopoulos et al. 2021), random      1.49    2.37

All reach the coverage that was asked for within 0.4 points. LAC was the smallest for all of
logreg, ridge, mlp, knn and centroid.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.intervals import Estimate, estimates, wilson
from headbench.classify.run import Trained

COVERAGE = 0.9
# What a report and an export give.
COVERAGES = (0.8, 0.9, 0.95, 0.99)
VAL, FOLDS = "val", "cross-validation"
SOURCES = {
    VAL: "{} images of val; val has chosen the head too, so the coverage is approximate",
    FOLDS: "{} images of train and val, each by a fit without it",
}


class PredictionSets(NamedTuple):
    """Which classes are in a set.

    Attributes
    ----------
    coverage : float
        Share of the sets that should hold the true class, 0 to 1.
    min_probability : float
        A class of at least this probability is in the set; the most probable one always is. It is
        0, so that every set has all classes, if there are too few images for this coverage.
    n : int
        Number of images that it was calibrated on.
    source : str
        ``val``, which has chosen the head and its temperature as well, so that the coverage is
        approximate; or ``cross-validation``: train and val, each image by a fit that neither saw it
        nor chose by it.
    """

    coverage: float
    min_probability: float
    n: int
    source: str

    def contain(self, proba: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether each class is in the set of each image, bool (n_images, n_classes)."""
        is_in: NDArray[np.bool_] = proba >= self.min_probability
        is_in[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return is_in

    @property
    def calibrated_on(self) -> str:
        """The images that they were calibrated on, in words."""
        return SOURCES[self.source].format(self.n)

    def describe(self) -> str:
        """What they hold and how they were calibrated, a sentence."""
        if self.min_probability == 0:
            needed = int(np.ceil(self.coverage / (1 - self.coverage) - 1e-9))
            return (
                f"every set has all classes: a coverage of {self.coverage:g} takes at least "
                f"{needed} images to calibrate on, found {self.n}, and a head that gives few of "
                "them a probability of 0"
            )
        return (
            f"sets of the classes with a probability of at least {self.min_probability:.3g} hold "
            f"the true class with {100 * self.coverage:g} %, calibrated on {self.calibrated_on}"
        )


class CalibrationScores(NamedTuple):
    """Probabilities of the true classes, ascending, float32 (n,), and where they come from."""

    proba: NDArray[np.float32]
    source: str

    def sets(self, coverage: float) -> PredictionSets:
        """Sets that hold the true class with a probability of `coverage`, 0 to 1."""
        n = len(self.proba)
        # Rounded, since (n + 1) * 0.9 may come out a little above a whole number.
        rank = max(1, int(np.ceil(round((n + 1) * coverage, 9))))
        least = float(self.proba[n - rank]) if rank <= n else 0.0
        return PredictionSets(coverage, least, n, self.source)


def calibration_scores(folder: Path, features: FeatureFile, trained: Trained) -> CalibrationScores:
    """Those of a head or fine-tuned network, from cross-validation with its settings, or from val.

    `folder` is that of the run. Raises `RunError` if a file of the cross-validation is missing or
    damaged.
    """
    # Imported here: predictions without sets need no scikit-learn of cross-validation.
    from headbench.classify.studies.folds import held_out_proba, read_folds

    name, settings = trained.record.name, trained.record.settings
    held_out = held_out_proba(folder, features, name)
    folds = (each for each in read_folds(folder, features) if each.head == name)
    if held_out and all(
        {"kind": settings.get("kind"), **each.settings} == settings for each in folds
    ):
        proba, y, source = held_out.proba, features.table.labels[held_out.rows], FOLDS
    else:
        proba, y, source = trained.val, features.labels("val"), VAL
    return CalibrationScores(np.sort(proba[np.arange(len(y)), y]), source)


class CoverageReached(NamedTuple):
    """Prediction sets, measured on test.

    Attributes
    ----------
    reached : Estimate
        Share of the sets that hold the true class. Interval: Wilson.
    mean_size : Estimate
        Mean number of classes in a set. Interval: bootstrap over images.
    single : Estimate
        Share of the sets of one class. Interval: Wilson.
    """

    sets: PredictionSets
    reached: Estimate
    mean_size: Estimate
    single: Estimate


class SetsFound(NamedTuple):
    """Prediction sets of the head that is shown.

    Attributes
    ----------
    coverages : list
        For several coverages that may be asked for.
    classes : list
        For a coverage of 0.9, the share of the images of each class whose set holds it, in the
        order of features.classes; null for a class that test does not have. Interval: Wilson.
    """

    coverages: Sequence[CoverageReached]
    classes: Sequence[Estimate | None]


def measure_sets(
    scores: CalibrationScores, y: NDArray[np.integer], proba: NDArray[np.floating]
) -> SetsFound:
    """Measure prediction sets on images that calibrated nothing.

    Parameters
    ----------
    y : int (n_images,)
        True labels.
    proba : float (n_images, n_classes)
    """
    is_in = scores.sets(COVERAGE).contain(proba)[np.arange(len(y)), y]
    there = np.bincount(y, minlength=proba.shape[1]).tolist()
    held = np.bincount(y[is_in], minlength=proba.shape[1]).tolist()
    return SetsFound(
        [_reached(scores.sets(coverage), y, proba) for coverage in COVERAGES],
        [wilson(n_held, n) if n else None for n_held, n in zip(held, there, strict=True)],
    )


def _reached(
    sets: PredictionSets, y: NDArray[np.integer], proba: NDArray[np.floating]
) -> CoverageReached:
    is_in, n = sets.contain(proba), len(y)
    sizes = is_in.sum(axis=1)
    values = sizes[:, None].astype(np.float32)
    [mean_size] = estimates(lambda means: (means[..., 0],), values, sizes, seed=0)
    reached = wilson(int(is_in[np.arange(n), y].sum()), n)
    return CoverageReached(sets, reached, mean_size, wilson(int((sizes == 1).sum()), n))
