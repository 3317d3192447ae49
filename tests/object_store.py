"""A real S3 server on loopback, moto's, behind a layer that counts, waits, refuses and cuts off."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "photos"
SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
BROKEN = b"<Error><Code>InternalError</Code><Message>We had an internal error.</Message></Error>"
GONE = b"<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>"
ANSWERS = {403: DENIED, 404: GONE, 500: BROKEN, 503: SLOW_DOWN}
CUT_OFF, HANG = -1, -2
Answer = Callable[..., Any]


class Layer:
    """What stands between clients and the store.

    Attributes
    ----------
    gets : Counter
        Requests for the content of each object, by its key; of listings, under the empty one.
    n_others : int
        Requests of other kinds.
    troubles : dict of str to list of int
        By key, what its next requests get in place of an answer: a status, `CUT_OFF` or `HANG`.
        Listings have an empty key.
    seconds : float
        What every request for an object waits.
    most_at_once : int
        Requests for objects that were there at the same time.
    """

    def __init__(self, store: Any, seconds: float = 0.0) -> None:
        self.store, self.seconds = store, seconds
        self.gets: Counter[str] = Counter()
        self.n_others = 0
        self.troubles: dict[str, list[int]] = {}
        self.most_at_once = self._at_once = 0
        self._lock, self._let_go = threading.Lock(), threading.Event()

    def reset(self) -> None:
        """Forget what was counted, and answer."""
        self.gets.clear()
        self.troubles.clear()
        self.seconds, self.most_at_once, self.n_others = 0.0, 0, 0

    def let_go(self) -> None:
        """End what hangs."""
        self._let_go.set()

    def __call__(self, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        """Answer a request, as WSGI wants it."""
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        if environ["REQUEST_METHOD"] != "GET" or bucket != BUCKET:
            self.n_others += 1
            return self.store(environ, start)  # type: ignore[no-any-return]
        with self._lock:
            self.gets[key] += 1
            trouble = self.troubles[key].pop(0) if self.troubles.get(key) else 0
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds)
            return self._answer(trouble, environ, start)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, trouble: int, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        if trouble == HANG:
            self._let_go.wait()
        if trouble < 0:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        if trouble <= 0:
            return self.store(environ, start)  # type: ignore[no-any-return]
        body = ANSWERS[trouble]
        start(f"{trouble} Trouble", [("Content-Length", str(len(body)))])
        return [body]


class Quiet(WSGIRequestHandler):
    """Werkzeug's own, without a log."""

    def log(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Answer; that a client has gone is nothing to speak of."""
        with suppress(OSError):
            super().handle()


class ObjectStore:
    """The server, with one empty bucket, in threads, from the beginning to the end of a ``with``.

    Parameters
    ----------
    seconds : float
        What every request for an object waits.

    Attributes
    ----------
    layer : Layer
    url : str
        What AWS_ENDPOINT_URL_S3 has to be.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.layer = Layer(create_backend_app("s3"), seconds)
        self._server = make_server("127.0.0.1", 0, self.layer, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "ObjectStore":
        self._thread.start()
        self._objects = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._objects.create_bucket(BUCKET, "us-east-1")
        return self

    def put(self, key: str, content: bytes) -> None:
        """An object, past the server."""
        self._objects.put_object(BUCKET, key, content)

    def delete(self, key: str) -> None:
        """Take an object away, past the server."""
        self._objects.delete_object(BUCKET, key)

    def put_folder(self, folder: Path, prefix: str = "") -> None:
        """Every file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def __exit__(self, *_: object) -> None:
        self.layer.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._objects.reset()
