"""All pictures of the page: `PICTURES` names each, with the place where it stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headbench.classify.inspection.embedding_map import EmbeddingMap
from headbench.classify.inspection.mistakes import busiest_classes, similarity_order
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.pictures.data import class_balance, map_pictures
from headbench.classify.report.pictures.heads import accuracy_and_seconds
from headbench.classify.report.pictures.shown_head import (
    ConfusionCells,
    confusion_picture,
    reliability_diagram,
)
from headbench.classify.report.pictures.training import histories, learning_curves
from headbench.classify.report.results import Results
from headbench.classify.report.svg import Picture

# Classes of the confusion matrix: more could not be read.
N_CELLS = 150


@dataclass(frozen=True)
class Material:
    """What pictures are drawn from.

    Attributes
    ----------
    map_rows : intp (n_points,)
        Rows of the feature file that are on the map.
    places : EmbeddingMap
        Where they lie.
    """

    opened: OpenedRun
    results: Results
    map_rows: NDArray[np.intp]
    places: EmbeddingMap

    @cached_property
    def map_labels(self) -> NDArray[np.integer]:
        """Class of each image on the map, int (n_points,)."""
        return self.opened.features.table.labels[self.map_rows]

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Classes, those that are often confused side by side; intp (n_classes,)."""
        return similarity_order(self.opened.y_test, self.opened.shown.test)

    @cached_property
    def cells(self) -> ConfusionCells:
        """The confusion matrix, of the classes with the most mistakes if there are many."""
        order, confusion = self.order, self.opened.confusion
        kept = order
        if len(order) > N_CELLS:
            kept = order[np.isin(order, busiest_classes(confusion, N_CELLS))]
        names = [self.opened.features.classes[label] for label in kept]
        totals = confusion.sum(axis=1)[kept]
        return ConfusionCells(names, confusion[np.ix_(kept, kept)], totals, len(order))


# By the place on the page: the template shows there whatever pictures it gets. A new picture is a
# function that draws it and a line here.
PICTURES: Mapping[str, Callable[[Material], list[Picture]]] = {
    "heads": lambda it: [accuracy_and_seconds(it.results.heads)],
    "calibration": lambda it: [reliability_diagram(it.results.shown, it.results.reliability)],
    "confusion": lambda it: [confusion_picture(it.cells)],
    "learning_curve": lambda it: learning_curves(it.results.learning_curve),
    "training": lambda it: histories(it.results.heads),
    "classes": lambda it: [class_balance(it.results.features.classes)],
    "map": lambda it: map_pictures(it.places, it.map_labels, it.order),
}


def draw(material: Material) -> dict[str, list[Picture]]:
    """The pictures of each place; a place may have none."""
    return {place: pictures(material) for place, pictures in PICTURES.items()}
