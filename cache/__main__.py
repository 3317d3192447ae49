"""``python -m headbench.cache FILE``: whether a file of embeddings is whole."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from headbench.cache import cli
from headbench.cache.verify import Inspection, inspect_file, repair_file

DAMAGED = 1
MOST_SAID = 20
MARKED = (
    "marked as open for writing. Close the file in the program that has it open; if none has, "
    "--repair (make verify REPAIR=1) removes the mark."
)
MARK_REMOVED = "the mark that it is open for writing is removed"


def parser() -> argparse.ArgumentParser:
    """The command line of the check."""
    parser = argparse.ArgumentParser(
        prog="python -m headbench.cache",
        description="Check a file of embeddings: layout, checksums of every block, finite values, "
        "labels, splits and paths. Exit code 1 if it is damaged.",
    )
    parser.add_argument("file", type=Path, help="such as runs/NAME/features.h5")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--repair",
        action="store_true",
        help="drop the damaged images; the next 'make features' extracts just those. Also remove "
        "the mark that a killed program had the file open for writing",
    )
    extent.add_argument(
        "--sample",
        type=cli.at_least(1),
        metavar="N",
        help="check N random blocks of each dataset (all)",
    )
    parser.add_argument(
        "--seed", type=cli.at_least(0), default=0, help="of the sample (%(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and repair if asked to; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.repair:
        found = repair_file(arguments.file)
    else:
        found = inspect_file(arguments.file, arguments.sample, arguments.seed)
    cli.say(_describe(found))
    for damage in found.damage[:MOST_SAID]:
        cli.say(f"  {damage}")
    if len(found.damage) > MOST_SAID:
        cli.say(f"  ... and {len(found.damage) - MOST_SAID} more")
    if found.is_marked:
        cli.say(MARK_REMOVED if arguments.repair else MARKED)
    if not found.damage:
        return 0
    cli.say(_advice(found, arguments.repair))
    return 0 if arguments.repair else DAMAGED


def _describe(found: Inspection) -> str:
    return (
        f"{found.path}: {len(found.is_whole)} images, {found.n_classes} classes, {found.dim} "
        f"columns in {found.store}, {len(found.is_rejected_whole)} rejected; "
        f"{found.n_blocks_there} blocks of data\n{_verdict(found)}"
    )


def _verdict(found: Inspection) -> str:
    if found.is_sample:
        share = f"a sample of {found.n_blocks} blocks ({found.n_blocks / found.n_blocks_there:.2%})"
        verdict = "damaged" if found.damage else "no damage"
        return (
            f"{verdict}, in {share}; the others were not read, nor was it looked whether a path is "
            "there twice"
        )
    return "damaged" if found.damage else "whole: checksums, layout, values, labels, paths"


def _advice(found: Inspection, is_repaired: bool) -> str:
    n_lost = int((~found.is_whole).sum())
    n_rejected_lost = int((~found.is_rejected_whole).sum())
    lost = f"{n_lost} of {len(found.is_whole)} images"
    if n_rejected_lost:
        lost += f" and {n_rejected_lost} entries of /rejected"
    if is_repaired:
        return f"repaired: {lost} dropped. The next 'make features' finds them and extracts them."
    if found.is_sample:
        lost += ", and those that a full check finds,"
    return (
        f"{lost} are lost. --repair (make verify REPAIR=1) drops them, the others stay; the next "
        "'make features' extracts just those."
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
