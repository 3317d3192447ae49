"""The page in a real browser: narrow and wide, light and dark."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from headbench.classify.doctor.diagnosis_report import write_diagnosis
from headbench.classify.doctor.finding import Diagnosis, Examination, Finding, Grid, Photo, Severity
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.conftest import write_image


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
