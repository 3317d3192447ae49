"""The command as a user types it, in this process."""

from headbench import terminal
from headbench.command_line import main


def call(*arguments: object) -> int:
    """Run ``headbench`` with some arguments; returns the exit code."""
    try:
        return terminal.run(main, [str(argument) for argument in arguments])
    except SystemExit as end:  # argparse
        return int(end.code or 0)
