"""Connections whose headers do not come in time, or come slowly."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from classify.run import Run
from tests.classify.deployment.server.client import HOST, Client, reply_of, serving

SECONDS = 1.0
HEALTH = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def hasty(served_run: Run) -> Iterator[Client]:
    with serving(served_run, timeout_seconds=SECONDS) as client:
        yield client


@pytest.fixture
def connection(hasty: Client) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, hasty.port), timeout=20) as connection:
        yield connection


def seconds_to_end(connection: socket.socket) -> float:
    started = time.monotonic()
    assert connection.recv(1000) == b""
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", HEALTH[:20], HEALTH[:-2]])
def test_a_connection_whose_headers_do_not_end_is_closed(
    connection: socket.socket, sent: bytes
) -> None:
    connection.sendall(sent)
    assert SECONDS / 2 < seconds_to_end(connection) < 10 * SECONDS


def test_a_byte_now_and_then_gains_no_time(connection: socket.socket) -> None:
    started = time.monotonic()
    with suppress(ConnectionError):
        for byte in HEALTH:
            connection.sendall(bytes([byte]))
            time.sleep(0.3)
    assert time.monotonic() - started < 10 * SECONDS


def test_a_later_request_on_the_same_connection_has_as_long(connection: socket.socket) -> None:
    connection.sendall(HEALTH)
    assert reply_of(connection)[0] == 200
    # Not closed by the deadline of the first one.
    time.sleep(1.5 * SECONDS)
    connection.sendall(HEALTH[:20])
    time.sleep(SECONDS / 2)
    connection.sendall(HEALTH[20:])
    assert reply_of(connection)[0] == 200
    connection.sendall(HEALTH[:20])
    assert SECONDS / 2 < seconds_to_end(connection) < 4 * SECONDS
