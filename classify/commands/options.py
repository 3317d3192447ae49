"""Options that several commands have."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_run(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Add a command that works on one run.

    Parameters
    ----------
    commands : argparse subparsers
    function : callable
        Takes the arguments and gives the exit code.
    summary : str
        One line of help.
    """
    command = commands.add_parser(name, help=summary)
    command.add_argument("run", type=Path, help="runs/NAME, or the feature file in it")
    command.set_defaults(command=function)
    return command


def add_data(command: argparse.ArgumentParser) -> None:
    """Add where the images are, for those that were moved."""
    command.add_argument("--data", help="folder or URL of images, if they were moved")


def add_weights(command: argparse.ArgumentParser) -> None:
    """Add the backbone's weights, for where they were moved."""
    command.add_argument("--weights", help="the backbone's weights, if they were moved")


def add_head(command: argparse.ArgumentParser) -> None:
    """Add what is to classify."""
    command.add_argument("--head", help="a trained head or 'finetuned' (default: the best on val)")
