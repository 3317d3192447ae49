"""``python -m classify train|report|open|compare|finetune|predict|serve|demo``."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cache import cli
from classify.commands import finetune, predict, report, serve, train
from classify.commands.options import Commands
from classify.demo import run_demo


def parser() -> argparse.ArgumentParser:
    """The command line of stages two and three."""
    parser = argparse.ArgumentParser(
        prog="python -m classify",
        description="Train and compare heads on cached embeddings, fine-tune, predict, serve.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in (train, report, finetune, predict, serve):
        each.add(commands)
    _add_demo(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(
        ["python", "-m", "classify", *(sys.argv[1:] if argv is None else argv)]
    )
    return int(arguments.command(arguments))


def _add_demo(commands: Commands) -> None:
    command = commands.add_parser("demo", help="all three stages on scikit-learn's digits")
    command.add_argument("run", type=Path, help="a folder to make, such as runs/demo")
    command.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    # The demo runs this very command line, which is why it is not a file beside the others.
    run_demo(arguments.run, main, tqdm.write)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
