"""``headbench report``, ``headbench open`` and ``headbench compare``."""

import argparse

from headbench.commands.options import add_run, add_shared
from headbench.terminal import say


def add_report(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    command.add_argument(
        "--head",
        help="head whose mistakes are shown (default: the best balanced accuracy on val)",
    )
    add_shared(command, "data", "weights")
    command.add_argument(
        "--explain",
        action="store_true",
        help="load the network, and show beside each mistake what in the picture spoke for the "
        "predicted class and for the true one; later reports show it too",
    )
    command.add_argument(
        "--brief", action="store_true", help="print the answer only; the page has the rest"
    )


def report(arguments: argparse.Namespace) -> int:
    """Write the report and print its table."""
    from headbench.notebook import Run

    run = Run(arguments.run, arguments.line)
    written = run.report(
        arguments.head, arguments.data, explain=arguments.explain, weights=arguments.weights
    )
    say(written.answer if arguments.brief else f"{written}\n")
    say(f"{written.folder}: index.html, results.md, results.json")
    return 0


add_open = add_run


def show(arguments: argparse.Namespace) -> int:
    """Show the report in the browser."""
    from headbench.notebook import Run

    Run(arguments.run).open()
    return 0


def add_compare(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument(
        "runs", nargs="+", metavar="RUN", help="names or folders of two runs or more"
    )


def compare(arguments: argparse.Namespace) -> int:
    """Compare runs."""
    from headbench.notebook import compare as compare_runs

    compared = compare_runs(*arguments.runs)
    say(str(compared))
    say(f"\n{compared.page}")
    return 0
