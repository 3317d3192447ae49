"""``python -m headbench.classify report|open|compare``."""

import argparse
from pathlib import Path

from headbench.cache import cli
from headbench.classify.commands.options import Commands, add_run, add_shared
from headbench.classify.report.table import as_text
from headbench.classify.report.versus import as_text as versus_as_text
from headbench.classify.report.versus import compare_runs, write_page
from headbench.classify.report.write import PAGE, open_report, write_report
from headbench.classify.run import Run


def add(commands: Commands) -> None:
    """Add the commands."""
    command = add_run(commands, "report", report, "measure every trained head and write the report")
    command.add_argument(
        "--head", help="head whose mistakes are shown (default: the best balanced accuracy on val)"
    )
    add_shared(command, "data")
    add_run(commands, "open", show, "show the report in the browser")
    command = commands.add_parser("compare", help="compare two runs head by head")
    command.add_argument("runs", type=Path, nargs=2, metavar="RUN", help="runs/NAME")
    command.set_defaults(command=compare)


def report(arguments: argparse.Namespace) -> int:
    """Write the report and print its table."""
    run = Run(arguments.run)
    results = write_report(run, arguments.head, arguments.data, arguments.line)
    cli.say(as_text(results))
    cli.say(f"\n{run.report_folder}: {PAGE}, results.md, results.json")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show the report in the browser."""
    open_report(Run(arguments.run))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Compare two runs."""
    first, second = map(Run, arguments.runs)
    versus = compare_runs(first, second)
    cli.say(versus_as_text(versus))
    cli.say(f"\n{write_page(versus, first.report_folder)}")
    return 0
