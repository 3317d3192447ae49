import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from tqdm import tqdm
from tqdm.auto import tqdm as notebook_tqdm

from headbench.cache import progress as module
from headbench.cache.progress import Progress, part_of, showing_progress


class Terminal(io.StringIO):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(sys, "stderr", self)

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """What is seen after all that was written; lines that are empty are left out."""
        lines, row, column = [""], 0, 0
        for code, text in re.findall("(\x1b\\[A|[\r\n])|([^\x1b\r\n]+)", self.getvalue()):
            if text:
                kept = lines[row].ljust(column)
                lines[row] = kept[:column] + text + kept[column + len(text) :]
                column += len(text)
            else:
                row += {"\n": 1, "\x1b[A": -1}.get(code, 0)
                column = 0 if code in "\r\n" else column
                lines += [""] * (row + 1 - len(lines))
        return [line.strip() for line in lines if line.strip()]


@pytest.fixture(autouse=True)
def is_shown() -> Iterator[None]:
    with showing_progress():
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("n_total", "line"),
    [
        (1000, "extract: 250 of 1000 images, 30.00 images/s, 00:25 left, 1 rejected\n"),
        (None, "extract: 250 images so far, 30.00 images/s, 1 rejected\n"),
    ],
)
def test_plain_lines_where_there_is_no_terminal(
    clock: list[float], n_total: int | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("extract", n_total) as progress:
        clock[0] += 12  # loading the network: not a matter of speed
        progress.update(100)
        progress.reject()
        clock[0] += 1
        assert capsys.readouterr().err == ""
        clock[0] += 4
        progress.update(149)
        assert capsys.readouterr().err == line
        clock[0] += 9
        progress.update(250)
        tqdm.write("a note", file=sys.stderr)
        with Progress("inside", 100) as inside:
            inside.update(1)
            clock[0] += 11
            inside.update(49)
            assert capsys.readouterr().err == (
                "a note\ninside: 50 of 100 images, 4.45 images/s, 00:11 left\n"
            )
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (4, "extract: 300 images in 12.0 s, 50.0 images/s"),
        (0.001, "extract: 300 images in 8.0 s"),
    ],
)
def test_the_summary_tells_all_seconds_and_the_speed_once_it_ran(
    clock: list[float], seconds: float, said: str
) -> None:
    progress = Progress("extract", 300)
    clock[0] += 8
    progress.update(100)
    clock[0] += seconds
    progress.update(200)
    assert progress.summary() == said


def test_of_images_that_are_only_read_all_seconds_count(clock: list[float]) -> None:
    progress = Progress("extract", 24)
    clock[0] += 2  # they are read ahead, and told at once
    for _ in range(24):
        progress.reread()
        clock[0] += 1e-5
    assert progress.summary() == "extract: 24 images in 2.0 s, 12.0 images/s"


def test_a_bar_in_a_terminal_is_there_at_once_and_gone_at_the_end(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch)
    with part_of("logreg"), Progress("fit", 11, "values of C") as progress:
        [line] = terminal.screen()
        assert re.fullmatch(r"logreg fit: .+ 0 of 11 values of C", line)
        for _ in range(4):
            clock[0] += 2
            progress.update()
        [line] = terminal.screen()
        assert re.fullmatch(r"logreg fit: .+ 4 of 11 values of C, 00:14 left", line)
    assert terminal.screen() == []


def test_speed_is_shown_once_it_is_known(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch)
    with Progress("read", 30) as progress:
        for seconds in (9, 2):
            assert terminal.screen()[0].endswith(" of 30 images")
            clock[0] += seconds
            progress.update(10)
        assert terminal.screen()[0].endswith(" 20 of 30 images,  5.00 images/s, 00:02 left")


def test_bars_inside_each_other_and_lines_between_them_leave_only_the_lines(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch)
    for seconds in (0.01, 3):
        with Progress("fit", 2, "epochs") as outer:
            clock[0] += seconds
            outer.update()
            tqdm.write("a note", file=sys.stderr)
            with Progress("predict", 9) as inner:
                clock[0] += seconds
                inner.update(4)
                tqdm.write("another", file=sys.stderr)
    assert terminal.screen() == 2 * ["a note", "another"]


def test_more_may_be_done_than_was_expected(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch)
    with Progress("fit", 2, "epochs") as progress:
        for _ in range(3):
            clock[0] += 2
            progress.update()
        assert "3 of 3 epochs" in terminal.screen()[0]
        progress.expect(8)
        clock[0] += 2
        progress.counting(lambda: None)()
        assert "4 of 8 epochs, 00:08 left" in terminal.screen()[0]


def test_nothing_to_do_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    with Progress("read", 0):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_nobody_asked(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch)

    def work() -> None:
        with Progress("fit", 10, "rounds") as progress:
            clock[0] += 20
            progress.update()
            clock[0] += 20
            progress.reject()
        assert progress.summary() == "fit: 2 images in 40.0 s, 0.1 images/s"

    with showing_progress(False):
        work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert terminal.getvalue() == ""
    work()
    assert terminal.getvalue() != ""


def test_a_notebook_gets_its_own_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", threading)
    with Progress("fit", 2, "epochs") as progress:
        assert type(progress._bar) is notebook_tqdm


WITHOUT_WIDGETS = """
import sys, IPython
sys.modules |= {name: sys for name in ("ipykernel", "ipykernel.zmqshell")} | {"ipywidgets": None}
from headbench.cache.progress import Progress, showing_progress
with showing_progress(), Progress("fit", 2, "epochs") as progress:
    print(type(progress._bar).__module__)
"""


def test_a_notebook_without_widgets_gets_bars_of_text_and_no_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_WIDGETS], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("tqdm.")
    assert "notebook" not in done.stdout
    assert done.stderr.strip() == ""
