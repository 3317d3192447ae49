"""A server in a thread of the test, and a client that sends what it is told to."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.server import ServerSettings
from headbench.classify.deployment.server.process import bind, make_server, open_engine
from headbench.classify.deployment.server.serving_engine import ServingEngine
from headbench.classify.deployment.uncertainty import Uncertainty
from headbench.classify.run import Run
from headbench.extract.settings import Runtime

HOST = "127.0.0.1"
MB = 1_000_000
BOUNDARY = "xxBOUNDARYxx"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client(NamedTuple):
    """Talks to a server on loopback."""

    port: int
    engine: ServingEngine | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        reply = Reply(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return reply

    def predict(self, body: Any, query: str = "", **headers: str) -> Reply:
        return self.ask("POST", f"/predict{query}", body, **headers)

    def send_form(self, files: Mapping[str, bytes], query: str = "", field: str = "f") -> Reply:
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.predict(form(files, field), query, Content_Type=kind)


def form(files: Mapping[str, bytes], field: str = "f") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"'
        "\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def serving(
    run: Run,
    head: str = "logreg",
    data: Path | None = None,
    uncertainty: Uncertainty = Uncertainty(),  # noqa: B008, it is immutable
    **more: Any,
) -> Iterator[Any]:
    """A server of a run; `more` are its settings."""
    settings = ServerSettings(host=HOST, **more)
    listener = bind(HOST, 0)
    listener.listen()
    classifier = open_classifier(run, head, None)
    engine = open_engine(run, classifier, data, settings.max_batch, Runtime(), uncertainty)
    server = make_server(engine, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Client(listener.getsockname()[1], engine)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def raw_request(client: Client, head: str) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, client.port), timeout=60) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n\r\n".encode())
        yield connection


def reply_of(connection: socket.socket) -> tuple[int, Any]:
    text = b""
    while chunk := connection.recv(65536):
        text += chunk
        if b"}" in chunk:
            break
    head, _, body = text.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)
