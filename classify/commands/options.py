"""Options that several commands have."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
# Name, type, default, meaning.
Option = tuple[str, Callable[[str], object], object, str]


def add_run(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Add a command that works on one run; `function` gives the exit code."""
    command = commands.add_parser(name, help=summary)
    command.add_argument("run", type=Path, help="runs/NAME, or the feature file in it")
    command.set_defaults(command=function)
    return command


_SHARED = {
    "data": "folder or URL of images, if they were moved",
    "weights": "the backbone's weights, if they were moved",
    "head": "a trained head or 'finetuned' (default: the best balanced accuracy on val)",
}


def add_shared(command: argparse.ArgumentParser, *names: str) -> None:
    """Add some of the options ``data``, ``weights`` and ``head``."""
    for name in names:
        command.add_argument(f"--{name}", help=_SHARED[name])


def add_defaults(command: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add options; the default of each is shown."""
    for name, kind, value, meaning in options:
        shown = f"{value:g}" if isinstance(value, float) else value
        text = f"{meaning} (default {shown})" if meaning else f"default {shown}"
        command.add_argument(name, type=kind, default=value, help=text)
