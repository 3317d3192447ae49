"""Predictions as text, each as soon as it is made: a table, CSV, JSON and JSON lines.

JSON has an object for each file, with these keys: ``path``; ``true``, if true classes are known of
some; ``label``, the answer; ``abstained``; ``predictions``, a list of ``class`` and
``probability``, the most probable first, with or without an answer; ``typicality``, the share of
val that lies at least as far from all classes, and ``out_of_distribution``, both null for a
fine-tuned network; ``set``, with ``--coverage``: the classes that are possible, the most probable
first; and ``error``, why the file cannot be used. CSV has them as columns, in this order, with
``class_1``, ``probability_1``, ``class_2``, ... for the predictions, ``yes`` and ``no``, an empty
cell for null, and ``set`` as a list in JSON.
"""

import csv
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headbench.classify.checked import json_text
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.deployment.uncertainty import Doubt
from headbench.extract.sources.folder import printable


class Shape(NamedTuple):
    """The layout of predictions, known before the first of them.

    `width` is the length of the longest path, `n_top` the number of classes a file. `is_labelled`
    says whether true classes are known of some, `has_sets` whether there are prediction sets.
    """

    width: int
    n_top: int
    is_labelled: bool = False
    has_sets: bool = False

    @classmethod
    def of(
        cls, paths: Sequence[Path], n_top: int, is_labelled: bool, has_sets: bool = False
    ) -> "Shape":
        """The layout for some files."""
        width = max((len(printable(str(path))) for path in paths), default=0)
        return cls(width, n_top, is_labelled, has_sets)


def as_table(predictions: Iterable[Prediction], shape: Shape) -> Iterator[str]:
    """A line for each file: its path, then the most probable classes and their probabilities."""
    for each in predictions:
        true = "" if each.true is None else f"   (true: {each.true})"
        yield f"{printable(str(each.path)):{shape.width}}  {_describe(each, shape.n_top)}{true}\n"


def as_csv(predictions: Iterable[Prediction], shape: Shape) -> Iterator[str]:
    """A heading, then a line for each file: see above."""
    columns = [*_json_object(Prediction(Path(), ()), shape)]
    at, ranks = columns.index("predictions"), range(1, shape.n_top + 1)
    columns[at : at + 1] = [f"{name}_{rank}" for rank in ranks for name in ("class", "probability")]
    yield _csv_line(columns)
    for each in predictions:
        found = _json_object(each, shape)
        for rank, (name, proba) in enumerate(each.top[: shape.n_top], start=1):
            found |= {f"class_{rank}": name, f"probability_{rank}": proba}
        yield _csv_line([_cell(found.get(name)) for name in columns])


def as_json(predictions: Iterable[Prediction], shape: Shape) -> Iterator[str]:
    """A list of objects."""
    before = "[\n"
    for each in predictions:
        text = json_text(_json_object(each, shape))
        yield before + textwrap.indent(text, "  ")
        before = ",\n"
    yield "\n]\n"


def as_json_lines(predictions: Iterable[Prediction], shape: Shape) -> Iterator[str]:
    """An object on each line."""
    for each in predictions:
        yield json_text(_json_object(each, shape), indent=None) + "\n"


FORMATS: dict[str, Callable[[Iterable[Prediction], Shape], Iterator[str]]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_json_lines,
}


def _describe(prediction: Prediction, n_top: int) -> str:
    if prediction.reason is not None:
        return f"UNUSABLE: {prediction.reason}"
    classes = "   ".join(f"{name} {proba:.3f}" for name, proba in prediction.top[:n_top])
    doubt = prediction.doubt
    if doubt.possible is not None:
        classes += f"   (set: {', '.join(doubt.possible)})"
    if doubt.is_foreign:
        classes = f"NONE OF THE CLASSES? (typicality {doubt.typicality:.3f}): {classes}"
    return f"ABSTAINED: {classes}" if prediction.is_abstained else classes


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6f}"
    return json_text(value, indent=None) if isinstance(value, tuple) else str(value or "")


def _csv_line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _json_object(prediction: Prediction, shape: Shape) -> dict[str, Any]:
    return {
        "path": printable(str(prediction.path)),
        **({"true": prediction.true} if shape.is_labelled else {}),
        "label": prediction.label,
        "abstained": prediction.is_abstained if prediction.reason is None else None,
        "predictions": as_objects(prediction.top[: shape.n_top]),
        **doubts_object(prediction.doubt, shape.has_sets),
        "error": prediction.reason,
    }


def doubts_object(doubt: Doubt, has_sets: bool) -> dict[str, Any]:
    """Doubts as they stand in JSON."""
    return {
        "typicality": doubt.typicality,
        "out_of_distribution": doubt.is_foreign,
        **({"set": doubt.possible} if has_sets else {}),
    }


def as_objects(top: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Classes and probabilities as they stand in JSON."""
    return [{"class": name, "probability": proba} for name, proba in top]
