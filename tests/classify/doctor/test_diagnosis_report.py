"""The diagnosis as text, JSON and a page; the page in a real browser."""

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from headbench.classify.doctor.diagnosis_report import as_text, write_diagnosis
from headbench.classify.doctor.finding import (
    Diagnosis,
    Examination,
    Finding,
    Grid,
    Photo,
    Severity,
    not_checked,
)
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.conftest import write_image


def diagnosis(folder: Path) -> Diagnosis:
    write_image(folder / "a.png", 1)
    photos = (Photo(folder / "a.png", "<b>caption</b>"), Photo(folder / "gone.png", "is gone"))
    findings = [
        Finding("mild", Severity.WARNING, "Something mild.", ("3 of 4",), "Mend it."),
        not_checked("the rest", "it is not there."),
        Finding(
            "<bad>", Severity.SEVERE, "<script>alert(1)</script> is wrong.",
            grid=Grid(("a", "b"), (("x", "<i>1</i>"),)), photos=photos,
        ),
    ]  # fmt: skip
    return Diagnosis.of([Examination("2 images", findings)])


def test_the_most_severe_comes_first_in_words(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    text = as_text(found)
    assert [each.severity for each in found.findings] == [2, 1, 0]
    assert text.index("SEVERE <bad>") < text.index("WARNING mild") < text.index("NOTE not-checked")
    assert text.splitlines()[:2] == ["1 severe, 1 warning, 1 note.", "Examined: 2 images"]
    assert "  What to do: Mend it." in text
    assert as_text(Diagnosis.of([])) == "No problem found."


def test_the_page_shows_photographs_and_takes_no_name_for_markup(tmp_path: Path) -> None:
    write_diagnosis(diagnosis(tmp_path), "<u>photos", tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<b>caption" not in page
    assert "<i>1" not in page
    assert "<u>" not in page
    assert page.count('<img src="data:image/webp') == 1
    assert page.count("no picture") == 1


def test_json_holds_all_that_was_found(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    write_diagnosis(found, "photos", tmp_path)
    raw = json.loads((tmp_path / "findings.json").read_text("utf-8"))
    assert raw == json.loads(json.dumps(found.as_dict()))
    assert raw["findings"][0]["severity"] == "severe"
    assert raw["findings"][0]["photos"][1]["caption"] == "is gone"


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    """Findings of each severity, with names that try to be markup."""
    write_image(tmp_path / "a.png", 1)
    photos = tuple(Photo(tmp_path / "a.png", name) for name in HOSTILE)
    long = "conv5_block3_3_bn" * 12
    grid = Grid(("name", "accuracy"), tuple((name, "10.0 % [6.6, 14.9]") for name in HOSTILE))
    findings = [
        Finding("code", each, f"{name}: {long}", (f"evidence {name}",), "Mend it.", grid, photos)
        for each, name in zip(Severity, HOSTILE, strict=False)
    ]
    assert len(findings) > 1
    write_diagnosis(Diagnosis.of([Examination("<b>all</b>", findings)]), "<u>", tmp_path / "out")
    return tmp_path / "out/index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_and_axe_finds_nothing_serious(
    browser: Browser, page_path: Path, width: int, scheme: str
) -> None:
    with opened(browser, page_path, width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        assert [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ] == []


def test_names_are_text(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path) as page:
        text = page.locator("main").inner_text()
        for name in HOSTILE[:2]:
            assert name in text
        assert "<b>all</b>" in text
