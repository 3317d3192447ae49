"""Wait until every worker has been started, before TensorFlow does.

TensorFlow waits too, but in a way that neither Ctrl-C nor SIGTERM ends (and nothing else did within
six minutes), and does not say for whom. Workers meet at the chief's address, which TensorFlow has
afterwards.
"""

import json
import socket
import time
from contextlib import ExitStack, suppress

from classify.finetuning.workers import Workers
from extract.errors import ClusterError

SECONDS_TO_START = 600.0
SECONDS_BETWEEN_CALLS = 0.5
# Whoever else comes to the port and says nothing is not waited for.
SECONDS_TO_SPEAK = 2.0
GO = b"go"


def meet(workers: Workers, seconds: float = SECONDS_TO_START) -> None:
    """Return when all are there, on each of them.

    Raises
    ------
    ClusterError
        If one is missing after that time, or the chief cannot listen at its address.
    """
    until = time.monotonic() + seconds
    if workers.is_chief:
        _receive(workers, until)
    else:
        _call(workers, until)


def _receive(workers: Workers, until: float) -> None:
    missing = {_hello(workers, index): index for index in range(1, workers.n_workers)}
    with ExitStack() as open_sockets:
        server = open_sockets.enter_context(_listen(workers))
        present = []
        while missing:
            server.settimeout(max(until - time.monotonic(), 1e-3))
            try:
                connection, _ = server.accept()
            except TimeoutError as error:
                names = map(workers.name, missing.values())
                raise _too_late(workers, " and ".join(names)) from error
            present.append(open_sockets.enter_context(connection))
            missing.pop(_line(connection), None)
        for each in present:
            with suppress(OSError):
                each.sendall(GO)


def _listen(workers: Workers) -> socket.socket:
    _, port = workers.host_and_port(workers.index)
    try:
        # At every address of the machine, as TensorFlow does: its name may stand for loopback.
        return socket.create_server(("", port))
    except OSError as error:
        raise ClusterError(
            f"{workers}: expected a free port, found {error.strerror}. Name another one in the "
            "TF_CONFIG of every worker, or end what uses it."
        ) from error


def _line(connection: socket.socket) -> bytes:
    connection.settimeout(SECONDS_TO_SPEAK)
    with suppress(OSError), connection.makefile("rb") as stream:
        return stream.readline(1 << 16)
    return b""


def _call(workers: Workers, until: float) -> None:
    while time.monotonic() < until:
        # Nobody there yet, or the chief was ended while it waited.
        with (
            suppress(OSError),
            socket.create_connection(workers.host_and_port(0), SECONDS_TO_SPEAK) as connection,
        ):
            connection.sendall(_hello(workers, workers.index))
            connection.settimeout(max(until - time.monotonic(), 1e-3))
            if connection.recv(len(GO)) == GO:
                return
        time.sleep(SECONDS_BETWEEN_CALLS)
    raise _too_late(workers, f"{workers.name(0)}, or the others there")


def _hello(workers: Workers, index: int) -> bytes:
    """Only workers of the same list know each other."""
    return json.dumps([index, workers.addresses]).encode() + b"\n"


def _too_late(workers: Workers, missing: str) -> ClusterError:
    return ClusterError(
        f"{workers}: did not find {missing}. Start the same command on every machine, with the "
        "same list of workers in TF_CONFIG, and let its port through."
    )
