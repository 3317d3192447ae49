"""``headbench similar``."""

import argparse
from pathlib import Path

from headbench.classify.deployment import N_SIMILAR
from headbench.commands.options import (
    add_run,
    add_runtime_options,
    add_shared,
    at_least,
    runtime_of,
)
from headbench.terminal import lines_on_stderr, say

SPLITS = ("train", "val", "test", "unlabelled")
UNUSABLE_FILES = 1


def add_similar(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    asked = command.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="find images like these: files, folders, patterns, names of runs",
    )
    asked.add_argument(
        "--row",
        nargs="+",
        metavar="ROW",
        help="find images like these of the feature file: their rows, or their paths in it",
    )
    asked.add_argument(
        "--pairs",
        nargs="?",
        type=similarity,
        const=True,
        metavar="S",
        help="find all pairs of images whose cosine similarity is at least S, 0 to 1 (default: "
        "that of near-duplicates, as in the report)",
    )
    command.add_argument(
        "--k",
        type=at_least(1),
        default=N_SIMILAR,
        metavar="N",
        help=f"images for each (default: {N_SIMILAR})",
    )
    command.add_argument("--split", choices=SPLITS, help="search in this split (default: all)")
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="(default: table)"
    )
    command.add_argument(
        "--out", type=Path, metavar="PAGE", help="also write a page of thumbnails, such as a.html"
    )
    add_shared(command, "data", "weights")
    add_runtime_options(command)


@lines_on_stderr()
def similar(arguments: argparse.Namespace) -> int:
    """Print similar images; 1 if a file could not be used."""
    from headbench.classify.checked import json_text
    from headbench.classify.deployment.similar_images import as_json, as_text
    from headbench.notebook import Run

    found = Run(arguments.run).similar(
        arguments.images or (),
        rows=arguments.row or (),
        pairs=arguments.pairs or False,
        k=arguments.k,
        split=arguments.split,
        out=arguments.out,
        data=arguments.data,
        weights=arguments.weights,
        **runtime_of(arguments),
    )
    if arguments.format == "json":
        say(json_text([as_json(each) for each in found]))
    else:
        for each in found:
            say(as_text(each))
    return UNUSABLE_FILES if any(each.error for each in found) else 0


def similarity(text: str) -> float:
    """Type of an option: a cosine similarity above 0 and up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 1, found {text!r}")
    return value
