"""``python -m headbench.classify origin``."""

import argparse
from dataclasses import fields
from pathlib import Path

from headbench.cache import cli
from headbench.classify.commands.options import Commands, Option, add_defaults
from headbench.classify.origin.origin_images import OriginSettings
from headbench.classify.origin.origin_stage import show_origin
from headbench.extract.errors import DataError
from headbench.extract.sources.open import other_kind
from headbench.extract.sources.urls import without_secrets


def add(commands: Commands) -> None:
    """Add the command."""
    default = OriginSettings()
    command = commands.add_parser(
        "origin", help="the failure that headbench came from, and its cause, on your images"
    )
    command.add_argument("data", help="folder of images on this machine")
    command.add_argument("--out", type=Path, help="folder to write to (default runs/NAME/origin)")
    size, batch = "height and width of its input", "images that batch statistics are computed on"
    options: list[Option] = [
        ("--backbone", str, default.backbone, "a network with BatchNormalization"),
        ("--weights", str, default.weights, "imagenet, random, or a path"),
        ("--size", cli.at_least(1), default.size_px, size),
        ("--seed", cli.at_least(0), default.seed, "of split, batches and new weights"),
        ("--head", str, default.head, "fitted to each extraction"),
        ("--epochs", cli.at_least(1), default.epochs, "of the origin's own model"),
        ("--batch-size", cli.at_least(2), default.batch_size, batch),
    ]
    add_defaults(command, options)
    command.set_defaults(command=origin)


def origin(arguments: argparse.Namespace) -> int:
    """Show the failure, and write a page and JSON."""
    given = vars(arguments) | {"size_px": arguments.size}
    settings = OriginSettings(**{each.name: given[each.name] for each in fields(OriginSettings)})
    folder = _folder(arguments.data)
    out = arguments.out or Path("runs") / folder.resolve().name / "origin"
    show_origin(folder, out, settings, arguments.line)
    return 0


def _folder(data: str) -> Path:
    if kind := other_kind(data):
        raise DataError(
            f"{without_secrets(data)}: expected a folder of images on this machine, not {kind}. "
            "Copy the images into one, a folder for each class, and name that."
        )
    return Path(data)
