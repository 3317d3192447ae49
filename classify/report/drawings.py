"""The pictures of the page, drawn from numbers that are there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.inspection.embedding_map import EmbeddingMap
from headbench.classify.inspection.mistakes import busiest_classes, similarity_order
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.pictures.calibration import reliability_diagram
from headbench.classify.report.pictures.data import class_balance, map_picture
from headbench.classify.report.pictures.errors import confusion_picture
from headbench.classify.report.pictures.heads import accuracy_and_seconds
from headbench.classify.report.pictures.training import histories, learning_curves
from headbench.classify.report.results import Results
from headbench.classify.report.svg import Picture

# Classes of the confusion matrix: more could not be read.
N_CELLS = 150


@dataclass(frozen=True)
class Drawings:
    """All pictures of the page.

    Attributes
    ----------
    confusion_box : dict of str to float
        Where the cells lie in the picture: left, top, width, height, in percent.
    matrix : dict
        What the cells hold, JSON-ready: ``names``, ``counts``, ``totals``.
    map_note : str
        What the maps show.
    """

    accuracy_and_seconds: Picture
    reliability: Picture
    confusion: Picture
    balance: Picture
    learning_curves: Picture | None
    training: list[Picture]
    maps: list[Picture]
    confusion_box: dict[str, float]
    matrix: dict[str, Any]
    map_note: str


def draw(
    opened: OpenedRun, results: Results, map_rows: NDArray[np.intp], found: EmbeddingMap
) -> Drawings:
    """Draw everything.

    Parameters
    ----------
    map_rows : intp (n_points,)
        Rows of the feature file to put on the map.
    found : EmbeddingMap
        Where they lie.
    """
    order = similarity_order(opened.y_test, opened.shown.test)
    maps, map_note = _maps(opened, map_rows, found, order)
    confusion, box, matrix = _confusion(opened, order)
    curve = results.learning_curve
    return Drawings(
        accuracy_and_seconds=accuracy_and_seconds(results.heads),
        reliability=reliability_diagram(
            results.shown, results.reliability.before, results.reliability.after
        ),
        confusion=confusion,
        balance=class_balance(results.features.classes),
        learning_curves=learning_curves(curve) if curve else None,
        training=histories(results.heads),
        maps=maps,
        confusion_box=box,
        matrix=matrix,
        map_note=map_note,
    )


def _confusion(
    opened: OpenedRun, order: NDArray[np.intp]
) -> tuple[Picture, dict[str, float], dict[str, Any]]:
    confusion = opened.confusion
    kept = order
    if len(order) > N_CELLS:
        kept = order[np.isin(order, busiest_classes(confusion, N_CELLS))]
    names = [opened.features.classes[label] for label in kept]
    cells = confusion[np.ix_(kept, kept)]
    totals = confusion.sum(axis=1)[kept]
    drawn, box = confusion_picture(cells, totals, names, len(order))
    matrix = {"names": names, "counts": cells.tolist(), "totals": totals.tolist()}
    sides = {name: round(100 * side, 3) for name, side in box.items()}
    return drawn, sides, matrix


def _maps(
    opened: OpenedRun, rows: NDArray[np.intp], found: EmbeddingMap, order: NDArray[np.intp]
) -> tuple[list[Picture], str]:
    labels = opened.features.table.labels[rows]
    pictures = [
        map_picture(method, points, labels, order) for method, points in found.points.items()
    ]
    n_test = len(opened.y_test)
    drawn = ""
    if len(rows) < n_test:
        drawn = f" ({len(rows)} of {n_test}, drawn at random)"
    note = (
        f"Test images{drawn}, each a point coloured by its class. Classes that are often confused "
        "have similar colours. The first two principal components hold "
        f"{100 * found.variance_share:.0f} % of the variance."
    )
    if len(found.points) == 1:
        note += " 'make install EXTRAS=map' adds a map by t-SNE, which keeps neighbours together."
    return pictures, note
