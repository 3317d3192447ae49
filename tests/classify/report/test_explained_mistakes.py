"""What spoke for the classes of mistakes, on the page and kept for the next one."""

import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from headbench.cache.untrusted import read_json
from headbench.classify.checked import json_text
from headbench.classify.inspection.explanation import OCCLUSION, WORDS, Explainer
from headbench.classify.report.write import make_report
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from tests.classify.report.browser import opened
from tests.classify.report.test_page import OUTSIDE, WIDTHS
from tests.conftest import Bar, listen

HEAD = "logreg"
HINT = "headbench report <span>--explain</span>"


def page_of(run: Run, *, explain: bool = False, head: str = HEAD) -> str:
    make_report(run, head, explain=explain)
    return (run.report_folder / "index.html").read_text("utf-8")


def kept_path(run: Run) -> Path:
    return run.folder / "explained" / f"{HEAD}.json"


def kept_pictures(run: Run) -> dict[str, dict[str, str]]:
    return read_json(kept_path(run))["pictures"]


def n_explained(page: str) -> int:
    return len(re.findall(r'alt="What spoke for ', page))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The heads whose network was loaded to make maps."""
    made: list[str] = []
    opened_network = Explainer._opened

    def opened_and_noted(self: Explainer, *arguments: object) -> object:
        if self._embedder is None:
            made.append(self.classifier.name)
        return opened_network(self, *arguments)

    monkeypatch.setattr(Explainer, "_opened", opened_and_noted)
    return made


def test_the_network_is_loaded_only_where_it_is_asked_for_and_once(
    own_run: Run, loads: list[str], bars: list[Bar]
) -> None:
    before = page_of(own_run)
    assert (n_explained(before), loads, HINT in before) == (0, [], True)
    lines = listen()
    page = page_of(own_run, explain=True)
    n_mistakes = len(kept_pictures(own_run))
    assert n_mistakes > 1
    assert n_explained(page) >= 2 * n_mistakes
    assert WORDS[OCCLUSION] in page.replace("&#39;", "'")
    assert HINT not in page
    [bar] = [each for each in bars if each.desc == "explain"]
    assert (bar.n, bar.total) == (n_mistakes, n_mistakes)
    assert any(f"{n_mistakes} mistakes explained in " in line for line in lines)
    pictures = re.findall(r'src="(data:[^"]+)" alt="What spoke', page)
    for explain in (False, True):
        again = page_of(own_run, explain=explain)
        assert re.findall(r'src="(data:[^"]+)" alt="What spoke', again) == pictures
    assert loads == [HEAD]


def test_pictures_of_another_head_are_not_shown_nor_kept(own_run: Run, loads: list[str]) -> None:
    assert n_explained(page_of(own_run, explain=True)) > 0
    assert n_explained(page_of(own_run, head="centroid")) == 0
    shutil.rmtree(own_run.trained_folder(HEAD))
    train_heads(own_run, [HEAD], seed=0)
    assert n_explained(page_of(own_run)) == 0
    before = kept_pictures(own_run)
    assert n_explained(page_of(own_run, explain=True)) > 0
    assert loads == [HEAD, HEAD]
    assert len(kept_pictures(own_run)) == len(before)
    assert not kept_pictures(own_run).keys() & before.keys()


@pytest.mark.parametrize("damage", ["cut", "list", "address", "method"])
def test_damaged_pictures_are_named_and_made_again(own_run: Run, damage: str) -> None:
    before = page_of(own_run, explain=True)
    path = kept_path(own_run)
    raw = read_json(path)
    raw |= {
        "cut": {},
        "list": {"pictures": {"key": ["data:image/webp;base64,"]}},
        "address": {"pictures": {"key": {"red": "https://example.com/a.png"}}},
        "method": {"method": "<b>"},
    }[damage]
    text = json_text(raw)
    path.write_text(text[:200] if damage == "cut" else text, "utf-8", newline="\n")
    lines = listen()
    assert n_explained(page_of(own_run)) == 0
    assert any(str(path) in line and "--explain" in line for line in lines)
    assert page_of(own_run, explain=True).count("What spoke for ") == before.count(
        "What spoke for "
    )


def test_a_run_that_is_killed_keeps_what_it_made(
    own_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, n_made = Explainer.maps, [0]

    def killed(self: Explainer, *arguments: object) -> object:
        n_made[0] += 1
        if n_made[0] == 2:
            raise KeyboardInterrupt
        return maps(self, *arguments)

    monkeypatch.setattr(Explainer, "maps", killed)
    with pytest.raises(KeyboardInterrupt):
        page_of(own_run, explain=True)
    assert len(kept_pictures(own_run)) == 1
    assert [path.name for path in kept_path(own_run).parent.iterdir()] == [f"{HEAD}.json"]


def test_images_that_are_gone_are_left_out(own_run: Run, tmp_path: Path) -> None:
    make_report(own_run, HEAD, tmp_path / "gone", explain=True)
    assert n_explained((own_run.report_folder / "index.html").read_text("utf-8")) == 0
    assert not kept_path(own_run).exists()


@pytest.mark.parametrize(("width", "scheme"), list(zip(WIDTHS, ("light", "dark"), strict=True)))
def test_the_page_is_sound_with_them_too(
    browser: Browser, own_run: Run, width: int, scheme: str
) -> None:
    page_of(own_run, explain=True)
    with opened(browser, own_run.report_folder / "index.html", width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []
        found = Axe().run(page).response
        assert [
            each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")
        ] == []
        card = page.locator(".explained .card").first
        shown = card.locator("img").all()
        assert [each.evaluate("(image) => image.naturalWidth") for each in shown] == [160] * 3
        boxes = [each.bounding_box() for each in shown]
        assert len({box["y"] for box in boxes}) == 1
        assert min(box["width"] for box in boxes) > 80
        given, true = (each.get_attribute("alt") for each in shown[1:])
        card.click()
        expect(page.locator("dialog")).to_be_visible()
        top = page.locator("dialog tbody tr").first.inner_text().split("\t")[0]
        assert given == f"What spoke for {top}"
        truth = page.locator("#detail-truth").inner_text()
        assert truth.startswith(f"True class: {true.removeprefix('What spoke for ')}.")
