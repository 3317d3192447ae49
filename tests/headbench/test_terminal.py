import errno
import io
import json
import logging
import sys

import pytest

from headbench import terminal
from headbench.cache.errors import FeatureFileError


def raising(error: BaseException):
    def main(_argv: object) -> int:
        raise error

    return main


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert terminal.run(raising(FeatureFileError("a.h5: expected this, found that.")), []) == 2
    assert capsys.readouterr().err == "error: a.h5: expected this, found that.\n"


def test_a_full_disk_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "runs/x/features.h5")
    assert terminal.run(raising(error), []) == 2
    assert capsys.readouterr().err == "error: runs/x/features.h5: No space left on device\n"


def test_ctrl_c_says_that_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.run(raising(KeyboardInterrupt()), []) == 130
    assert "what was finished is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory. Close other programs"),
        (MemoryError("Unable to allocate 8.00 TiB"), "not enough memory (Unable to allocate 8"),
        (RecursionError("maximum recursion depth"), "something is nested too deeply"),
    ],
)
def test_what_is_too_large_or_too_deep_is_one_line_and_exit_code_2(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run(raising(error), []) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {words}")
    assert said.count("\n") == 1


def test_our_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        terminal.run(raising(ZeroDivisionError()), [])


OBEYED = [
    "\x1b]0;owned\a",
    "\x1b[2J",
    "\r",
    "\b",
    "\0",
    "\x7f",
    "\x9b2J",
    "\u202e",
    "\u2066",
    "\udc9b",
]


@pytest.mark.parametrize("obeyed", OBEYED, ids=ascii)
def test_nothing_that_a_terminal_obeys_reaches_it(
    obeyed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"pie{obeyed}.jpg"

    def main(_argv: object) -> int:
        logging.getLogger("headbench.any").info(f"{name}: not used")
        terminal.say(name)
        with terminal.lines_on_stderr():
            logging.getLogger("headbench.any").info(name)
        raise FeatureFileError(f"{name}: no")

    assert terminal.run(main, []) == 2
    assert terminal.run(raising(OSError(errno.ENOSPC, "No space", name)), []) == 2
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert obeyed[0] not in text
        assert f"\\u{ord(obeyed[0]):04x}" in text
    assert json.loads(f'"{said.out.splitlines()[1]}"') == name


def test_all_other_text_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "crème brûlée\t寿司 🍣 C:\\u001b\nמצה می‌خواهم"
    terminal.say(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_letters_that_the_output_cannot_hold_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a pipe on Windows, whose encoding has a few hundred letters."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", output)
    terminal.say("寿司 170 µs")
    assert output.buffer.getvalue().decode("cp1252") == r"\u5bff\u53f8 170 µs" + "\n"
