"""Predictions as a table, as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence

from classify.deploy import Prediction


def as_table(predictions: Sequence[Prediction]) -> str:
    """One line a file: its path, then class and probability of the most probable classes."""
    width = max((len(str(prediction.path)) for prediction in predictions), default=0)
    return "\n".join(
        f"{prediction.path!s:{width}}  {_describe(prediction)}" for prediction in predictions
    )


def as_csv(predictions: Sequence[Prediction]) -> str:
    """Columns path, class_1, probability_1, class_2, ..., error."""
    n_top = max((len(prediction.top) for prediction in predictions), default=0)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ranks = range(1, n_top + 1)
    names = [f"{column}_{rank}" for rank in ranks for column in ("class", "probability")]
    writer.writerow(["path", *names, "error"])
    for path, top, reason in predictions:
        cells = [cell for name, proba in top for cell in (name, f"{proba:.6f}")]
        padding = [""] * (2 * n_top - len(cells))
        writer.writerow([path, *cells, *padding, reason or ""])
    return out.getvalue().rstrip("\n")


def as_json(predictions: Sequence[Prediction]) -> str:
    """A list of objects: path, predictions (each class and probability), error."""
    return json.dumps(
        [
            {
                "path": str(path),
                "predictions": [{"class": name, "probability": proba} for name, proba in top],
                "error": reason,
            }
            for path, top, reason in predictions
        ],
        indent=2,
        ensure_ascii=False,
    )


FORMATS: dict[str, Callable[[Sequence[Prediction]], str]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}


def _describe(prediction: Prediction) -> str:
    if prediction.reason is not None:
        return f"UNUSABLE: {prediction.reason}"
    return "   ".join(f"{name} {proba:.3f}" for name, proba in prediction.top)
