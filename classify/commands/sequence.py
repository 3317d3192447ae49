"""Several commands one after the other, each shown as a user would type it."""

import shlex
from collections.abc import Callable, Iterable, Sequence

from headbench.extract import __main__ as extract_command

Command = Callable[[Sequence[str]], int]


def run_commands(
    commands: Iterable[tuple[str, list[str]]], classify: Command, say: Callable[[str], None]
) -> None:
    """Run commands of stages one to three.

    Parameters
    ----------
    commands : iterable of (str, list of str)
        ``extract`` or ``classify``, and its arguments.
    classify : callable
        The command line of stages two and three.
    say : callable
        Told each command, before it runs.
    """
    known = {"extract": extract_command.main, "classify": classify}
    for package, arguments in commands:
        say(f"\n$ python -m {package} {shlex.join(arguments)}")
        known[package](arguments)
