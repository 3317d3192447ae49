"""``make bench-serve``: 8 clients at once, requests together against one by one."""

import argparse
import http.client
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.benchmarks.results import ROOT, Result, in_turns, report

N_CLIENTS = 8
N_PHOTOS = 64
N_TURNS = 3
# One request in ten is one of these.
BAD_EVERY = 10
TOO_LARGE, PEER = "too large", "--max-batch 1"


class Load(NamedTuple):
    """Status and seconds of each request; status 0 where the connection was closed."""

    answers: list[tuple[int, float]]
    seconds: float

    @property
    def waited_ms(self) -> list[float]:
        """Of each request that was answered well."""
        return [1000 * taken for code, taken in self.answers if code == http.HTTPStatus.OK]

    @property
    def median_ms(self) -> float:
        """Half of the requests took no longer."""
        return statistics.median(self.waited_ms)

    @property
    def p95_ms(self) -> float:
        """Nineteen of twenty took no longer."""
        return statistics.quantiles(self.waited_ms, n=20)[-1]

    @property
    def each_ms(self) -> float:
        """Time for each request of any kind."""
        return 1000 * self.seconds / len(self.answers)


class Server(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        with urlopen(f"http://127.0.0.1:{self.port}/health") as response:
            return json.loads(response.read())

    def peak_mb(self) -> float:
        """Largest resident memory so far."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / 1000

    def load(self, bodies: list[Any], n_clients: int, seconds: float) -> Load:
        """Clients that ask one request after the other."""
        ends = time.perf_counter() + seconds
        firsts = range(0, len(bodies), max(1, len(bodies) // n_clients))[:n_clients]
        with ThreadPoolExecutor(n_clients) as pool:
            found = pool.map(lambda first: list(self._ask(bodies, first, ends)), firsts)
        return Load(list(itertools.chain(*found)), seconds)

    def _ask(self, bodies: list[Any], first: int, ends: float) -> Iterator[tuple[int, float]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for number in itertools.count(first):
            started = time.perf_counter()
            if started > ends:
                return
            code = _send(connection, bodies[number % len(bodies)])
            yield code, time.perf_counter() - started


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
    command = [sys.executable, "-m", "headbench", "serve", arguments.run, "--port", "0"]
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
    each = BAD_EVERY - 1
    groups = (photos[start : start + each] for start in range(0, len(photos), each))
    return [body for group in groups for body in (*group, next(bad))]


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
        codes = Counter(code for each in done for code, _ in each.answers)
        print(f"{name}: {codes.total()} requests, by status {dict(sorted(codes.items()))}")
    print(f"batches by size: {sizes}")

    def medians(figure: str) -> Iterator[float]:
        for each in (ours, peer):
            yield statistics.median(getattr(load, figure) for load in loads[each])

    together = f"{N_CLIENTS} clients"
    results = [
        Result(f"{together}, time for each request", "ms", *medians("each_ms"), PEER),
        Result(f"{together}, median latency", "ms", *medians("median_ms"), PEER),
        Result(f"{together}, 95 % latency", "ms", *medians("p95_ms"), PEER),
        Result("a client alone, median latency", "ms", *alone, PEER),
        Result("peak memory", "MB", *peaks, PEER),
    ]
    report("serve", results)


if __name__ == "__main__":
    main()
