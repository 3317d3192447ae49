"""``headbench export``."""

import argparse

from headbench.classify.export import MAX_LOSS
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
        help="saved_model, keras, onnx (default: these, if they can be written), onnx-int8, "
        "tflite, tflite-float16, tflite-int8",
    )
    command.add_argument(
        "--max-loss",
        type=_points,
        default=MAX_LOSS,
        metavar="POINTS",
        help="accuracy that a float16 or int8 file may lose against predict, in points (default: "
        f"{MAX_LOSS:g})",
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
        max_loss=arguments.max_loss,
    )
    return 0


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected points from 0 to 100, found {text!r}")
    return value
