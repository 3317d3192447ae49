"""Where a head is wrong and what is wrong with the data, as numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from classify.inspection.mistakes import (
    before_temperature,
    find_suspects,
    has_cleanlab,
    most_confused,
    reliability,
)
from classify.inspection.near_duplicates import Duplicates
from classify.metrics import calibration_error
from classify.report.source import Source
from classify.studies.folds import held_out_proba

N_CONFUSIONS = 20
# Of these the most alike and the most suspicious are listed; their number is always given.
N_PAIRS, N_SUSPECTS = 200, 200


def find_mistakes(source: Source) -> dict[str, Any]:
    """The part of the results that looks at one head.

    Returns
    -------
    dict
        ``shown``, ``confusions``, ``reliability``; see ``schema.json``.
    """
    return {
        "shown": source.shown.record.name,
        "confusions": _confusions(source),
        "reliability": _reliability(source),
    }


def find_in_data(source: Source, duplicates: Duplicates) -> dict[str, Any]:
    """The part of the results that looks at the images.

    Parameters
    ----------
    source : Source
    duplicates : Duplicates
        Of the same features.

    Returns
    -------
    dict
        ``duplicates``, ``suspects``; see ``schema.json``.

    Raises
    ------
    RunError
        If the probabilities of cross-validation are damaged.
    """
    return {"duplicates": _duplicates(source, duplicates), "suspects": _suspects(source)}


def describe_row(source: Source, row: int) -> dict[str, Any]:
    """An image of the file: its row, path, split and class."""
    table = source.features.table
    return {
        "row": int(row),
        "path": table.paths[row],
        "split": SPLITS[table.splits[row]],
        "class": table.classes[table.labels[row]],
    }


def _confusions(source: Source) -> list[dict[str, Any]]:
    classes = source.features.classes
    return [
        {"true": classes[each.true], "given": classes[each.given], "n": each.n, "of": each.n_true}
        for each in most_confused(source.confusion, N_CONFUSIONS)
    ]


def _reliability(source: Source) -> dict[str, Any]:
    """Bins on test, and the calibration error, before and after the temperature."""
    y, after = source.y_test, source.shown.test
    temperature = source.shown.record.calibration.get("temperature")
    before = None if temperature is None else before_temperature(after, temperature)
    return {
        "temperature": temperature,
        "before": None if before is None else _bins(y, before),
        "after": _bins(y, after),
    }


def _bins(y: NDArray[np.int32], proba: NDArray[np.floating]) -> dict[str, Any]:
    bins = reliability(y, proba)
    return {
        "ece": calibration_error(y, proba),
        **{name: values.tolist() for name, values in bins._asdict().items()},
    }


def _duplicates(source: Source, found: Duplicates) -> dict[str, Any]:
    return {
        "n_pairs": found.n_pairs,
        "n_exact": found.n_exact,
        "threshold": found.threshold,
        "pairs": [
            {
                "first": describe_row(source, pair.first),
                "second": describe_row(source, pair.second),
                "similarity": pair.similarity,
                "is_exact": pair.is_exact,
            }
            for pair in found.pairs[:N_PAIRS]
        ],
    }


def _suspects(source: Source) -> dict[str, Any] | None:
    """None where cleanlab is not installed."""
    if not has_cleanlab():
        return None
    rows, proba, head = _held_out(source)
    labels = source.features.table.labels[rows]
    found = find_suspects(labels, proba)
    classes = source.features.classes
    return {
        "head": head,
        "n_looked_at": len(rows),
        "n_suspects": len(found),
        "images": [
            {
                **describe_row(source, rows[index]),
                "probability": float(proba[index, labels[index]]),
                "looks_like": classes[proba[index].argmax()],
                "its_probability": float(proba[index].max()),
            }
            for index in found[:N_SUSPECTS]
        ],
    }


def _held_out(source: Source) -> tuple[NDArray[np.intp], NDArray[np.float32], str]:
    """Rows and probabilities by a head that has not seen them, and its name.

    Those of test always; those of train and val where cross-validation left them.
    """
    folder, features = source.run.folder, source.features
    for trained in (source.shown, *source.ranked):
        folds = held_out_proba(folder, features, trained.record.name)
        if folds is not None:
            rows = np.concatenate([folds.rows, features.rows("test")])
            return rows, np.concatenate([folds.proba, trained.test]), trained.record.name
    return features.rows("test"), source.shown.test, source.shown.record.name
