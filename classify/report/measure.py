"""Measure a run: heads on val and test, the mistakes of one head, duplicates, wrong labels."""

import platform
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS, count_splits
from headbench.cache.progress import Progress
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import installed_version
from headbench.classify.deployment.prediction_sets import calibration_scores, measure_sets
from headbench.classify.inspection.mistakes import (
    before_temperature,
    find_suspects,
    has_cleanlab,
    most_confused,
    reliability,
)
from headbench.classify.inspection.near_duplicates import Duplicates
from headbench.classify.inspection.out_of_distribution import (
    measure_out_of_distribution,
    open_distances,
)
from headbench.classify.intervals import compare
from headbench.classify.looks_at_test import count_look
from headbench.classify.metrics import evaluate, per_class
from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.report.results import (
    SCHEMA_VERSION,
    Calibration,
    ClassCounts,
    DuplicatePair,
    DuplicatesFound,
    Features,
    HeadResult,
    RejectedFile,
    Results,
    Suspect,
    SuspectsFound,
)
from headbench.classify.run import Trained, is_finetuned
from headbench.classify.studies.folds import held_out_proba, read_folds
from headbench.classify.studies.learning_curve import read_curve
from headbench.extract.images.resizing import find_resizing
from headbench.extract.networks.applications import OWN_MODEL, declared_as, is_hub
from headbench.extract.settings import CROP
from headbench.extract.sources import python

LIBRARIES = ("headbench", "numpy", "scikit-learn", "lightgbm", "keras", "tensorflow")
N_CONFUSIONS = 20
# Only the most similar and the most suspicious are listed; the number of all is always given.
N_PAIRS, N_SUSPECTS = 200, 200
NOT_SEARCHED = DuplicatesFound(0, 0, None, ())


def measure(opened: OpenedRun) -> Results:
    """Measure everything that was trained in a run: all on val, then once on test.

    The look at test is counted in the folder of the run. Duplicates take the longest to find;
    `with_duplicates` adds them later.

    Raises
    ------
    FeatureFileError
    RunError
        If the probabilities of cross-validation are damaged.
    """
    features, ranked, shown = opened.features, opened.ranked, opened.shown
    folder = opened.run.folder
    y = {split: features.labels(split) for split in SPLITS[1:]}
    return Results(
        schema_version=SCHEMA_VERSION,
        name=opened.run.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            **{library: installed_version(library) for library in LIBRARIES},
        },
        commands=command_lines(opened),
        features=_features(features),
        best=ranked[0].record.name,
        heads=_heads(ranked, y),
        comparisons=compare(y["test"], {each.record.name: each.test for each in ranked}),
        learning_curve=read_curve(folder, features),
        folds=read_folds(folder, features),
        looks_at_test=count_look(folder, features, ranked),
        out_of_distribution=measure_out_of_distribution(features, open_distances(folder, features)),
        shown=shown.record.name,
        confusions=most_confused(opened.confusion, features.classes, N_CONFUSIONS),
        reliability=_calibration(opened),
        prediction_sets=measure_sets(
            calibration_scores(folder, features, shown), y["test"], shown.test
        ),
        duplicates=NOT_SEARCHED,
        suspects=_suspects(opened),
    )


def command_lines(opened: OpenedRun) -> list[str]:
    """Command lines in the order of the stages, each once.

    The first is written from the settings in the feature file, so that it makes the same
    embeddings, whatever was typed. The others are stored with the heads that they trained.
    """
    trained = sorted(opened.ranked, key=lambda each: is_finetuned(each.record.name))
    lines = [_extraction(opened), *(each.record.command for each in trained), opened.command]
    return list(dict.fromkeys(line for line in lines if line))


