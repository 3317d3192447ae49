"""Predictions as a Parquet file: the probabilities of all classes, for other programs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from headbench.cache.parquet import GROUP_ROWS, as_utf8, parquet_file
from headbench.classify.deployment.prediction import Prediction

TEXTS = ("path", "true", "label", "seen_in", "error")


def into_parquet(
    predictions: Iterable[Prediction],
    path: Path,
    classes: Sequence[str],
    seen: Mapping[Path, str],
) -> Iterator[Prediction]:
    """Write predictions while they pass by; the file is there after the last one.

    Columns: ``path``; ``true``, the class if it is known; ``label``, the answer, null without one;
    ``seen_in``, the split of the run that holds the same file, if it is known; ``error``;
    ``abstained``; and ``probabilities``, a float32 list in the order of ``classes`` in the metadata
    of the schema, NaN for files that cannot be used.

    Parameters
    ----------
    predictions : iterable of Prediction
        Each with all classes.
    seen : mapping of Path to str
        See `labelled.seen_files`.
    """
    columns: dict[str, str | int] = dict.fromkeys(TEXTS, "string")
    columns |= {"abstained": "bool", "probabilities": len(classes)}
    column_of = {name: column for column, name in enumerate(classes)}
    waiting: list[Prediction] = []

    def rows() -> dict[str, object]:
        proba = np.full((len(waiting), len(classes)), np.nan, np.float32)
        for row, each in enumerate(waiting):
            for name, value in each.top:
                proba[row, column_of[name]] = value
        return {
            "path": [as_utf8(str(each.path)) for each in waiting],
            "true": [each.true for each in waiting],
            "label": [each.label for each in waiting],
            "abstained": [None if each.reason else each.is_abstained for each in waiting],
            "seen_in": [seen.get(each.path) for each in waiting],
            "error": [each.reason for each in waiting],
            "probabilities": proba,
        }

    with parquet_file(path, columns, {"classes": list(classes)}) as write:
        for each in predictions:
            waiting.append(each)
            if len(waiting) == GROUP_ROWS:
                write(rows())
                waiting.clear()
            yield each
        if waiting:
            write(rows())
