"""A real S3 server on loopback, moto's, behind a layer that counts, waits, refuses and cuts off."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "photos"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
BROKEN = b"<Error><Code>InternalError</Code><Message>We had an internal error.</Message></Error>"
ANSWERS = {500: BROKEN, 503: SLOW_DOWN, 403: DENIED}
CUT_OFF = -1
Answer = Callable[..., Any]


class Layer:
    """What stands between clients and the store.

    Attributes
    ----------
    gets : Counter
        Requests for the content of each object, by its key.
    troubles : dict of str to list of int
        By key, what its next requests get in place of an answer: a status, or `CUT_OFF`.
    seconds : float
        What every request for an object waits.
    """

    def __init__(self, store: Any, seconds: float = 0.0) -> None:
        self.store, self.seconds = store, seconds
        self.gets: Counter[str] = Counter()
        self.troubles: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        """Answer a request, as WSGI wants it."""
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        if environ["REQUEST_METHOD"] != "GET" or not key or bucket != BUCKET:
            return self.store(environ, start)  # type: ignore[no-any-return]
        with self._lock:
            self.gets[key] += 1
            trouble = self.troubles[key].pop(0) if self.troubles.get(key) else 0
        time.sleep(self.seconds)
        if trouble == CUT_OFF:
            environ["werkzeug.socket"].close()
            raise ConnectionAbortedError
        if trouble:
            body = ANSWERS[trouble]
            start(f"{trouble} Trouble", [("Content-Length", str(len(body)))])
            return [body]
        return self.store(environ, start)  # type: ignore[no-any-return]


class KeepAlive(WSGIRequestHandler):
    """Several requests over one connection, as object stores do, and no log."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Say nothing."""


class ObjectStore:
    """The server, in threads of this process, from the beginning to the end of a ``with``.

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
        self.layer = Layer(DomainDispatcherApplication(create_backend_app), seconds)
        self._server = make_server(
            "127.0.0.1", 0, self.layer, threaded=True, request_handler=KeepAlive
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "ObjectStore":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
