"""``python -m headbench.classify predict``."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from headbench.cache import cli
from headbench.cache.reader import FeatureFile
from headbench.classify.commands.options import Commands, add_run, add_shared
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.labelled import Scores, seen_files, true_classes
from headbench.classify.deployment.prediction import Prediction, expand, predict_files
from headbench.classify.deployment.prediction_formats import FORMATS, Shape
from headbench.classify.metrics import TOP_K
from headbench.classify.run import Run
from headbench.extract.progress import Progress
from headbench.extract.settings import add_runtime_options, runtime_of

LOG = logging.getLogger(__name__)

N_TOP = 3
UNUSABLE_FILES = 1


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_run(commands, "predict", predict, "classes and probabilities for image files")
    add_shared(command, "weights", "head")
    command.add_argument(
        "--images",
        nargs="+",
        required=True,
        help="files, folders, patterns such as 'photos/**/*.jpg', - for a list on standard input",
    )
    command.add_argument(
        "--null", action="store_true", help="paths in that list end with NUL, as from find -print0"
    )
    command.add_argument(
        "--top",
        type=cli.at_least(1),
        default=N_TOP,
        help=f"classes for each file (default {N_TOP})",
    )
    command.add_argument(
        "--min-confidence",
        type=_share,
        default=0.0,
        help="give no answer if the top probability is below this, 0 to 1 (default 0)",
    )
    command.add_argument("--format", choices=FORMATS, default="table", help="default table")
    add_runtime_options(command)


@cli.lines_on_stderr()
def predict(arguments: argparse.Namespace) -> int:
    """Print predictions as they come; 1 if a file could not be used."""
    run = Run(arguments.run)
    classifier = open_classifier(run, arguments.head, arguments.weights)
    paths = list(expand(arguments.images, arguments.null))
    truth = true_classes(arguments.images, classifier.classes)
    seen: dict[Path, str] = {}
    if truth:
        with FeatureFile(run.features_path) as features:
            seen = seen_files(features, list(truth))
    scores = Scores(classifier.classes, seen, arguments.min_confidence)
    with Progress("predict", len(paths)) as progress:
        # Scores look at more classes than may be shown.
        n_top, runtime = max(arguments.top, TOP_K), runtime_of(arguments)
        least = arguments.min_confidence
        predictions = predict_files(classifier, paths, n_top, runtime, truth, least)
        shape = Shape.of(paths, min(arguments.top, len(classifier.classes)), bool(truth))
        for text in FORMATS[arguments.format](_shown(scores, predictions, progress), shape):
            cli.say(text, end="")
    for line in scores.lines():
        LOG.info(line)
    return UNUSABLE_FILES if scores.n_unusable else 0


def _shown(
    scores: Scores, predictions: Iterator[Prediction], progress: Progress
) -> Iterator[Prediction]:
    for each in scores.count(predictions):
        if each.reason is None:
            progress.update()
        else:
            progress.reject()
        yield each


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value
