"""``headbench predict``."""

import argparse
from pathlib import Path

from headbench.classify.deployment import N_TOP
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

FORMATS = ("table", "csv", "json", "jsonl")
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
    from headbench.classify.deployment.predict_images import NamedPredictions, PredictSettings
    from headbench.classify.deployment.prediction_formats import FORMATS, Shape
    from headbench.classify.run import Run
    from headbench.extract.settings import Runtime
    from headbench.run_names import run_path, stored_run

    settings = PredictSettings(
        arguments.head,
        arguments.weights,
        arguments.top,
        arguments.min_confidence,
        arguments.coverage,
        arguments.false_alarms,
        arguments.explain,
        arguments.parquet,
        arguments.null,
    )
    run, runtime = Run(run_path(arguments.run)), Runtime(**runtime_of(arguments))
    predictions = NamedPredictions(run, arguments.images, stored_run, settings, runtime)
    n_top = min(arguments.top, len(predictions.classes))
    has_sets = arguments.coverage is not None
    shape = Shape.of(predictions.paths, n_top, predictions.is_labelled, has_sets)
    for text in FORMATS[arguments.format](predictions, shape):
        say(text, end="")
    return UNUSABLE_FILES if predictions.n_unusable else 0
