"""``python -m headbench.classify`` and a command: train, report, finetune, predict, export, ..."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from headbench.cache import cli

# Before the imports below, which take a second.
if sys.argv[1:2] == ["serve"]:
    cli.exit_on_sigterm()

from headbench.classify.commands import (
    doctor,
    export,
    finetune,
    origin,
    predict,
    report,
    serve,
    train,
)
from headbench.classify.commands.options import Commands
from headbench.classify.demo import run_demo
from headbench.classify.presets import PRESETS, preset_commands, run_commands
from headbench.extract.networks.weights import IMAGENET


def parser() -> argparse.ArgumentParser:
    """The command line of stages two and three."""
    parser = argparse.ArgumentParser(
        prog="python -m headbench.classify",
        description="Train and compare heads on embeddings, fine-tune, predict, export, serve.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in (train, report, finetune, predict, export, serve, doctor, origin):
        each.add(commands)
    _add_sequences(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(
        ["python", "-m", "headbench.classify", *(sys.argv[1:] if argv is None else argv)]
    )
    return int(arguments.command(arguments))


# These run this very command line, which is why they are not in files beside the others.
def _add_sequences(commands: Commands) -> None:
    command = commands.add_parser("demo", help="all three stages on scikit-learn's digits")
    command.add_argument("run", type=Path, help="a folder to make, such as runs/demo")
    command.set_defaults(command=_demo)
    command = commands.add_parser("preset", help="one of the recipes that headbench came from")
    command.add_argument("name", choices=PRESETS)
    command.add_argument("data", help="folder of images")
    command.add_argument("run", help="a folder to make, such as runs/photos-origin")
    command.add_argument("--weights", default=IMAGENET, help="imagenet, random, or a path")
    command.add_argument("--seed", type=cli.at_least(0), default=0)
    command.add_argument("--epochs", type=cli.at_least(0), help="of fine-tuning")
    command.set_defaults(command=_preset)


def _demo(arguments: argparse.Namespace) -> int:
    run_demo(arguments.run, main)
    return 0


def _preset(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    names = ("name", "data", "run", "weights", "seed", "epochs")
    run_commands(preset_commands(**{name: given[name] for name in names}), main)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
