"""``headbench predict``."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.commands.options import (
    add_doubts,
    add_run,
    add_runtime_options,
    add_shared,
    at_least,
    runtime_of,
    share,
)
from headbench.terminal import lines_on_stderr, say

if TYPE_CHECKING:
    from headbench.cache.progress import Progress
    from headbench.classify.deployment.labelled import Scores
    from headbench.classify.deployment.prediction import Prediction

LOG = logging.getLogger(__name__)

FORMATS = ("table", "csv", "json", "jsonl")
N_TOP = 3
UNUSABLE_FILES = 1


def add_predict(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    command.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="FILE",
        help="files, folders, patterns such as 'photos/**/*.jpg', names of runs, - for a list on "
        "standard input",
    )
    command.add_argument(
        "--null", action="store_true", help="paths in that list end with NUL, as from find -print0"
    )
    add_shared(command, "head", "weights")
    command.add_argument(
        "--top",
        type=at_least(1),
        default=N_TOP,
        metavar="N",
        help=f"classes for each file (default: {N_TOP})",
    )
    command.add_argument(
        "--min-confidence",
        type=share,
        default=0.0,
        metavar="P",
        help="give no answer if the top probability is below this, 0 to 1 (default: 0)",
    )
    add_doubts(command)
    command.add_argument(
        "--explain",
        type=Path,
        metavar="PAGE",
        help="also write a page that shows what in each picture spoke for its class, such as "
        "why.html; of the first 200 images",
    )
    command.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"(default: {FORMATS[0]})"
    )
    command.add_argument(
        "--parquet",
        type=Path,
        metavar="FILE",
        help="also write the probabilities of all classes to this file (extra: tables)",
    )
    add_runtime_options(command)


@lines_on_stderr()
def predict(arguments: argparse.Namespace) -> int:
    """Print predictions as they come; 1 if a file could not be used."""
    from headbench.cache.progress import Progress
    from headbench.cache.reader import FeatureFile
    from headbench.classify.deployment import prediction_formats
    from headbench.classify.deployment.classifier import open_classifier
    from headbench.classify.deployment.labelled import Scores, seen_files, true_classes
    from headbench.classify.deployment.named_images import name_images
    from headbench.classify.deployment.prediction import predict_files
    from headbench.classify.deployment.prediction_table import into_parquet
    from headbench.classify.deployment.stored_embeddings import StoredEmbeddings
    from headbench.classify.deployment.uncertainty import open_uncertainty
    from headbench.classify.looks_at_test import count_look
    from headbench.classify.metrics import TOP_K
    from headbench.classify.run import Run
    from headbench.classify.wording import count
    from headbench.extract.settings import Runtime
    from headbench.run_names import run_path, stored_run

    run = Run(run_path(arguments.run))
    classifier = open_classifier(run, arguments.head, arguments.weights)
    images = name_images(arguments.images, stored_run, arguments.null)
    paths, stores = images.paths, [run.features_path, *images.stores]
    stored = StoredEmbeddings(classifier.identity, stores if classifier.head else ())
    truth = true_classes(arguments.images, classifier.classes)
    seen: dict[Path, str] = {}
    if truth:
        with FeatureFile(run.features_path) as features:
            seen = seen_files(features, list(truth))
    scores = Scores(classifier.classes, seen, arguments.min_confidence)
    coverage, false_alarms = arguments.coverage, arguments.false_alarms
    doubts = open_uncertainty(run, classifier.name, coverage, false_alarms)
    for line in doubts.lines():
        LOG.info(line)
    with Progress("predict", len(paths)) as progress:
        # Scores look at more classes than may be shown.
        n_top = len(classifier.classes) if arguments.parquet else max(arguments.top, TOP_K)
        runtime = Runtime(**runtime_of(arguments))
        least = arguments.min_confidence
        predictions = predict_files(
            classifier, paths, n_top, runtime, truth, least, doubts, stored, images.contents
        )
        if arguments.explain:
            from headbench.classify.deployment.explained_files import explained

            predictions = explained(predictions, classifier, runtime, arguments.explain)
        if arguments.parquet:
            classes = classifier.classes
            predictions = into_parquet(predictions, arguments.parquet, classes, seen)
        n_shown = min(arguments.top, len(classifier.classes))
        shape = prediction_formats.Shape.of(paths, n_shown, bool(truth), coverage is not None)
        written = prediction_formats.FORMATS[arguments.format]
        for text in written(_shown(scores, predictions, progress), shape):
            say(text, end="")
    for line in scores.lines():
        LOG.info(line)
    if scores.n_test:
        with FeatureFile(run.features_path) as features:
            measured = [run.find(classifier.name, features)]
            looks = count_look(run.folder, features, measured)
        LOG.info(f"{count(scores.n_test, 'image')} of test measured. {looks.describe()}")
    return UNUSABLE_FILES if scores.n_unusable else 0


def _shown(
    scores: "Scores", predictions: "Iterator[Prediction]", progress: "Progress"
) -> "Iterator[Prediction]":
    for each in scores.count(predictions):
        if each.reason is None:
            progress.update()
        else:
            progress.reject()
        yield each
