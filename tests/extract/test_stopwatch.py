import threading
import time

from headbench.extract.stopwatch import Stopwatch


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
