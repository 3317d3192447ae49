"""``python -m classify finetune``."""

import argparse
from collections.abc import Callable
from dataclasses import fields

from tqdm import tqdm

from cache import cli
from classify.commands.options import Commands, add_data, add_run, add_weights
from classify.finetune import FinetuneSettings, finetune
from classify.run import Run


def add(commands: Commands) -> None:
    """Add the command."""
    default = FinetuneSettings()
    command = add_run(
        commands,
        "finetune",
        run_finetune,
        "train the last block of the network from the logistic regression on",
    )
    add_weights(command)
    add_data(command)
    options: list[tuple[str, Callable[[str], object], object]] = [
        ("--epochs", cli.at_least(0), default.epochs),
        ("--learning-rate", float, default.learning_rate),
        ("--batch-size", cli.at_least(1), default.batch_size),
        ("--seed", cli.at_least(0), default.seed),
    ]
    for name, kind, value in options:
        command.add_argument(name, type=kind, default=value, help=f"default {value}")


def run_finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune."""
    settings = FinetuneSettings(
        **{field.name: getattr(arguments, field.name) for field in fields(FinetuneSettings)}
    )
    run = Run(arguments.run)
    finetune(run, settings, arguments.data, arguments.weights, tqdm.write, arguments.line)
    return 0
