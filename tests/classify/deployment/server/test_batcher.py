import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from classify.deployment.server.batcher import Batcher


class Gate:
    """Work that does not end before it is let through."""

    def __init__(self) -> None:
        self.started, self.is_open = threading.Semaphore(0), threading.Event()

    def __call__(self, items: tuple[int, ...]) -> list[int]:
        self.started.release()
        self.is_open.wait()
        if 13 in items:
            raise ValueError("13")
        return [10 * each for each in items]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.is_open.set()


def test_what_comes_alone_is_taken_alone_and_at_once(gate: Gate) -> None:
    gate.is_open.set()
    batcher = Batcher(gate, n_streams=2, max_batch=8)
    assert [batcher.submit(number).result() for number in range(3)] == [0, 10, 20]
    batcher.close()
    assert batcher.sizes == Counter({1: 3})


@pytest.mark.parametrize(("max_batch", "sizes"), [(8, {1: 1, 5: 1}), (2, {1: 2, 2: 2})])
def test_what_comes_while_the_network_is_busy_goes_together(
    gate: Gate, max_batch: int, sizes: dict[int, int]
) -> None:
    batcher = Batcher(gate, n_streams=1, max_batch=max_batch)
    first = batcher.submit(0)
    gate.started.acquire()
    others = [batcher.submit(number) for number in range(1, 6)]
    gate.is_open.set()
    assert [first.result(), *(each.result() for each in others)] == [0, 10, 20, 30, 40, 50]
    batcher.close()
    assert batcher.sizes == sizes


def test_a_batch_that_fails_says_so_and_the_next_is_done(gate: Gate) -> None:
    gate.is_open.set()
    batcher = Batcher(gate, n_streams=1, max_batch=8)
    with pytest.raises(ValueError, match="13"):
        batcher.submit(13).result()
    assert batcher.submit(2).result() == 20
    batcher.close()


def test_what_is_cancelled_while_it_waits_is_left_out(gate: Gate) -> None:
    batcher = Batcher(gate, n_streams=1, max_batch=8)
    batcher.submit(0)
    gate.started.acquire()
    unwanted, wanted = batcher.submit(13), batcher.submit(2)
    assert unwanted.cancel()
    gate.is_open.set()
    assert wanted.result() == 20
    batcher.close()


def test_closing_finishes_what_is_at_work_and_cancels_the_rest(gate: Gate) -> None:
    batcher = Batcher(gate, n_streams=1, max_batch=8)
    first = batcher.submit(1)
    gate.started.acquire()
    second = batcher.submit(2)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not second.cancelled():
        pass
    gate.is_open.set()
    closing.join()
    assert first.result() == 10
    assert batcher.submit(3).cancelled()
