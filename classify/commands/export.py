"""``python -m headbench.classify export``."""

import argparse
from pathlib import Path

from headbench.classify.commands.options import Commands, add_run, add_shared
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.export_model import export_model
from headbench.classify.run import Run


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_run(commands, "export", export, "a model that runs without headbench")
    command.add_argument(
        "--head",
        help="a trained head or 'finetuned' (default: the exportable head with the best validation "
        "accuracy)",
    )
    add_shared(command, "weights", "data")
    command.add_argument("--out", type=Path, help="folder to write (default runs/NAME/export/HEAD)")
    command.add_argument(
        "--formats", nargs="+", choices=FORMATS, help="default: all that can be written"
    )


def export(arguments: argparse.Namespace) -> int:
    """Export."""
    export_model(
        Run(arguments.run),
        arguments.head,
        arguments.weights,
        arguments.data,
        arguments.out,
        arguments.formats,
    )
    return 0
