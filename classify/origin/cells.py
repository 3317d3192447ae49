"""One head on each extraction, validated in both modes: the cells of the table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.heads.head import Head
from classify.intervals import Comparison, Estimate, compare_right, holm, wilson
from classify.metrics import accuracy
from classify.origin.extraction import BATCH, MOVING, STATISTICS, WRONG, Extraction, Variant
from classify.settings import TrainSettings, configured_heads
from classify.train import class_proba

RIGHT, ORIGIN = "right", "origin"


class Cell(NamedTuple):
    """A head that was trained on one extraction and validated on another.

    Attributes
    ----------
    trained, validated : Variant
        They differ in the statistics alone.
    train, val : Estimate
        Accuracy on train in the mode of training, and on val in that of validation.
    train_validated : Estimate
        Accuracy on train in the mode of validation: what no overfitting explains.
    most_predicted : int
        The class that most val images are given.
    predicted_share : Estimate
        How many of them.
    is_right : bool (n_val,)
        Which val images it has right.
    chosen : dict
        What the head chose on val of the mode that it was trained in.
    """

    trained: Variant
    validated: Variant
    train: Estimate
    val: Estimate
    train_validated: Estimate
    most_predicted: int
    predicted_share: Estimate
    is_right: NDArray[np.bool_]
    chosen: dict[str, Any]

    @property
    def role(self) -> str:
        """``right``, ``origin`` or nothing."""
        way = (self.trained.statistics, self.validated.statistics)
        if way == (MOVING, MOVING) and self.trained.preprocessing != WRONG.name:
            return RIGHT
        is_origin = way == (BATCH, MOVING) and self.trained.preprocessing == WRONG.name
        return ORIGIN if is_origin else ""


def make_head(name: str, seed: int) -> Head:
    """The head of that name, with the settings that ``make heads`` gives it; `RunError` if none."""
    return configured_heads([name], seed, TrainSettings())[name]


def measure_cells(extraction: Extraction, name: str, seed: int) -> list[Cell]:
    """Fit a head to each of the four extractions, and validate each fit in both modes.

    Settings are chosen on val in the mode of training, as nobody chooses them on numbers that are
    wrong; both validations are of the same fitted head.

    Parameters
    ----------
    extraction : Extraction
    name : str
        Of the head.
    seed : int

    Returns
    -------
    list of Cell
        Eight, the network's own preprocessing first.
    """
    images = extraction.images
    train, val = (images.rows(split) for split in ("train", "val"))
    y, y_val = images.labels[train], images.labels[val]
    n_classes = len(images.table.classes)
    cells = []
    for trained, embeddings in extraction.embeddings.items():
        head = make_head(name, seed).fit(embeddings[train], y, embeddings[val], y_val)
        on_train = accuracy(y, class_proba(head, embeddings[train], n_classes))
        for statistics in STATISTICS:
            validated = Variant(trained.preprocessing, statistics)
            seen = extraction.embeddings[validated]
            proba = class_proba(head, seen[val], n_classes)
            label, share = most_predicted(proba)
            cells.append(
                Cell(
                    trained,
                    validated,
                    train=on_train,
                    val=accuracy(y_val, proba),
                    train_validated=accuracy(y, class_proba(head, seen[train], n_classes)),
                    most_predicted=label,
                    predicted_share=share,
                    is_right=proba.argmax(axis=1) == y_val,
                    chosen=head.chosen_,
                )
            )
    return cells


def most_predicted(proba: NDArray[np.floating]) -> tuple[int, Estimate]:
    """The class that most images are given, and the share of them; of (n_images, n_classes)."""
    counts = np.bincount(proba.argmax(axis=1), minlength=proba.shape[1])
    return int(counts.argmax()), wilson(int(counts.max()), len(proba))


def compare_cells(cells: list[Cell], seed: int) -> dict[str, Comparison]:
    """What each mistake does, paired on the images of val.

    Parameters
    ----------
    cells : list of Cell
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict of str to Comparison
        ``pixels``: / 255, all else right, minus all right. ``statistics``: trained by batch and
        validated by moving statistics, all else right, minus all right. ``both``: the origin minus
        all right. ``switch``: the origin minus the same head validated by batch statistics.
        ``mend_pixels``, ``mend_statistics``: one of the two mended, minus the origin. p is
        Holm-corrected for these.
    """
    by_name = {_name(cell): cell.is_right for cell in cells}
    own = next(cell.trained.preprocessing for cell in cells if cell.role == RIGHT)
    right, origin = (own, MOVING, MOVING), (WRONG.name, BATCH, MOVING)
    pairs = {
        "pixels": ((WRONG.name, MOVING, MOVING), right),
        "statistics": ((own, BATCH, MOVING), right),
        "both": (origin, right),
        "switch": (origin, (WRONG.name, BATCH, BATCH)),
        "mend_pixels": ((own, BATCH, MOVING), origin),
        "mend_statistics": ((WRONG.name, MOVING, MOVING), origin),
    }
    found = {name: _pair(by_name, pair, seed) for name, pair in pairs.items()}
    corrected = holm([each.p for each in found.values()])
    return {
        name: each._replace(p_holm=p)
        for (name, each), p in zip(found.items(), corrected, strict=True)
    }


def _name(cell: Cell) -> tuple[str, str, str]:
    return cell.trained.preprocessing, cell.trained.statistics, cell.validated.statistics


def _pair(
    by_name: Mapping[tuple[str, str, str], NDArray[np.bool_]],
    pair: tuple[tuple[str, str, str], tuple[str, str, str]],
    seed: int,
) -> Comparison:
    names = [" ".join(each) for each in pair]
    right = {name: by_name[each] for name, each in zip(names, pair, strict=True)}
    [comparison] = compare_right(right, seed)
    return comparison
