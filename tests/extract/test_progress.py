import io
import sys
import threading
import time

import pytest
from tqdm import tqdm

from headbench.extract import progress as module
from headbench.extract.progress import Progress, Stopwatch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
        clock[0] += 5
        assert capsys.readouterr().err == ""
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


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(module, "BRIEF_SECONDS", 0)
    with Progress("extract", 10) as progress:
        progress.update(4)
        progress.reject()
        progress._bar.refresh()
    shown = sys.stderr.getvalue()
    assert "5/10" in shown
    assert "1 rejected" in shown
    assert "\r" in shown


def test_nothing_to_do_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("read", 0):
        pass
    assert sys.stderr.getvalue() == ""


def test_two_threads_at_once_count_once() -> None:
    stopwatch = Stopwatch()

    def work() -> None:
        with stopwatch.measure("network"):
            time.sleep(0.2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.2 <= stopwatch._seconds["network"] < 0.7


def test_stages_add_up_and_the_longest_is_the_bottleneck() -> None:
    stopwatch = Stopwatch()
    for stage, seconds in (("read", 0.01), ("decode", 0.06), ("read", 0.01)):
        with stopwatch.measure(stage):
            time.sleep(seconds)
    assert str(stopwatch).startswith("read 0.0 s, decode 0.1 s; the bottleneck is decode")


def test_an_error_inside_is_counted_and_passes() -> None:
    stopwatch = Stopwatch()
    try:
        with stopwatch.measure("read"):
            raise OSError
    except OSError:
        pass
    assert stopwatch._n_working["read"] == 0
