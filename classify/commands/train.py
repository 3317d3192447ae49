"""``python -m headbench.classify train``."""

import argparse
import logging
import os
from pathlib import Path

from headbench.cache import cli
from headbench.cache.reader import FeatureFile
from headbench.classify.commands.options import Commands, add_run
from headbench.classify.heads.registry import HEADS, VOTE
from headbench.classify.report.words import describe_curve, describe_folds
from headbench.classify.run import Run
from headbench.classify.studies.folds import cross_validate
from headbench.classify.studies.learning_curve import learning_curve
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import (
    DEFAULT_SEED,
    STREAM,
    TrainSettings,
    combine,
    configured_heads,
)
from headbench.extract.settings import add_machine_options, machines_of

LOG = logging.getLogger(__name__)

# Options that are parameters of some heads, whole numbers.
COMMON = {
    "max-iter": "logreg: most iterations for each C",
    "max-rounds": "lightgbm: most rounds",
    "max-epochs": "mlp: most epochs",
    "batch-size": "mlp: images in a step",
    "patience": "lightgbm, mlp: rounds or epochs without gain",
}


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_run(commands, "train", train, "fit heads on train, choose on val, save each")
    _add_heads(command)
    command.add_argument("--c-grid", type=float, nargs="+", help="logreg: values of C, ascending")
    for name, meaning in COMMON.items():
        command.add_argument(f"--{name}", type=cli.at_least(1), help=meaning)
    command.add_argument(
        "--refit", action="store_true", help="then fit again on train and val together"
    )
    command.add_argument("--again", action="store_true", help="train what would be reused too")
    command.add_argument(
        "--curve",
        action="store_true",
        help="learning curve: 1 to 100 %% of train, --jobs fits at a time (default: the cores)",
    )
    command.add_argument(
        "--folds", type=cli.at_least(3), help="folds of cross-validation on train and val"
    )
    command.add_argument(
        "--stream",
        choices=STREAM,
        help="stream embeddings from the file; auto: if they do not fit in memory "
        f"(default {STREAM[0]})",
    )
    add_machine_options(command)


def train(arguments: argparse.Namespace) -> int:
    """Train heads, then what else was asked for."""
    run, (names, seed, settings) = Run(arguments.run), _settings(arguments)
    train_heads(run, names, seed, settings, arguments.line)
    alone = {
        name: head for name, head in configured_heads(names, seed, settings).items() if name != VOTE
    }
    n_jobs = arguments.jobs or os.cpu_count() or 1
    with FeatureFile(run.features_path) as features:
        if arguments.curve:
            curve = learning_curve(run.folder, features, alone, seed, n_jobs)
            LOG.info(describe_curve(curve))
        if arguments.folds:
            folds = cross_validate(run.folder, features, alone, arguments.folds, seed, n_jobs)
            LOG.info(describe_folds(folds))
    return 0


def _add_heads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--heads",
        nargs="+",
        help=f"of {', '.join(HEADS)}, mlp-WIDTH-WIDTH; by spaces or commas (default: all)",
    )
    command.add_argument("--seed", type=cli.at_least(0), help=f"default {DEFAULT_SEED}")
    command.add_argument(
        "--class-weight", choices=["balanced"], help="rare classes weigh as much as common ones"
    )
    command.add_argument(
        "--config", type=Path, help="TOML file: heads, seed, settings, a table for each head"
    )


def _settings(arguments: argparse.Namespace) -> tuple[list[str], int, TrainSettings]:
    """Names of heads, seed and settings, from the command line and the TOML file."""
    given = {key: value for key, value in vars(arguments).items() if value not in (None, False)}
    if "heads" in given:
        given["heads"] = [name for each in given["heads"] for name in each.split(",") if name]
    return combine(given, given.get("config"), machines_of(arguments))
