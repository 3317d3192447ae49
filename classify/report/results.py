"""The results of a run as one structure: what every form of the report is made from.

``results.json`` holds it; ``schema.json`` beside this file describes it. To change it: add 1 to
`SCHEMA_VERSION` (there and here), and say so in CHANGELOG.md.
"""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cache.format import SPLITS, Identity, count_splits
from cache.reader import FeatureFile
from cache.writer import installed_version
from classify.compare import compare
from classify.folds import FOLDS_FILE
from classify.learning_curve import CURVE_FILE
from classify.metrics import evaluate, per_class
from classify.report.commands import commands
from classify.report.findings import find_mistakes
from classify.report.source import Source
from classify.run import Trained
from classify.studies import read_study

SCHEMA_VERSION = 3
PROBA = "proba_file"
KEPT = (
    *("name", "fit_seconds", "predict_seconds", "seed", "chosen", "settings", "history"),
    *("calibration", "is_refit"),
)
LIBRARIES = ("headbench", "numpy", "scikit-learn", "lightgbm", "keras", "tensorflow")


def collect_results(source: Source) -> dict[str, Any]:
    """Measure everything that was trained in a run: all on val, then once on test.

    Parameters
    ----------
    source : Source

    Returns
    -------
    dict
        JSON-ready, as ``schema.json`` describes it, but for what `find_in_data` adds.

    Raises
    ------
    FeatureFileError
    """
    features, ranked = source.features, source.ranked
    y = {split: features.labels(split) for split in SPLITS[1:]}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": source.run.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{library: installed_version(library) for library in LIBRARIES},
        },
        "commands": commands(source),
        "features": _describe_features(features),
        "best": ranked[0].record.name,
        "heads": [_measure(each, y) for each in ranked],
        "comparisons": _compare(ranked, y["test"]),
        "learning_curve": _study(source, CURVE_FILE),
        "folds": _study(source, FOLDS_FILE),
        **find_mistakes(source),
    }


def _describe_features(features: FeatureFile) -> dict[str, Any]:
    table = features.table
    return {
        "identity": asdict(features.identity),
        "fingerprint": features.identity.fingerprint,
        "has_random_weights": features.identity.has_random_weights,
        "weights": features.config.weights,
        "data": dict(features.config.data),
        "dim": features.dim,
        "n_images": features.n_images,
        "splits": count_splits(table.splits),
        "classes": [
            {"name": name, **count_splits(table.splits[table.labels == label])}
            for label, name in enumerate(features.classes)
        ],
        "rejected": [{"path": each.path, "reason": each.reason} for each in table.rejected],
    }


def _measure(trained: Trained, y: dict[str, Any]) -> dict[str, Any]:
    record = asdict(trained.record)
    return {
        **{key: record[key] for key in KEPT},
        "n_bytes": trained.n_bytes,
        "val": _metrics(y["val"], trained.val),
        "test": _metrics(y["test"], trained.test),
        "classes": [
            {name: estimate and estimate._asdict() for name, estimate in each._asdict().items()}
            for each in per_class(y["test"], trained.test.argmax(axis=1), trained.test.shape[1])
        ],
    }


def _compare(ranked: list[Trained], y: Any) -> list[dict[str, Any]]:
    pairs = compare(y, {each.record.name: each.test for each in ranked})
    return [
        {**pair._asdict(), "difference": pair.difference._asdict(), "is_seen": pair.is_seen}
        for pair in pairs
    ]


def _study(source: Source, name: str) -> list[dict[str, Any]]:
    points = read_study(source.run.folder / name, source.features)
    # Of the run's own files nothing is said: who reads this may have no more than this.
    return [
        {key: value for key, value in {**point["key"], **point["result"]}.items() if key != PROBA}
        for point in points
    ]


def _metrics(y: Any, proba: Any) -> dict[str, Any]:
    metrics = evaluate(y, proba)._asdict()
    return {name: estimate and estimate._asdict() for name, estimate in metrics.items()}


def identity_of(results: dict[str, Any]) -> Identity:
    """The identity of the embeddings behind some results."""
    return Identity(**results["features"]["identity"])
