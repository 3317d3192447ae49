"""``python -m classify predict``."""

import argparse
import sys
from pathlib import Path

from cache import cli
from classify.commands.options import Commands, add_run, add_weights
from classify.deploy import predict_files
from classify.predictions import FORMATS
from classify.run import Run
from extract.options import add_runtime_options, runtime_of

N_TOP = 3
UNUSABLE_FILES = 1


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_run(commands, "predict", predict, "classes and probabilities for image files")
    add_weights(command)
    command.add_argument("--images", type=Path, nargs="+", required=True, help="files, folders")
    command.add_argument("--head", help="a trained head or 'finetuned' (default: the best on val)")
    command.add_argument(
        "--top", type=cli.at_least(1), default=N_TOP, help=f"classes a file (default {N_TOP})"
    )
    command.add_argument("--format", choices=FORMATS, default="table", help="default table")
    add_runtime_options(command)


def predict(arguments: argparse.Namespace) -> int:
    """Print predictions; 1 if a file could not be used."""
    predictions = predict_files(
        Run(arguments.run),
        arguments.images,
        arguments.head,
        arguments.weights,
        arguments.top,
        # Standard output holds nothing but the predictions, so that it can be piped on.
        lambda line: print(line, file=sys.stderr),
        runtime_of(arguments),
    )
    print(FORMATS[arguments.format](predictions))
    is_complete = all(prediction.reason is None for prediction in predictions)
    return 0 if is_complete else UNUSABLE_FILES
