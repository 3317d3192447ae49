"""Give crafted files to the commands: ``python -m tests.fuzz SECONDS FOLDER [SEED] [KIND ...]``.

In a process of its own, because a crash or a hang ends the process: FOLDER/example then holds what
it was given. Hypothesis shrinks what is found.
"""

import faulthandler
import io
import re
import resource
import secrets
import shutil
import signal
import socket
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from tests.extract.fuzz import try_examples
from tests.fuzz.crafted import KINDS, Command, make_base
from tests.headbench.command import call

HANG_SECONDS = 60
EXAMPLES = 10
MOST_BYTES = 10**9
# So that a fault here takes nothing from others on this machine.
MOST_ADDRESSES = 5 * 10**9
EXIT_CODES = (0, 1, 2)
# Also what JSON does not know, and controls of a terminal.
UNWANTED = re.compile(r"Traceback|\x1b|: (NaN|-?Infinity)\b")


def check(folder: Path, base: Path, kind: str, drawn: Any) -> None:
    """The commands end within seconds, in a line, and take less than 1 GB."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    commands = KINDS[kind].write(folder, drawn)
    # The alarm ends what waits in Python, and can be shrunk; the other ends all else.
    faulthandler.dump_traceback_later(2 * HANG_SECONDS, exit=True)
    signal.signal(signal.SIGALRM, _ring)
    signal.alarm(HANG_SECONDS)
    try:
        for command in commands:
            _check_command(command)
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


class HangError(BaseException):
    """A command took too long; no Exception, so that nothing takes it for one of its own."""


class ConnectionMadeError(BaseException):
    """A command opened a connection that nobody asked for."""


def _ring(*_: object) -> None:
    raise HangError(f"still running after {HANG_SECONDS} s")


def _check_command(command: Command) -> None:
    out = io.StringIO()
    # 5: the peak begins anew.
    Path("/proc/self/clear_refs").write_text("5")
    with redirect_stdout(out), redirect_stderr(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = call(*command)
    said = out.getvalue()
    assert code in EXIT_CODES, (code, said)
    assert not UNWANTED.search(said), said
    assert _peak_bytes() < MOST_BYTES, (_peak_bytes(), said)


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _connect(self: socket.socket, address: Any) -> None:  # noqa: ARG001, a socket's
    raise ConnectionMadeError(f"a command opened a connection to {address}")


def main() -> None:
    """Go on until the time is over, one kind after the other."""
    seconds, folder, *more = sys.argv[1:]
    numbers = [int(each) for each in more if each.isdecimal()]
    kinds = [each for each in more if each in KINDS] or list(KINDS)
    first = numbers[0] if numbers else secrets.randbits(32)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    base = Path(folder) / "base"
    make_base(base)
    socket.socket.connect = _connect  # type: ignore[method-assign, assignment]
    deadline, number, n_files = time.monotonic() + float(seconds), first, 0
    while time.monotonic() < deadline:
        for kind in kinds:
            try_one = partial(check, Path(folder) / "example", base, kind)
            n_files += try_examples(KINDS[kind].drawn, try_one, EXAMPLES, number)
        number += 1
    sys.stdout.write(f"{n_files} crafted files, seeds {first} to {number - 1}\n")


if __name__ == "__main__":
    main()
