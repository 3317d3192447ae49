"""What the server answers, over real sockets."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.run import Run
from tests.classify.deployment.server.client import MB, Client, serving


def test_answers_are_the_predictions_of_predict(
    client: Client, served_run: Run, served_photos: Path
) -> None:
    classifier = open_classifier(served_run, "logreg", None)
    paths = sorted(served_photos.glob("*/00*.png"))
    expected = [
        [(name, pytest.approx(proba, abs=1e-5)) for name, proba in each.top]
        for each in predict_files(classifier, paths, 3)
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


def test_similar_images_alone_are_those_of_predict(client: Client, red: bytes) -> None:
    whole = client.predict(red, "?similar=7", Content_Type="image/png").json
    found = client.ask("POST", "/similar?k=7", red, Content_Type="image/png").json
    assert found["similar"] == whole["similar"]
    assert set(found) == {"similar", "milliseconds", "model"}


def test_a_finetuned_network_has_no_similar_images(network_run: Run, red: bytes) -> None:
    with serving(network_run, head="finetuned") as other:
        reply = other.ask("POST", "/similar", red, Content_Type="image/png")
    assert (reply.status, list(reply.json)) == (404, ["error"])


def test_random_weights_are_never_silent(client: Client, random_run: Run, red: bytes) -> None:
    assert b"RANDOM WEIGHTS" not in client.ask("GET", "/").body
    with serving(random_run) as other:
        assert b"RANDOM WEIGHTS" in other.ask("GET", "/").body
        assert other.predict(red).json["model"]["has_random_weights"]


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
    assert model["limits"]["max_pixels"] == 40 * MB
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "says"),
    [
        ("POST", "/predict", b"", "image/png", 400, "found nothing"),
        ("POST", "/predict", b"text", "image/png", 422, "text, not an image"),
        ("POST", "/predict", b"text", "text/plain", 415, "found text/plain"),
        ("POST", "/predict", b"\xff\xd8\xff" + bytes(99), "image/jpeg", 422, "truncated"),
        ("POST", "/predict", b"none", "multipart/form-data", 400, "expected a form"),
        ("POST", "/predict", b"x", "multipart/form-data; boundary=b", 400, "form"),
        ("POST", "/predict?top=0", b"x", "image/png", 422, "query.top"),
        ("POST", "/predict?top=many", b"x", "image/png", 422, "query.top"),
        ("POST", "/predict?similar=21", b"x", "image/png", 422, "query.similar"),
        ("POST", "/predict?path=/etc/passwd", b"x", "image/png", 400, "found path"),
        ("POST", "/similar", b"", "image/png", 400, "found nothing"),
        ("POST", "/similar", b"text", "image/png", 422, "text, not an image"),
        ("POST", "/similar?k=0", b"x", "image/png", 422, "query.k"),
        ("POST", "/similar?k=21", b"x", "image/png", 422, "query.k"),
        ("POST", "/similar?top=3", b"x", "image/png", 400, "expected the parameters k, found top"),
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
    assert reply.json == {"error": "an error in the server: see its log"}
    assert "ZeroDivisionError" in capfd.readouterr().err


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


def test_without_the_folder_of_images_similar_ones_have_no_pictures(
    served_run: Run, red: bytes, tmp_path: Path
) -> None:
    with serving(served_run, data=tmp_path / "gone") as client:
        answer = client.predict(red).json
        assert len(answer["similar"]) == 5
        assert client.ask("GET", f"/similar/{answer['similar'][0]['number']}").status == 404
