"""``make bench-serve``: 8 clients at once, requests together against one by one."""

import argparse
import http.client
import itertools
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.benchmarks.results import ROOT, Result, in_turns, report

N_CLIENTS = 8
N_PHOTOS = 64
N_TURNS = 3
# One request in ten is one of these.
BAD_EVERY = 10
TOO_LARGE = "too large"


class Load(NamedTuple):
    """What the clients saw.

    Attributes
    ----------
    seconds : list of float
        Of each request that was answered well.
    codes : Counter of int
        How often each status came; 0 where the connection was closed.
    per_second : float
        Requests of every kind.
    """

    seconds: list[float]
    codes: Counter[int]
    per_second: float

    @property
    def median_ms(self) -> float:
        """Half of the requests took no longer."""
        return 1000 * statistics.median(self.seconds)

    @property
    def p95_ms(self) -> float:
        """Nineteen of twenty took no longer."""
        return 1000 * statistics.quantiles(self.seconds, n=20)[-1]


class Server(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/health")
        return json.loads(connection.getresponse().read())

    def peak_mb(self) -> float:
        """Largest resident memory so far."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / 1000

    def load(self, bodies: list[Any], n_clients: int, seconds: float) -> Load:
        """Clients that ask one request after the other."""
        loads: list[Load] = []
        ends = time.perf_counter() + seconds
        threads = [
            threading.Thread(
                target=lambda first=first: loads.append(self._ask(bodies, first, ends))
            )
            for first in range(0, len(bodies), max(1, len(bodies) // n_clients))[:n_clients]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = sum((each.codes for each in loads), Counter[int]())
        waited = [one for each in loads for one in each.seconds]
        return Load(waited, codes, codes.total() / seconds)

    def _ask(self, bodies: list[Any], first: int, ends: float) -> Load:
        codes: Counter[int] = Counter()
        waited: list[float] = []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for number in itertools.count(first):
            started = time.perf_counter()
            if started > ends:
                return Load(waited, codes, 0.0)
            code = _send(connection, bodies[number % len(bodies)])
            codes[code] += 1
            if code == http.HTTPStatus.OK:
                waited.append(time.perf_counter() - started)
        raise AssertionError("never reached")


def _send(connection: http.client.HTTPConnection, body: Any) -> int:
    headers = {"Content-Type": "image/jpeg"}
    if body is TOO_LARGE:
        headers["Content-Length"], body = str(10**9), b""
    try:
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        response.read()
        if body == b"":
            # The server would take the next request for the rest of this one's body.
            connection.close()
        return response.status
    except ConnectionError:
        connection.close()
        return 0


@contextmanager
def serving(arguments: argparse.Namespace, max_batch: int) -> Iterator[Server]:
    """A server of the run, started as a user does."""
    command = [sys.executable, "-m", "headbench.classify", "serve", arguments.run, "--port", "0"]
    options = {"weights": arguments.weights, "head": arguments.head, "data": arguments.data}
    for name, value in (options | {"max-batch": max_batch}).items():
        command += [f"--{name}", str(value)] if value else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = None
    while port is None:
        line = process.stdout.readline()
        assert line, "the server did not start"
        port = re.search(r"curl .*http://127\.0\.0\.1:(\d+)", line)
    try:
        yield Server(int(port[1]), process.pid)
    finally:
        process.terminate()
        process.communicate()


def photographs(arguments: argparse.Namespace) -> list[bytes]:
    """Some images of test."""
    with FeatureFile(Run(Path(arguments.run)).features_path) as features:
        root = Path(arguments.data or features.config.data["folder"])
        rows = features.rows("test")
        chosen = rows[:: max(1, len(rows) // N_PHOTOS)]
        return [(root / features.table.paths[row]).read_bytes() for row in chosen]


def with_bad_ones(photos: list[bytes]) -> list[Any]:
    """The same, and bad requests among them."""
    bad = itertools.cycle([b"text", photos[0][:2000], b"", TOO_LARGE])
    mixed: list[Any] = []
    for number, photo in enumerate(photos, start=1):
        mixed.append(photo)
        if number % (BAD_EVERY - 1) == 0:
            mixed.append(next(bad))
    return mixed


def main() -> None:
    """Run it; both servers stand side by side and are asked in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="runs/NAME")
    parser.add_argument("--weights")
    parser.add_argument("--head")
    parser.add_argument("--data")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    photos = photographs(arguments)
    mixed = with_bad_ones(photos)
    with serving(arguments, 16) as ours, serving(arguments, 1) as peer:
        for each in (ours, peer):
            each.load(photos, 1, 2.0)
        loads: dict[Server, list[Load]] = {ours: [], peer: []}
        for each, done in [*loads.items()] * N_TURNS:
            done.append(each.load(mixed, N_CLIENTS, arguments.seconds / N_TURNS))
        alone = in_turns(
            lambda: ours.load(photos, 1, 3.0).median_ms,
            lambda: peer.load(photos, 1, 3.0).median_ms,
            N_TURNS,
        )
        peaks = ours.peak_mb(), peer.peak_mb()
        sizes = ours.health()["batches"]
    for name, done in (("together", loads[ours]), ("one by one", loads[peer])):
        codes = sum((each.codes for each in done), Counter[int]())
        print(f"{name}: {codes.total()} requests, by status {dict(sorted(codes.items()))}")
    print(f"batches by size: {sizes}")
    report("serve", [*_results(loads[ours], loads[peer]), *_lone(alone, peaks)])


def _results(ours: list[Load], peer: list[Load]) -> list[Result]:
    def medians(figure: str) -> tuple[float, float]:
        return tuple(
            statistics.median(getattr(each, figure) for each in some) for some in (ours, peer)
        )

    rate = tuple(1000 / each for each in medians("per_second"))
    return [
        Result(f"{N_CLIENTS} clients, time for each request", "ms", *rate, "--max-batch 1"),
        Result(
            f"{N_CLIENTS} clients, median latency", "ms", *medians("median_ms"), "--max-batch 1"
        ),
        Result(f"{N_CLIENTS} clients, 95 % latency", "ms", *medians("p95_ms"), "--max-batch 1"),
    ]


def _lone(alone: tuple[float, float], peaks: tuple[float, float]) -> list[Result]:
    return [
        Result("a client alone, median latency", "ms", *alone, "--max-batch 1"),
        Result("peak memory", "MB", *peaks, "--max-batch 1"),
    ]


if __name__ == "__main__":
    main()
