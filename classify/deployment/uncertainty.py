"""Doubts about predictions: whether it is any of the classes, and which ones are possible."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment import FALSE_ALARMS
from headbench.classify.deployment.prediction_sets import PredictionSets, calibration_scores
from headbench.classify.errors import RunError
from headbench.classify.inspection.out_of_distribution import Distances, open_distances
from headbench.classify.run import Run, is_finetuned


class Doubt(NamedTuple):
    """What is uncertain about one image.

    Attributes
    ----------
    typicality : float or None
        Share of the images of val that lie at least as far from all classes, above 0 to 1; None
        for a fine-tuned network.
    is_foreign : bool or None
        Whether that is so little that the image is likely of none of the classes; None for a
        fine-tuned network.
    possible : tuple of str or None
        The prediction set, the most probable class first; None if none was asked for.
    """

    typicality: float | None = None
    is_foreign: bool | None = None
    possible: tuple[str, ...] | None = None


class Uncertainty(NamedTuple):
    """How predictions are doubted.

    Attributes
    ----------
    distances : Distances or None
        None for a fine-tuned network: the feature file has no embeddings by it.
    false_alarms : float
        Share of the images like those of val, 0 to 1, that may be taken for foreign ones.
    sets : PredictionSets or None
        None if no coverage was asked for.
    """

    distances: Distances | None = None
    false_alarms: float = FALSE_ALARMS
    sets: PredictionSets | None = None

    def of(
        self, outputs: NDArray[np.float32], proba: NDArray[np.float32], classes: tuple[str, ...]
    ) -> list[Doubt]:
        """Doubts about some images.

        Parameters
        ----------
        outputs : float32 (n, dim)
            Embeddings; not used for a fine-tuned network.
        proba : float32 (n, n_classes)
        """
        doubts = [Doubt()] * len(proba)
        if self.distances is not None:
            shares = self.distances.typicality(outputs).tolist()
            doubts = [Doubt(each, each <= self.false_alarms) for each in shares]
        if self.sets is not None:
            order, is_in = np.argsort(-proba, axis=1, kind="stable"), self.sets.contain(proba)
            chosen = (labels[row[labels]] for labels, row in zip(order, is_in, strict=True))
            names = [tuple(classes[label] for label in labels) for labels in chosen]
            pairs = zip(doubts, names, strict=True)
            doubts = [each._replace(possible=possible) for each, possible in pairs]
        return doubts

    def lines(self) -> list[str]:
        """What the doubts rest on, a line each; empty where nothing is out of the ordinary."""
        lines = [self.sets.describe()] if self.sets else []
        least = 1 / (len(self.distances.val) + 1) if self.distances else 0
        if 0 < self.false_alarms < least:
            lines.append(
                f"false alarms {self.false_alarms:g}: no image can be reported as of none of the "
                f"classes: with so few images of val, the smallest share is {least:.2g}"
            )
        return lines


def open_uncertainty(
    run: Run, name: str, coverage: float | None, false_alarms: float = FALSE_ALARMS
) -> Uncertainty:
    """What is known of a run to doubt the predictions of a head or a fine-tuned network.

    Parameters
    ----------
    coverage : float or None
        Of prediction sets, between 0 and 1; None for no sets.
    false_alarms : float
        0 to 1.

    Raises
    ------
    RunError, FeatureFileError
        Also if one of both is outside its range.
    """
    if not (coverage is None or 0 < coverage < 1) or not 0 <= false_alarms <= 1:
        raise RunError(
            "expected coverage between 0 and 1 and false_alarms from 0 to 1, found "
            f"{coverage} and {false_alarms}."
        )
    with FeatureFile(run.features_path) as features:
        distances = None if is_finetuned(name) else open_distances(run.folder, features)
        sets = None
        if coverage is not None:
            scores = calibration_scores(run.folder, features, run.find(name, features))
            sets = scores.sets(coverage)
    return Uncertainty(distances, false_alarms, sets)
