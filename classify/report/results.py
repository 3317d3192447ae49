"""The results of a run as one structure: what every form of the report is made from."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.fingerprint import Identity
from cache.format import SPLITS, count_splits
from cache.reader import FeatureFile
from cache.versions import installed_version
from classify.compare import compare
from classify.folds import FOLDS_FILE
from classify.learning_curve import CURVE_FILE
from classify.metrics import evaluate, per_class
from classify.run import Run, Trained, rank
from classify.studies import read_study

SCHEMA_VERSION = 2
KEPT = (
    *("name", "fit_seconds", "seed", "chosen", "settings", "history"),
    *("calibration", "is_refit"),
)
LIBRARIES = ("headbench", "numpy", "scikit-learn", "lightgbm", "keras", "tensorflow")


def collect_results(run: Run) -> dict[str, Any]:
    """Measure everything that was trained in a run: all on val, then once on test.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict
        JSON-ready. ``schema_version``, ``name``, ``created``, ``versions``; ``features`` (what the
        embeddings are: identity, weights, data, counts, rejected); ``heads``, the best on val
        first: ``name``, ``val`` and ``test`` (each metric as value, low, high, n),
        ``fit_seconds``, ``seed``, ``chosen``, ``settings``, ``history``, ``calibration`` (its
        temperature, and on val before and after it ``log_loss`` and ``ece``), ``is_refit``,
        ``classes`` (precision and recall on test).
        ``best``: the name of the first. ``comparisons``: every pair on test, the one that is better
        on val first. ``learning_curve``, ``folds``: what `make heads CURVE=1 FOLDS=5` left, if it
        did.

    Raises
    ------
    RunError, FeatureFileError
    """
    with FeatureFile(run.features_path) as features:
        y = {split: features.labels(split) for split in SPLITS[1:]}
        ranked = rank(run.trained(features), y["val"])
        return {
            "schema_version": SCHEMA_VERSION,
            "name": run.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {library: installed_version(library) for library in LIBRARIES},
            "features": _describe_features(features),
            "best": ranked[0].record.name,
            "heads": [_measure(each, y) for each in ranked],
            "comparisons": _compare(ranked, y["test"]),
            "learning_curve": _study(run.folder / CURVE_FILE, features),
            "folds": _study(run.folder / FOLDS_FILE, features),
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


def _study(path: Path, features: FeatureFile) -> list[dict[str, Any]]:
    return [{**point["key"], **point["result"]} for point in read_study(path, features)]


def _metrics(y: Any, proba: Any) -> dict[str, Any]:
    metrics = evaluate(y, proba)._asdict()
    return {name: estimate and estimate._asdict() for name, estimate in metrics.items()}


def identity_of(results: dict[str, Any]) -> Identity:
    """The identity of the embeddings behind some results."""
    return Identity(**results["features"]["identity"])
