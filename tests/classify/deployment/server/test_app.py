"""What the server answers, over real sockets."""

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from classify.deployment.classifier import open_classifier
from classify.deployment.predict import predict_files
from classify.deployment.server.guard import EVERYWHERE
from classify.run import Run
from tests.classify.deployment.server.client import BOUNDARY, HOST, Client, form, serving

MB = 1_000_000


def test_answers_are_the_predictions_of_predict(
    client: Client, served_run: Run, served_photos: Path
) -> None:
    classifier = open_classifier(served_run, "logreg", None, lambda _: None)
    paths = sorted(served_photos.glob("*/00*.png"))
    expected = [
        [(name, pytest.approx(proba, abs=1e-5)) for name, proba in each.top]
        for each in predict_files(classifier, paths, 3, lambda _: None)
    ]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(client.predict, [path.read_bytes() for path in paths]))
    found = [
        [(each["class"], each["probability"]) for each in reply.json["predictions"]]
        for reply in replies
    ]
    assert found == expected


def test_an_answer_says_who_gives_it_and_what_is_similar(client: Client, red: bytes) -> None:
    answer = client.predict(red, "?top=2&similar=3", Content_Type="image/png").json
    assert answer["predictions"][0]["class"] == "red"
    assert len(answer["predictions"]) == 2
    assert [each["class"] for each in answer["similar"]] == ["red"] * 3
    assert answer["model"] == {
        "head": "logreg",
        "backbone": "mean-color",
        "weights": "none",
        "has_random_weights": False,
    }
    assert answer["milliseconds"] > 0
    number = answer["similar"][0]["number"]
    picture = client.ask("GET", f"/similar/{number}")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/webp")


def test_a_form_is_answered_file_by_file(client: Client, red: bytes) -> None:
    reply = client.send_form({"a.png": red, "b.txt": b"text"}, "?similar=0")
    assert reply.status == 200
    good, bad = reply.json["files"]
    assert (good["name"], good["predictions"][0]["class"]) == ("a.png", "red")
    assert bad == {"name": "b.txt", "error": "text, not an image"}
    reply = client.send_form({"b.txt": b"text", "c.jpg": b""})
    assert reply.status == 422
    assert "text, not an image; empty file" in reply.json["error"]


