"""A run, opened for a report: its features, what was trained on them, and one head to look at."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.labelled_files import images_of
from headbench.classify.metrics import confusion_matrix
from headbench.classify.report.results import ImageRow
from headbench.classify.run import Run, Trained, rank
from headbench.extract.sources.source import Source


@dataclass(frozen=True)
class OpenedRun:
    """A run, opened for a report.

    Attributes
    ----------
    features : FeatureFile
        Open.
    ranked : list of Trained
        The best on val first.
    shown : Trained
        The head whose mistakes are shown.
    images : headbench.extract.sources.source.Source
        Where the images should be.
    command : str
        The command line that asks for the report.
    """

    run: Run
    features: FeatureFile
    ranked: list[Trained]
    shown: Trained
    images: Source
    command: str

    @cached_property
    def y_test(self) -> NDArray[np.int32]:
        """True labels of test, int32 (n_test,)."""
        return self.features.labels("test")

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix of the head that is shown, on test: true class by predicted class."""
        proba = self.shown.test
        return confusion_matrix(self.y_test, proba.argmax(axis=1), proba.shape[1])

    def image(self, row: int) -> ImageRow:
        """An image of the feature file by its row."""
        table = self.features.table
        label = table.labels[row]
        return ImageRow(int(row), table.paths[row], SPLITS[table.splits[row]], table.classes[label])


def open_run(
    run: Run, features: FeatureFile, head: str | None, data: str | Path | None, command: str
) -> OpenedRun:
    """Find what was trained in a run.

    Parameters
    ----------
    features : FeatureFile
        That of the run.
    head : str or None
        The head whose mistakes are shown; None for the best on val.
    data : path-like, URL or None
        The folder of images; None for the one that the features were made from.

    Raises
    ------
    RunError
        If nothing was trained, or not that head, or on other features.
    """
    ranked = rank(run.trained(features), features.labels("val"))
    shown = run.find(head, features) if head is not None else ranked[0]
    return OpenedRun(run, features, ranked, shown, images_of(features, data), command)
