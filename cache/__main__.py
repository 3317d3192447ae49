"""``python -m cache FILE``: whether a file of embeddings is whole."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cache import cli
from cache.verify import Inspection, inspect_file, repair_file

DAMAGED = 1
MOST_SAID = 20


def parser() -> argparse.ArgumentParser:
    """The command line of the check."""
    parser = argparse.ArgumentParser(
        prog="python -m cache",
        description="Check a file of embeddings: layout, checksums of every block, finite values, "
        "labels, splits and paths. Exit code 1 if it is damaged.",
    )
    parser.add_argument("file", type=Path, help="such as runs/NAME/features.h5")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="drop the damaged images; the next 'make features' extracts just those",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and repair if asked to; returns the exit code."""
    arguments = parser().parse_args(argv)
    found = (repair_file if arguments.repair else inspect_file)(arguments.file)
    print(_describe(found))
    for damage in found.damage[:MOST_SAID]:
        print(f"  {damage}")
    if len(found.damage) > MOST_SAID:
        print(f"  ... and {len(found.damage) - MOST_SAID} more")
    if not found.damage:
        return 0
    print(_advice(found, arguments.repair))
    return 0 if arguments.repair else DAMAGED


def _describe(found: Inspection) -> str:
    table = found.table
    verdict = "damaged" if found.damage else "whole: checksums, layout, values, labels, paths"
    return (
        f"{found.path}: {len(table.paths)} images, {len(table.classes)} classes, {found.dim} "
        f"columns in {table.config.store}, {len(table.rejected)} rejected; {found.n_blocks} blocks "
        f"of data\n{verdict}"
    )


def _advice(found: Inspection, is_repaired: bool) -> str:
    n_lost = int((~found.is_whole).sum())
    n_rejected_lost = int((~found.is_rejected_whole).sum())
    lost = f"{n_lost} of {len(found.is_whole)} images"
    if n_rejected_lost:
        lost += f" and {n_rejected_lost} entries of /rejected"
    if is_repaired:
        return f"repaired: {lost} dropped. The next 'make features' finds them and extracts them."
    return (
        f"{lost} are lost. --repair (make verify REPAIR=1) drops them, the others stay; the next "
        "'make features' extracts just those."
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
