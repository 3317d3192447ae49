"""What spoke for the answer: the address, its limits, and the button on the page."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, expect

from headbench.classify.inspection.explanation import OCCLUSION, WORDS
from headbench.classify.run import Run
from tests.classify.deployment.server.client import BOUNDARY, Client, form, serving
from tests.classify.deployment.server.test_requests import Stopped
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE

FORM = f"multipart/form-data; boundary={BOUNDARY}"


def test_the_two_most_probable_classes_are_explained(client: Client, red: bytes) -> None:
    reply = client.ask("POST", "/explain", red)
    assert reply.status == 200
    predicted = client.predict(red).json["predictions"]
    found = reply.json["explained"]
    assert [(each["class"], each["probability"]) for each in found] == [
        (each["class"], each["probability"]) for each in predicted[:2]
    ]
    assert reply.json["method"] == WORDS[OCCLUSION]
    assert reply.json["model"]["head"] == "logreg"
    for each in found:
        kind, _, data = each["picture"].partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.size == (16, 16)
    sent = client.ask("POST", "/explain", form({"a.png": red}), Content_Type=FORM)
    assert sent.json["explained"] == found


@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "reason"),
    [
        ("?top=3", b"red", {}, 400, "expected no parameters"),
        ("", b"", {}, 400, "found nothing"),
        ("", b"no image", {}, 422, "not a usable image"),
        ("", [b"x"], {"Content_Length": "1000001"}, 413, "larger than"),
        ("", form({"a.png": b"a", "b.png": b"b"}), {"Content_Type": FORM}, 400, "found 2"),
        ("", b"{}", {"Content_Type": "application/json"}, 415, "expected an image"),
        ("", b"red", {"Origin": "https://evil.example"}, 403, "only the page of this server"),
    ],
)
def test_it_has_the_limits_of_the_others(
    client: Client, query: str, body: Any, headers: dict[str, str], status: int, reason: str
) -> None:
    reply = client.ask("POST", f"/explain{query}", body, **headers)
    assert (reply.status, reason in reply.json["error"]) == (status, True)


def test_it_ends_with_503_in_time(served_run: Run, red: bytes) -> None:
    with serving(served_run, timeout=0.2) as client:
        stopped = Stopped(client.engine)
        reply = client.ask("POST", "/explain", red)
        stopped.is_open.set()
    assert (reply.status, reply.json) == (503, {"error": "no answer within 0.2 s"})


@pytest.fixture(scope="module")
def hostile(hostile_run: Run) -> Iterator[Client]:
    """A server of classes that try to be markup."""
    with serving(hostile_run, max_mb=1) as client:
        yield client


@pytest.mark.parametrize("width", [375, 1280])
def test_the_button_shows_what_spoke_for_the_answer(
    browser: Browser, hostile: Client, hostile_run: Run, width: int
) -> None:
    photos: Path = hostile_run.folder.parents[1] / "photos"
    with opened(browser, hostile.address, width) as page:
        page.locator("#file").set_input_files(photos / HOSTILE[1] / "2.png")
        expect(page.locator("#top li")).to_have_count(5)
        page.locator("#why").click()
        expect(page.locator("#explained figure")).to_have_count(2)
        names = page.locator("#top .name").all_inner_texts()[:2]
        captions = page.locator("#explained figcaption").all_inner_texts()
        assert [each.startswith(f"for {name}") for each, name in zip(captions, names, strict=True)]
        for picture in page.locator("#explained img").all():
            expect(picture).to_have_js_property("complete", value=True)
            assert picture.evaluate("(e) => e.naturalWidth") == 16
        expect(page.locator("#method")).to_contain_text(WORDS[OCCLUSION])
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("main b, main script, main [onerror]").count() == 0
        violations = Axe().run(page).response["violations"]
        assert [
            each["id"] for each in violations if each["impact"] in ("serious", "critical")
        ] == []
        # Another photograph has reasons of its own.
        page.locator("#file").set_input_files(photos / HOSTILE[2] / "2.png")
        expect(page.locator("#name")).to_have_text("2.png")
        expect(page.locator("#explained figure")).to_have_count(0)
        expect(page.locator("#why")).to_be_enabled()
