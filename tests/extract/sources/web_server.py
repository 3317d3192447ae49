"""A web server on loopback for the files of a folder."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

MEGABYTE = 1_000_000
# As much as a server sends that would go on for ever: enough to tell that nobody stopped it.
WITHOUT_END = 64 * MEGABYTE


class Files(SimpleHTTPRequestHandler):
    """Python's own; in place of a log, the paths that were read."""

    read: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Send a file."""
        self.read.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Endless(Files):
    """Sends bodies that are far longer than anything read here."""

    n_sent = 0

    def do_GET(self) -> None:
        """Send zeros: packed, after their number, or just so."""
        body = gzip.compress(bytes(WITHOUT_END)) if "packed" in self.path else None
        self.send_response(200)
        if body:
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
        if "announced" in self.path:
            self.send_header("Content-Length", str(WITHOUT_END))
        self.end_headers()
        Endless.n_sent = 0
        with suppress(ConnectionError):
            for piece in (
                [body] if body else (bytes(MEGABYTE) for _ in range(WITHOUT_END // MEGABYTE))
            ):
                self.wfile.write(piece)
                Endless.n_sent += len(piece)


@contextmanager
def web_server(folder: Path, files: type[Files] = Files) -> Iterator[str]:
    """Serve a folder until the end of a ``with``; its URL."""
    Files.read.clear()
    handler = partial(files, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
