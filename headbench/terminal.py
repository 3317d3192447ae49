"""How every command talks and ends: lines in the terminal, then 0, or one clear line and 2."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from tqdm import tqdm

from headbench.cache.errors import HeadbenchError
from headbench.cache.progress import showing_progress

BAD_INPUT = 2
INTERRUPTED = 130
OWN_FILES = "A file that came from elsewhere may claim more than it holds: make it again."
# What a terminal obeys and does not show: control characters (except ends of lines and tabs), marks
# that turn the direction of text; and halves of characters, which cannot be written at all.
UNSHOWN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def say(text: str, end: str = "\n", *, is_stderr: bool = False) -> None:
    r"""Write text above the progress bar, unbuffered: a program may wait for it on a pipe.

    What a terminal obeys, in the name of a file or a class, is written as in JSON: ``\u001b``; and
    so are letters that the encoding of the output lacks, as that of a pipe on Windows may.
    """
    stream = sys.stderr if is_stderr else sys.stdout
    encoding = stream.encoding or "utf-8"
    shown = UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    shown = shown.encode(encoding, "backslashreplace").decode(encoding)
    tqdm.write(shown, file=stream, end=end)
    stream.flush()


class _Terminal(logging.Handler):
    """Writes what is logged, a line each."""

    is_stderr = False

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), is_stderr=self.is_stderr)


@contextmanager
def logging_to_terminal() -> Iterator[None]:
    """Show what headbench logs inside; elsewhere, such as in a notebook, it is silent.

    Here alone: a library that gives the root logger a handler would show each line once more.
    """
    logger, terminal = logging.getLogger("headbench"), _Terminal()
    before, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(terminal)
    try:
        yield
    finally:
        logger.removeHandler(terminal)
        logger.setLevel(before)
        logger.propagate = True


@contextmanager
def lines_on_stderr() -> Iterator[None]:
    """Leave standard output to what a command was asked for, so that it can be piped on."""
    terminals = [
        each for each in logging.getLogger("headbench").handlers if isinstance(each, _Terminal)
    ]
    for each in terminals:
        each.is_stderr = True
    try:
        yield
    finally:
        for each in terminals:
            each.is_stderr = False


def exit_on_sigterm() -> None:
    """From now on SIGTERM ends the process at once, with exit code 0: a server that loads.

    An exception would be lost or become another one where a module is being imported.
    """
    signal.signal(signal.SIGTERM, _exit)


def _exit(*_: object) -> NoReturn:
    with suppress(OSError):  # nobody may listen any more
        os.write(1, b"stopped\n")
    os._exit(0)


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command and turn what the user can fix into one line on stderr.

    Returns the exit code: that of `main`, 2 for bad input, 130 after Ctrl-C. Without `argv`, the
    arguments are those of the process.
    """
    try:
        with logging_to_terminal(), showing_progress():
            return main(argv)
    except HeadbenchError as error:
        say(f"error: {error}", is_stderr=True)
        return BAD_INPUT
    except BrokenPipeError:
        # `... | head` closed our output: there is nobody left to tell. Python flushes once more at
        # exit and would complain then, so its output goes nowhere from here on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror or error}", is_stderr=True)
        return BAD_INPUT
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        say(
            f"error: not enough memory{reason}. Close other programs, or use a machine with more. "
            f"{OWN_FILES}",
            is_stderr=True,
        )
        return BAD_INPUT
    except RecursionError:
        say(f"error: something is nested too deeply to be read. {OWN_FILES}", is_stderr=True)
        return BAD_INPUT
    except KeyboardInterrupt:
        say("\nstopped; what was finished is kept", is_stderr=True)
        return INTERRUPTED
