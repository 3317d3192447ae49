"""``headbench export``."""

import argparse

from headbench.commands.options import add_run, add_shared


def add_export(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    command.add_argument(
        "--head",
        help="a trained head or 'finetuned' (default: the exportable head with the best balanced "
        "accuracy on val)",
    )
    command.add_argument(
        "--formats",
        nargs="+",
        default=[],
        metavar="FORMAT",
        help="saved_model, keras, onnx (default: all that can be written)",
    )
    command.add_argument(
        "--out", metavar="FOLDER", help="folder to write (default: runs/NAME/export/HEAD)"
    )
    add_shared(command, "weights", "data")


def export(arguments: argparse.Namespace) -> int:
    """Export."""
    from headbench.notebook import Run

    Run(arguments.run).export(
        arguments.head,
        *arguments.formats,
        out=arguments.out,
        weights=arguments.weights,
        data=arguments.data,
    )
    return 0
