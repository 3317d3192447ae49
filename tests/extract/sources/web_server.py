"""A web server on loopback for the files of a folder."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class Files(SimpleHTTPRequestHandler):
    """Python's own; in place of a log, the paths that were read."""

    read: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Send a file."""
        self.read.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


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
