"""Several commands one after the other, each shown as a user would type it."""

import logging
import shlex
from collections.abc import Callable, Iterable, Sequence

from headbench.extract import __main__ as extract_command

LOG = logging.getLogger(__name__)

Command = Callable[[Sequence[str]], int]


def run_commands(commands: Iterable[tuple[str, list[str]]], classify: Command) -> None:
    """Run commands of stages one to three.

    Parameters
    ----------
    commands : iterable of (str, list of str)
        ``extract`` or ``classify``, and its arguments.
    classify : callable
        The command line of stages two and three.
    """
    known = {"extract": extract_command.main, "classify": classify}
    for package, arguments in commands:
        LOG.info(f"\n$ python -m headbench.{package} {shlex.join(arguments)}")
        known[package](arguments)