def test_the_facts_are_there(client: Client) -> None:
    assert client.ask("GET", "/health").json["status"] == "ok"
    model = client.ask("GET", "/model").json
    assert model["classes"] == ["blue", "green", "red"]
    assert model["identity"]["size_px"] == 16
    assert model["limits"]["max_bytes"] == MB
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "says"),
    [
        ("POST", "/predict", b"", "image/png", 400, "found nothing"),
        ("POST", "/predict", b"text", "image/png", 422, "text, not an image"),
        ("POST", "/predict", b"text", "text/plain", 415, "found text/plain"),
        ("POST", "/predict", b"\xff\xd8\xff" + bytes(99), "image/jpeg", 422, "truncated"),
        ("POST", "/predict", b"none", "multipart/form-data", 400, "not a form"),
        ("POST", "/predict", b"x", "multipart/form-data; boundary=b", 400, "form"),
        ("POST", "/predict?top=0", b"x", "image/png", 422, "query.top"),
        ("POST", "/predict?top=many", b"x", "image/png", 422, "query.top"),
        ("POST", "/predict?similar=21", b"x", "image/png", 422, "query.similar"),
        ("POST", "/predict?path=/etc/passwd", b"x", "image/png", 400, "found path"),
        ("GET", "/predict", None, "", 405, "Method Not Allowed"),
        ("PUT", "/predict", b"x", "image/png", 405, "Method Not Allowed"),
        ("GET", "/similar/99999", None, "", 404, "no such picture"),
        ("GET", "/similar/-1", None, "", 404, "no such picture"),
        ("GET", "/similar/one", None, "", 422, "path.number"),
        ("GET", "/nowhere", None, "", 404, "Not Found"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_json(
    client: Client, method: str, path: str, body: Any, kind: str, status: int, says: str
) -> None:
    reply = client.ask(method, path, body, **({"Content_Type": kind} if kind else {}))
    assert (reply.status, list(reply.json)) == (status, ["error"])
    assert says in reply.json["error"]


def test_names_in_a_form_are_utf_8(client: Client, red: bytes) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}; charset=UTF-8"
    reply = client.predict(form({"caf\u00e9": red}), Content_Type=kind)
    assert reply.json["files"][0]["name"] == "caf\u00e9"


@pytest.mark.parametrize(
    ("charset", "name"),
    [("idna", "xn--a"), ("hex", "zz"), ("unicode_escape", r"\ud800"), ("utf-7", "+2AA-")],
)
def test_a_form_in_another_encoding_is_refused(
    client: Client, red: bytes, charset: str, name: str
) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"
    reply = client.predict(form({name: red}), Content_Type=kind)
    assert (reply.status, reply.json) == (400, {"error": "expected a form in utf-8"})


def test_a_form_of_too_many_files_is_refused(client: Client, red: bytes) -> None:
    reply = client.send_form({f"{number}.png": red for number in range(17)})
    assert reply.status == 400
    assert "Too many files" in reply.json["error"]


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


def test_a_body_that_says_that_it_is_too_large_is_not_read(client: Client) -> None:
    with raw_request(client, f"Content-Length: {MB + 1}") as connection:
        status, answer = reply_of(connection)
    assert status == 413
    assert answer == {"error": "the body is larger than 1000000 bytes"}


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b"])
def test_a_body_that_does_not_say_so_is_stopped_while_it_is_read(client: Client, kind: str) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    start = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    n_sent = 0
    with raw_request(client, f"Content-Type: {kind}\r\nTransfer-Encoding: chunked") as connection:
        connection.sendall(f"{len(start):x}\r\n".encode() + start + b"\r\n")
        with suppress(ConnectionError):
            while n_sent < 50 * MB:
                connection.sendall(chunk)
                n_sent += len(chunk)
    # What the sockets hold comes on top of the limit.
    assert n_sent < 20 * MB


def test_a_body_that_does_not_come_ends_with_408(served_run: Run) -> None:
    with (
        serving(served_run, timeout_seconds=0.2) as client,
        raw_request(client, "Content-Length: 100") as connection,
    ):
        connection.sendall(b"\xff\xd8")
        status, answer = reply_of(connection)
    assert status == 408
    assert "did not come within 0.2 s" in answer["error"]


class Stopped:
    """An embedder that does not end before it is let through."""

    def __init__(self, engine: Any) -> None:
        self.n_streams, self.is_open = 1, threading.Event()
        self.started = threading.Semaphore(0)
        self._infer = engine._embedder.infer
        engine._embedder = self

    def infer(self, images: Any) -> Any:
        self.started.release()
        self.is_open.wait()
        return self._infer(images)


def test_a_network_that_does_not_answer_ends_with_503(served_run: Run, red: bytes) -> None:
    with serving(served_run, timeout_seconds=0.2) as client:
        stopped = Stopped(client.engine)
        reply = client.predict(red)
        stopped.is_open.set()
    assert reply.status == 503
    assert reply.headers["Retry-After".lower()] == "1"
    assert reply.json == {"error": "not done in 0.2 s"}


def test_more_than_can_wait_are_sent_away(served_run: Run, red: bytes) -> None:
    with serving(served_run, max_waiting=1) as client, ThreadPoolExecutor(1) as pool:
        stopped = Stopped(client.engine)
        first = pool.submit(client.predict, red)
        stopped.started.acquire()
        second = client.predict(red)
        picture = client.ask("GET", "/similar/0")
        assert client.ask("GET", "/health").json["at_work"] == 1
        stopped.is_open.set()
        assert first.result().status == 200
        assert client.predict(red).status == 200
    assert (second.status, picture.status) == (503, 503)
    assert second.headers["retry-after"] == "1"


def test_an_error_of_ours_shows_no_traceback(
    served_run: Run, red: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(served_run) as client:

        class Broken:
            def infer(self, images: Any) -> Any:
                raise ZeroDivisionError(f"secret {len(images)}")

        client.engine._embedder = Broken()
        reply = client.predict(red)
    assert reply.status == 500
    assert reply.json == {"error": "an error in the server: its log says more"}
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("192.168.0.7", 403),
        ("", 403),
    ],
)
def test_only_requests_to_our_own_name_are_answered(client: Client, host: str, status: int) -> None:
    assert client.ask("GET", "/health", Host=host).status == status


