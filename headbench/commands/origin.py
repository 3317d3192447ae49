"""``headbench origin``, and the sequences of commands ``preset`` and ``demo``."""

import argparse
from dataclasses import fields
from pathlib import Path

from headbench.classify.origin.origin_settings import OriginSettings
from headbench.commands.options import Option, add_defaults, at_least
from headbench.recipes import PRESETS
from headbench.run_names import RUNS, name_of


def add_origin(command: argparse.ArgumentParser) -> None:
    """Add the options; their defaults are those of `OriginSettings`."""
    default = OriginSettings()
    command.add_argument("data", help="folder of images on this machine")
    command.add_argument("--out", type=Path, help="folder to write to (default: runs/NAME/origin)")
    size, batch = "height and width of its input", "images that batch statistics are computed on"
    options: list[Option] = [
        ("--backbone", str, default.backbone, "a network with BatchNormalization"),
        ("--weights", str, default.weights, "imagenet, random, or a path"),
        ("--size", at_least(1), default.size_px, size),
        ("--seed", at_least(0), default.seed, "of split, batches and new weights"),
        ("--head", str, default.head, "fitted to each extraction"),
        ("--epochs", at_least(1), default.epochs, "of the origin's own model"),
        ("--batch-size", at_least(2), default.batch_size, batch),
    ]
    add_defaults(command, options)
    command.add_argument(
        "--layer", default=default.layer, help="cut the network there (default: its last layer)"
    )


def origin(arguments: argparse.Namespace) -> int:
    """Show the failure, and write a page and JSON."""
    from headbench.classify.origin.origin_stage import show_origin

    given = vars(arguments) | {"size_px": arguments.size}
    settings = OriginSettings(**{each.name: given[each.name] for each in fields(OriginSettings)})
    folder = _folder(arguments.data)
    out = arguments.out or RUNS / name_of(str(folder)) / "origin"
    show_origin(folder, out, settings, arguments.line)
    return 0


def add_preset(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument("preset", choices=PRESETS, help="the recipe")
    command.add_argument("data", help="folder of images")
    command.add_argument(
        "--name", help="name of the run, a folder in runs/ (default: that of the images and recipe)"
    )
    command.add_argument(
        "--weights", default="imagenet", help="imagenet, random, or a path (default: imagenet)"
    )
    command.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="of everything (default: 0)"
    )
    command.add_argument("--epochs", type=at_least(0), metavar="N", help="of fine-tuning")


def preset(arguments: argparse.Namespace) -> int:
    """Run a recipe."""
    from headbench.recipes import preset_commands, run_commands

    name = arguments.name or f"{name_of(arguments.data)}-{arguments.preset}"
    choice = (arguments.weights, arguments.seed, arguments.epochs)
    run_commands(preset_commands(arguments.preset, arguments.data, name, *choice))
    return 0


def add_demo(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument("--name", default="demo", help="name of the run (default: demo)")


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    from headbench.demo import run_demo

    run_demo(arguments.name)
    return 0


def _folder(data: str) -> Path:
    from headbench.extract.errors import DataError
    from headbench.extract.sources.open import other_kind
    from headbench.extract.sources.urls import without_secrets

    if kind := other_kind(data):
        raise DataError(
            f"{without_secrets(data)}: expected a folder of images on this machine, not {kind}. "
            "Copy the images into one, a folder for each class, and name that."
        )
    return Path(data)
