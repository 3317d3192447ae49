"""Which images go through the network together."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import numpy as np
import pytest

from headbench.classify.deployment.server.serving_engine import Asked, ServingEngine

BAD = 13


def in_a_loop_of_its_own(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """In a thread: in this one a browser may have a loop that runs already."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, test(**fixtures)).result()

    return run


class Gate:
    """A classifier and its network, which does not end before it is let through."""

    n_streams = 1
    classes = ()

    def __init__(self) -> None:
        self.started, self.is_open = threading.Semaphore(0), threading.Event()
        self.network = self

    def open(self, *_: Any) -> "Gate":
        return self

    def infer(self, images: np.ndarray) -> np.ndarray:
        self.started.release()
        self.is_open.wait()
        if BAD in images:
            raise ValueError(str(BAD))
        return images

    def proba(self, outputs: np.ndarray) -> np.ndarray:
        return 10 * outputs


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.is_open.set()


def engine_of(gate: Gate, max_batch: int = 8, n_streams: int = 1) -> ServingEngine:
    gate.n_streams = n_streams
    is_open = gate.is_open.is_set()
    gate.is_open.set()
    engine = ServingEngine(gate, None, np.zeros(1), None, max_batch)  # type: ignore[arg-type]
    gate.started.acquire()
    if not is_open:
        gate.is_open.clear()
    return engine


async def ask(engine: ServingEngine, number: int) -> int:
    return int((await engine.classify(Asked(np.array(number), 0))).proba)


async def waiting(engine: ServingEngine, gate: Gate, *numbers: int) -> list[asyncio.Task[int]]:
    """The first is at work, the others wait."""
    first = asyncio.create_task(ask(engine, numbers[0]))
    await asyncio.to_thread(gate.started.acquire)
    others = [asyncio.create_task(ask(engine, number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    return [first, *others]


@in_a_loop_of_its_own
async def test_what_comes_alone_is_taken_alone_and_at_once(gate: Gate) -> None:
    gate.is_open.set()
    engine = engine_of(gate, n_streams=2)
    assert [await ask(engine, number) for number in range(3)] == [0, 10, 20]
    assert engine.batch_sizes == Counter({1: 3})


@pytest.mark.parametrize(("max_batch", "sizes"), [(8, {1: 1, 5: 1}), (2, {1: 2, 2: 2})])
@in_a_loop_of_its_own
async def test_what_comes_while_the_network_is_busy_goes_together(
    gate: Gate, max_batch: int, sizes: dict[int, int]
) -> None:
    engine = engine_of(gate, max_batch)
    tasks = await waiting(engine, gate, *range(6))
    gate.is_open.set()
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]
    assert engine.batch_sizes == sizes


@in_a_loop_of_its_own
async def test_a_batch_that_fails_says_so_and_the_next_is_done(gate: Gate) -> None:
    gate.is_open.set()
    engine = engine_of(gate)
    with pytest.raises(ValueError, match="13"):
        await ask(engine, BAD)
    assert await ask(engine, 2) == 20


@in_a_loop_of_its_own
async def test_what_is_cancelled_while_it_waits_is_left_out(gate: Gate) -> None:
    engine = engine_of(gate)
    first, unwanted, wanted = await waiting(engine, gate, 0, BAD, 2)
    unwanted.cancel()
    await asyncio.sleep(0)
    gate.is_open.set()
    assert [await first, await wanted] == [0, 20]
