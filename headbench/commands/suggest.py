"""``headbench suggest``."""

import argparse
from pathlib import Path

from headbench.classify.deployment import N_SUGGESTED
from headbench.commands.options import add_run, add_shared, at_least
from headbench.terminal import lines_on_stderr, say

RULES = ("uncertainty", "cover", "both")
LIST = Path("to-label.csv")


def add_suggest(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    command.add_argument(
        "--from",
        dest="pool",
        required=True,
        metavar="RUN",
        help="the images to choose from: a run made with 'headbench features FOLDER --unlabelled', "
        "or that folder",
    )
    command.add_argument(
        "--n",
        type=at_least(1),
        default=N_SUGGESTED,
        metavar="N",
        help=f"images to choose (default: {N_SUGGESTED})",
    )
    command.add_argument(
        "--by",
        choices=RULES,
        default=RULES[0],
        help="uncertainty: where the head hesitates between two classes; cover: unlike every "
        f"labelled image; both: unlike, among the uncertain ones (default: {RULES[0]})",
    )
    add_shared(command, "head")
    command.add_argument(
        "--csv",
        type=Path,
        default=LIST,
        metavar="FILE",
        help="the list to fill in; a page of thumbnails is written beside it, with the ending "
        f".html (default: {LIST})",
    )
    command.add_argument(
        "--data", metavar="DATA", help="folder, list or URL of the images to choose from, if moved"
    )


@lines_on_stderr()
def suggest(arguments: argparse.Namespace) -> int:
    """Choose images to label, and say what to do with the list."""
    from headbench.notebook import Run

    run = Run(arguments.run)
    found = run.suggest(
        arguments.pool,
        arguments.n,
        by=arguments.by,
        head=arguments.head,
        csv=arguments.csv,
        data=arguments.data,
    )
    page = arguments.csv.with_suffix(".html")
    say(f"{len(found)} images to label: {arguments.csv}, with thumbnails in {page}")
    say(
        "Fill in the column label; rows that you leave empty are left out. Then: 'headbench "
        f"features {arguments.csv} --name {run}' with the options that {run} was made with."
    )
    return 0
