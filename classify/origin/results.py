"""All that was measured, as one structure: what text, page and ``results.json`` are made from."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.format import count_splits
from cache.writer import installed_version
from classify.intervals import Comparison, Estimate, wilson
from classify.metrics import accuracy
from classify.origin.cells import Cell, most_predicted
from classify.origin.epochs import Epoch
from classify.origin.extraction import Extraction, Variant, scalings_of
from classify.origin.settings import OriginSettings
from classify.report.measure import LIBRARIES
from extract.keras_backbone import KerasBackbone

SCHEMA_VERSION = 1


class Trained(NamedTuple):
    """A Keras model that was trained for some epochs.

    Attributes
    ----------
    epochs : list of Epoch
    proba : float32 (n_val, n_classes)
        On val, at the end.
    n_train : int
    n_steps : int
        Batches that it was trained on, all epochs together.
    """

    epochs: list[Epoch]
    proba: NDArray[np.float32]
    n_train: int
    n_steps: int


def table_results(
    extraction: Extraction,
    cells: list[Cell],
    comparisons: dict[str, Comparison],
    backbone: KerasBackbone,
    settings: OriginSettings,
) -> dict[str, Any]:
    """What was measured of the four extractions, JSON-ready."""
    images = extraction.images
    table, config = images.table, images.table.config
    own, wrong = scalings_of(backbone)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{library: installed_version(library) for library in LIBRARIES},
        },
        "data": {
            **config.data,
            "splits": count_splits(table.splits),
            "classes": list(table.classes),
            "rejected": [{"path": each.path, "reason": each.reason} for each in table.rejected],
        },
        "network": {
            **asdict(config.identity),
            "weights": config.weights,
            "has_random_weights": config.identity.has_random_weights,
            "scaling": own.name,
            "scaling_words": own.words,
            # How many times less contrast / 255 leaves than the network takes.
            "contrast": own.factor[0] / wrong.factor[0],
        },
        "settings": asdict(settings),
        "chance": _chance(images.labels[images.rows("val")])._asdict(),
        "cells": [_cell(each, table.classes) for each in cells],
        "differences": {
            name: {
                **each._asdict(),
                "difference": each.difference._asdict(),
                "is_seen": each.is_seen,
            }
            for name, each in comparisons.items()
        },
        "network_seconds": {
            _variant(variant): seconds for variant, seconds in extraction.seconds.items()
        },
    }


def model_results(trained: Trained, y: NDArray[np.int32], classes: Sequence[str]) -> dict[str, Any]:
    """What was measured of a Keras model, JSON-ready.

    Parameters
    ----------
    trained : Trained
    y : int32 (n_val,)
    classes : sequence of str
    """
    label, share = most_predicted(trained.proba)
    return {
        "epochs": [each._asdict() for each in trained.epochs],
        "n_train": trained.n_train,
        "n_steps": trained.n_steps,
        "val": accuracy(y, trained.proba)._asdict(),
        "chance": _chance(y)._asdict(),
        "most_predicted": classes[label],
        "predicted_share": share._asdict(),
        "seconds": sum(each.seconds for each in trained.epochs),
    }


def _chance(y: NDArray[np.int32]) -> Estimate:
    """What naming one class for every image gets at best."""
    return wilson(int(np.bincount(y).max()), len(y))


def _cell(cell: Cell, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "preprocessing": cell.trained.preprocessing,
        "trained": cell.trained.statistics,
        "validated": cell.validated.statistics,
        "role": cell.role,
        "train": cell.train._asdict(),
        "val": cell.val._asdict(),
        "train_validated": cell.train_validated._asdict(),
        "most_predicted": classes[cell.most_predicted],
        "predicted_share": cell.predicted_share._asdict(),
        "chosen": cell.chosen,
    }


def _variant(variant: Variant) -> str:
    return f"{variant.preprocessing}, {variant.statistics}"