@pytest.mark.parametrize(
    ("host", "status"), [("192.168.0.7:8000", 200), ("[fe80::1]", 200), ("evil.example", 403)]
)
def test_a_server_for_all_machines_answers_to_every_address_and_no_other_name(
    served_run: Run, host: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.classify.deployment.server.client.HOST", EVERYWHERE[0])
    with serving(served_run) as client:
        assert client.ask("GET", "/health", Host=host).status == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_other_origins_are_refused_and_no_answer_is_shared(
    client: Client, red: bytes, origin: str
) -> None:
    reply = client.predict(red, Origin=origin)
    assert reply.status == 403
    assert list(reply.json) == ["error"]
    ours = client.predict(red, Origin=client.address.rstrip("/"))
    assert ours.status == 200
    for each in (reply, ours, client.ask("OPTIONS", "/predict", Origin=origin)):
        assert not [name for name in each.headers if name.startswith("access-control")]
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["content-security-policy"].startswith("default-src 'none'")


def test_no_path_of_a_request_is_opened(client: Client, red: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(red)
    opened: list[object] = []
    # There is no taking it away again, so it looks for this one file only.
    sys.addaudithook(
        lambda event, found: (
            opened.append(found) if event == "open" and name in str(found) else None
        )
    )
    name, up = str(secret), f"/..{'/..' * 9}{secret}"
    encoded = up.replace("/", "%2f").replace(".", "%2e")
    replies = [
        *(client.ask("GET", path) for path in (name, up, f"/similar/{up}", f"/similar/{encoded}")),
        client.ask("GET", f"/similar/{encoded}?number={name}"),
        client.predict(red, f"?top={encoded}"),
        client.predict(red, f"?{encoded}=1"),
        client.predict(name.encode()),
        client.predict(f"file://{name}".encode(), Content_Type=f"image/{name}"),
        client.predict(red, Content_Type=name),
        client.predict(red, Host=name),
        client.predict(red, Origin=f"file://{name}"),
    ]
    assert {reply.status // 100 for reply in replies} == {4}
    named = client.send_form({name: red}, field=up)
    headed = client.predict(red, Content_Disposition=f'attachment; filename="{name}"')
    assert (named.status, headed.status) == (200, 200)
    secret.read_bytes()
    assert len(opened) == 1  # by the line above: the hook does see it


def test_eight_clients_and_bad_files_among_them_get_each_their_own_answer(
    client: Client, served_photos: Path
) -> None:
    photos = [(path.parent.name, path.read_bytes()) for path in served_photos.glob("*/0*.png")]
    bad = [(422, b"text"), (400, b""), (413, bytes(MB + 1)), (422, photos[0][1][:200])]

    def work(number: int) -> str:
        if number % 3 == 0:
            status, body = bad[number // 3 % len(bad)]
            try:
                found = client.predict(body).status
            except ConnectionError:
                # The server does not read on, and may close before its answer is read.
                return "right" if status == 413 else "closed"
            return "right" if found == status else f"{found} for {status}"
        name, body = photos[number % len(photos)]
        return "right" if client.predict(body).json["predictions"][0]["class"] == name else "wrong"

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(work, range(240))) == {"right": 240}


def test_a_client_that_goes_away_leaves_no_request_behind(client: Client, red: bytes) -> None:
    for _ in range(5):
        with raw_request(client, f"Content-Length: {len(red)}") as connection:
            connection.sendall(red[:10])
    while client.ask("GET", "/health").json["at_work"]:
        pass
    assert client.predict(red).status == 200


def test_without_the_folder_of_images_similar_ones_have_no_pictures(
    served_run: Run, red: bytes, tmp_path: Path
) -> None:
    with serving(served_run, data=tmp_path / "gone") as client:
        answer = client.predict(red).json
        assert len(answer["similar"]) == 5
        assert client.ask("GET", f"/similar/{answer['similar'][0]['number']}").status == 404
