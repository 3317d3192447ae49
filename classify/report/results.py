"""The results of a run as one structure: what every form of the report is made from."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cache.fingerprint import Identity
from cache.format import SPLITS, count_splits
from cache.reader import FeatureFile
from cache.versions import installed_version
from classify.metrics import evaluate
from classify.run import Run, Trained, rank

SCHEMA_VERSION = 1
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
        ``fit_seconds``, ``seed``, ``chosen``, ``settings``, ``history``.
        ``best``: the name of the first.

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
    kept = ("name", "fit_seconds", "seed", "chosen", "settings", "history")
    return {
        **{key: record[key] for key in kept},
        "val": _metrics(y["val"], trained.val),
        "test": _metrics(y["test"], trained.test),
    }


def _metrics(y: Any, proba: Any) -> dict[str, Any]:
    metrics = evaluate(y, proba)._asdict()
    return {name: estimate and estimate._asdict() for name, estimate in metrics.items()}


def identity_of(results: dict[str, Any]) -> Identity:
    """The identity of the embeddings behind some results."""
    return Identity(**results["features"]["identity"])
