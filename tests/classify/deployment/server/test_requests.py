"""Requests that take too long, are too many, or are given up."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headbench.classify.run import Run
from tests.classify.deployment.server.client import raw_request, reply_of, serving


def test_a_body_that_does_not_come_ends_with_408(served_run: Run) -> None:
    with (
        serving(served_run, timeout=0.2) as client,
        raw_request(client, "Content-Length: 100") as connection,
    ):
        connection.sendall(b"\xff\xd8")
        status, answer = reply_of(connection)
    assert status == 408
    assert "did not arrive within 0.2 s" in answer["error"]


class Stopped:
    """An embedder that does not end before it is let through."""

    def __init__(self, engine: Any) -> None:
        self.n_streams, self.is_open = 1, threading.Event()
        self.started = threading.Semaphore(0)
        self._infer = engine._embedder.infer
        engine._embedder = self

    def infer(self, images: Any) -> Any:
        self.started.release()
        self.is_open.wait()
        return self._infer(images)


def test_a_network_that_does_not_answer_ends_with_503(served_run: Run, red: bytes) -> None:
    with serving(served_run, timeout=0.2) as client:
        stopped = Stopped(client.engine)
        reply = client.predict(red)
        stopped.is_open.set()
    assert reply.status == 503
    assert reply.headers["Retry-After".lower()] == "1"
    assert reply.json == {"error": "no answer within 0.2 s"}


def test_more_connections_than_are_allowed_are_sent_away(served_run: Run, red: bytes) -> None:
    with serving(served_run, max_connections=1) as client, ThreadPoolExecutor(1) as pool:
        stopped = Stopped(client.engine)
        first = pool.submit(client.predict, red)
        stopped.started.acquire()
        refused = [client.predict(red).status, client.ask("GET", "/similar/0").status]
        stopped.is_open.set()
        assert first.result().status == 200
        while client.predict(red).status != 200:
            pass
    assert refused == [503, 503]


def test_clients_that_go_away_leave_no_request_behind(served_run: Run, red: bytes) -> None:
    with serving(served_run, max_connections=2) as client:
        for _ in range(5):
            with raw_request(client, f"Content-Length: {len(red)}") as connection:
                connection.sendall(red[:10])
        while client.predict(red).status != 200:
            pass
