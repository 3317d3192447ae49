"""How every headbench command ends: exit code 0, or one clear line and exit code 2."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from headbench.cache.errors import HeadbenchError

BAD_INPUT = 2
INTERRUPTED = 130


def at_least(smallest: int) -> Callable[[str], int]:
    """Type of a command-line option: a whole number from `smallest` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {smallest} on, found {text!r}"
            )
        return int(text)

    return parse


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command and turn what the user can mend into one line on stderr.

    Parameters
    ----------
    main : callable
        Takes the arguments, returns an exit code.
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        The exit code: that of `main`, 2 for bad input, 130 after Ctrl-C.
    """
    try:
        return main(argv)
    except HeadbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # `... | head` closed our output: there is nobody left to tell. Python flushes once more at
        # exit and would complain then, so its output goes nowhere from here on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept", file=sys.stderr)
        return INTERRUPTED