def _extraction(opened: OpenedRun) -> str:
    config, identity, run = opened.features.config, opened.features.identity, opened.run
    if config.data["layout"] in python.LAYOUTS:
        return ""  # Python code handed over the images
    options = {
        "name": run.name if run.folder == Path("runs") / run.name else run.folder,
        "weights": config.weights,
        "backbone": identity.backbone,
        "size": identity.size_px,
        "pooling": identity.pooling,
        "precision": identity.precision,
        "store": config.store,
        "seed": config.data["seed"],
    }
    if identity.backbone == OWN_MODEL:
        options["preprocessing"] = declared_as(identity.preprocessing)
    if identity.backbone == OWN_MODEL or is_hub(identity.backbone):
        options["backbone"] = options.pop("weights")
    if identity.layer:
        options["layer"] = identity.layer
    resizing = find_resizing(identity)
    if resizing is not None and resizing.rule != CROP:
        options["resize"] = resizing.rule
    if identity.views:
        options["views"] = identity.views
    if "val_share" in config.data:
        options["val-share"] = config.data["val_share"]
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return shlex.join(["headbench", "features", str(config.data["folder"]), *words])


def _features(features: FeatureFile) -> Features:
    table = features.table
    return Features(
        identity=features.identity,
        fingerprint=features.identity.fingerprint,
        has_random_weights=features.identity.has_random_weights,
        weights=features.config.weights,
        data=dict(features.config.data),
        dim=features.dim,
        n_images=features.n_images,
        splits=count_splits(table.splits),
        classes=[
            ClassCounts(name, **count_splits(table.splits[table.labels == label]))
            for label, name in enumerate(features.classes)
        ],
        rejected=[RejectedFile(each.path, each.reason) for each in table.rejected],
    )


def _heads(ranked: list[Trained], y: dict[str, Any]) -> list[HeadResult]:
    with Progress("measure", len(ranked), "heads") as progress:
        return [progress.counting(_head)(each, y) for each in ranked]


def _head(trained: Trained, y: dict[str, Any]) -> HeadResult:
    record = trained.record
    return HeadResult(
        name=record.name,
        fit_seconds=record.fit_seconds,
        predict_seconds=record.predict_seconds,
        seed=record.seed,
        chosen=record.chosen,
        settings=record.settings,
        history=record.history,
        calibration=record.calibration,
        is_refit=record.is_refit,
        n_bytes=trained.n_bytes,
        val=evaluate(y["val"], trained.val),
        test=evaluate(y["test"], trained.test),
        classes=per_class(y["test"], trained.test.argmax(axis=1), trained.test.shape[1]),
    )


def _calibration(opened: OpenedRun) -> Calibration:
    """Reliability on test, before and after temperature scaling."""
    y, after = opened.y_test, opened.shown.test
    temperature = opened.shown.record.calibration.get("temperature")
    before = temperature and reliability(y, before_temperature(after, temperature))
    return Calibration(temperature, before, reliability(y, after))


def with_duplicates(results: Results, opened: OpenedRun, found: Duplicates) -> Results:
    """Add the duplicates that were found in the same features."""
    pairs = [
        DuplicatePair(opened.image(first), opened.image(second), similarity, is_exact)
        for first, second, similarity, is_exact in found.pairs[:N_PAIRS]
    ]
    all_found = DuplicatesFound(found.n_pairs, found.n_exact, found.threshold, pairs)
    return replace(results, duplicates=all_found)


def _suspects(opened: OpenedRun) -> SuspectsFound | None:
    if not has_cleanlab():
        return None
    rows, proba, head = _held_out(opened)
    labels = opened.features.table.labels[rows]
    found = find_suspects(labels, proba)
    classes = opened.features.classes
    images = [
        Suspect(
            **vars(opened.image(rows[index])),
            probability=float(proba[index, labels[index]]),
            looks_like=classes[proba[index].argmax()],
            its_probability=float(proba[index].max()),
        )
        for index in found[:N_SUSPECTS]
    ]
    return SuspectsFound(head, len(rows), len(found), images)


def _held_out(opened: OpenedRun) -> tuple[NDArray[np.intp], NDArray[np.float32], str]:
    """Rows, their probabilities by a head that was not fitted on them, and its name.

    All of test, and after cross-validation all of train and val.
    """
    folder, features = opened.run.folder, opened.features
    for trained in (opened.shown, *opened.ranked):
        folds = held_out_proba(folder, features, trained.record.name)
        if folds is not None:
            rows = np.concatenate([folds.rows, features.rows("test")])
            return rows, np.concatenate([folds.proba, trained.test]), trained.record.name
    return features.rows("test"), opened.shown.test, opened.shown.record.name
