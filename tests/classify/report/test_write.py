import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from classify.report.table import as_markdown, as_text, differences, verdict
from classify.report.write import as_page, write_report
from classify.run import Run
from classify.train import train_heads
from extract.settings import ExtractSettings
from extract.stage import extract_features
from tests.conftest import COLORS, write_image

HOSTILE = ("<script>alert(1)<", '"><img src=x onerror=alert(2)>', "a|b*c_d`e")


class Tags(HTMLParser):
    """Every start tag and all text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile_run(tmp_path: Path, settings: ExtractSettings) -> Run:
    """A run whose classes and file names try to be markup."""
    names = [name.replace("/", "") for name in HOSTILE]
    for number, (name, color) in enumerate(zip(names, COLORS.values(), strict=True)):
        for image in range(30):
            write_image(tmp_path / "photos" / name / f"{image}.png", 100 * number + image, color)
    (tmp_path / "photos" / names[0] / "<b>bad<b>.png").write_bytes(b"")
    run = Run(tmp_path / "runs/<i>run<i>")
    extract_features(tmp_path / "photos", run.features_path, settings, lambda _: None)
    train_heads(run, ["logreg"], seed=0, say=lambda _: None)
    return run


def test_names_are_data_in_the_page(hostile_run: Run) -> None:
    write_report(hostile_run)
    page = Tags((hostile_run.report_folder / "index.html").read_text("utf-8"))
    assert not {"script", "img", "b", "i"} & set(page.tags)
    for name in (*HOSTILE, "<b>bad<b>.png", "<i>run<i>"):
        assert name in page.text


def test_names_are_data_in_markdown(hostile_run: Run) -> None:
    text = as_markdown(write_report(hostile_run))
    assert "\\<b\\>bad\\<b\\>.png" in text
    assert "<script>" not in text


def test_the_page_asks_the_network_for_nothing(hostile_run: Run) -> None:
    assert Tags(as_page(write_report(hostile_run))).addresses == []


def test_the_json_on_disk_is_what_the_tables_were_made_of(hostile_run: Run) -> None:
    results = write_report(hostile_run)
    on_disk = json.loads((hostile_run.report_folder / "results.json").read_text("utf-8"))
    assert on_disk == results
    assert on_disk["features"]["rejected"][0]["reason"] == "empty file"


def test_every_form_shows_the_same_numbers(hostile_run: Run) -> None:
    results = write_report(hostile_run)
    top1 = results["heads"][0]["test"]["top1"]
    shown = f"{100 * top1['value']:.1f} % [{100 * top1['low']:.1f}, {100 * top1['high']:.1f}]"
    for form in (as_text, as_page):
        assert shown in form(results)
    assert shown.replace("[", "\\[").replace("]", "\\]") in as_markdown(results)
    for form in (as_text, as_markdown, as_page):
        assert f"test {top1['n']} images" in form(results)


@pytest.mark.parametrize(
    ("gap", "is_seen", "sentence"),
    [
        (0.02, False, "logreg and other: no difference seen (+2.0 points [-1.0, +5.0], p 0.2)."),
        (0.02, True, "logreg is better than other by +2.0 points [-1.0, +5.0], p 0.2."),
        (-0.02, True, "other is better than logreg by +2.0 points [-1.0, +5.0], p 0.2."),
    ],
)
def test_a_lead_is_called_one_only_where_it_is_seen(
    hostile_run: Run, gap: float, is_seen: bool, sentence: str
) -> None:
    results = write_report(hostile_run)
    low, high = sorted((gap - np.sign(gap) * 0.03, gap + np.sign(gap) * 0.03))
    difference = {"value": gap, "low": low, "high": high, "n": 400}
    results["comparisons"] = [
        {"first": "logreg", "second": "other", "difference": difference, "p_holm": 0.2}
        | {"is_seen": is_seen}
    ]
    assert verdict(results).startswith("Use logreg, the best on val")
    assert differences(results) == [sentence]
    assert sentence in as_text(results)
    assert sentence in as_page(results).replace("&#43;", "+")


@pytest.mark.parametrize(
    ("change", "banner"),
    [
        ({"has_random_weights": True}, "Random weights"),
        ({"has_random_weights": False, "weights": "own.h5"}, "Not ImageNet's weights"),
        ({"has_random_weights": False, "weights": "imagenet"}, None),
    ],
)
def test_weights_that_are_not_imagenets_have_a_banner(
    hostile_run: Run, change: dict[str, object], banner: str | None
) -> None:
    results = write_report(hostile_run)
    results["features"].update(change)
    page = as_page(results)
    assert ('class="banner"' in page) == (banner is not None)
    assert banner is None or banner in page


def test_random_weights_are_named_in_every_form(network_run: Run) -> None:
    results = write_report(network_run)
    for form in (as_text, as_markdown, as_page):
        assert "RANDOM" in form(results)
