"""A web server on loopback for one file, which fails as it is told."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


@dataclass(frozen=True)
class Answer:
    """One answer, as it should be or not."""

    status: int = 200  # another one comes without any content
    n_sent: int | None = None  # bytes after which the connection breaks, or stalls
    stall_seconds: float = 0.0
    ignores_range: bool = False
    tells_length: bool = True
    wrong_offset: int = 0


class Asked(NamedTuple):
    """What a client asked for."""

    range: str | None
    if_range: str | None


@dataclass
class Site:
    """The file, what to answer next (then: all as it should be), and what was asked so far."""

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    @property
    def ranges(self) -> list[str | None]:
        return [each.range for each in self.asked]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        asked = Asked(self.headers["Range"], self.headers["If-Range"])
        site.asked.append(asked)
        answer = site.answers.popleft() if site.answers else Answer()
        if answer.status != 200:
            self.send_error(answer.status)
            return
        is_same = asked.if_range in (None, *site.headers.values())
        is_rest = asked.range is not None and is_same and not answer.ignores_range
        begin = int(asked.range.removeprefix("bytes=")[:-1]) if is_rest and asked.range else 0
        if begin >= len(site.content):
            self.send_error(416)
            return
        self.send_response(206 if is_rest else 200)
        if is_rest:
            n_total, begin = len(site.content), begin - answer.wrong_offset
            self.send_header("Content-Range", f"bytes {begin}-{n_total - 1}/{n_total}")
        for name, value in site.headers.items():
            self.send_header(name, value)
        if answer.tells_length:
            self.send_header("Content-Length", str(len(site.content) - begin))
        self.end_headers()
        end = None if answer.n_sent is None else begin + answer.n_sent
        self.wfile.write(site.content[begin:end])
        time.sleep(answer.stall_seconds)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[Site]:
    """Serve a file on a free port of loopback."""
    site = Site(content)
    handler = type("SiteHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        site.url = f"http://127.0.0.1:{server.server_port}/food-101.tar.gz"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
