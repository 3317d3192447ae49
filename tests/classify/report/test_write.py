"""Every form of the report, without a browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.classify.intervals import Comparison, Estimate
from headbench.classify.report.results import Results
from headbench.classify.report.summary import summary_html
from headbench.classify.report.table import (
    COLUMNS,
    SHORT_COLUMNS,
    as_markdown,
    as_text,
    banner,
    rows,
    verdict,
)
from headbench.classify.report.words import describe_quality, differences, summarize_differences
from headbench.classify.report.write import make_report
from headbench.classify.run import Run
from headbench.classify.wording import END_OF_RANGE, percent, with_n
from tests.classify.report.conftest import HOSTILE, HOSTILE_FILE, TEXT_FILE


class Tags(HTMLParser):
    """Every start tag, all addresses and all text of a page."""

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


def test_names_are_data_in_the_page(page_path: Path) -> None:
    page = Tags(page_path.read_text("utf-8"))
    assert page.tags.count("script") == 2
    assert not {"b", "i", "iframe", "object"} & set(page.tags)
    for name in (*HOSTILE, HOSTILE_FILE, "<i>run<i>"):
        assert name in page.text


def test_all_files_that_were_left_out_stand_on_the_page_with_their_reasons(
    page_path: Path,
) -> None:
    text = " ".join(Tags(page_path.read_text("utf-8")).text.split())
    left_out = text.split("Files left out", 1)[1].split("Map of the embeddings")[0]
    assert "2 files could not be used." in left_out
    assert f"{HOSTILE[0]}/{HOSTILE_FILE}empty file" in left_out
    assert f"{HOSTILE[-1]}/{TEXT_FILE}text, not an image" in left_out


def test_names_are_data_in_markdown(found: Results) -> None:
    text = as_markdown(found)
    assert "\\<b onclick=alert(3)\\>bad\\<b\\>.png" in text
    assert "<script>" not in text
    assert "<img" not in text


def test_the_page_refers_to_nothing_outside(page_path: Path) -> None:
    addresses = Tags(page_path.read_text("utf-8")).addresses
    assert len(addresses) > 5
    assert [each for each in addresses if not each.startswith(("data:image/", "#"))] == []


def test_the_page_lets_no_script_run_but_its_own(page_path: Path) -> None:
    page = page_path.read_text("utf-8")
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]


def test_every_link_leads_to_a_heading(page_path: Path) -> None:
    page = page_path.read_text("utf-8")
    for address in Tags(page).addresses:
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in page


def test_the_json_on_disk_is_what_the_tables_were_made_of(hostile_run: Run, results: dict) -> None:
    text = (hostile_run.report_folder / "results.json").read_text("utf-8")
    assert json.loads(text) == results


def test_every_form_shows_the_same_numbers(found: Results, page_path: Path) -> None:
    top1 = found.heads[0].test.top1
    value, low, high = (f"{100 * number:.1f}" for number in top1[:3])
    assert f"{value} % [{low}, {high}]" in as_text(found)
    assert f"{value} % \\[{low}, {high}\\]" in as_markdown(found)
    page = page_path.read_text("utf-8").replace("\xa0", " ")
    for text in (as_text(found), as_markdown(found), page):
        assert f"test accuracy {value} % (95 % CI {low} to {high}, n = {top1.n})" in text
        assert f"images of val, {top1.n} of test." in text


@pytest.mark.parametrize(
    ("gap", "is_seen", "sentence"),
    [
        (
            0.02,
            False,
            "logreg and other: no significant difference (+2.0 points [-1.0, +5.0], p 0.2).",
        ),
        (0.02, True, "logreg is better than other by +2.0 points [-1.0, +5.0], p 0.01."),
        (-0.02, True, "other is better than logreg by +2.0 points [-1.0, +5.0], p 0.01."),
    ],
)
def test_a_lead_is_called_one_only_where_it_is_seen(
    found: Results, gap: float, is_seen: bool, sentence: str
) -> None:
    low, high = sorted((gap - np.sign(gap) * 0.03, gap + np.sign(gap) * 0.03))
    p = 0.01 if is_seen else 0.2
    pair = Comparison("logreg", "other", Estimate(gap, low, high, 400), 9, 1, p, p)
    changed = replace(found, best="logreg", comparisons=[pair])
    assert differences(changed) == [sentence]
    assert "differ significantly from other" in summarize_differences(changed) or is_seen
    assert ("significantly better" in as_text(changed)) == (is_seen and gap > 0)
    assert ("significantly worse" in as_text(changed)) == (is_seen and gap < 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"has_random_weights": True}, "RANDOM WEIGHTS"),
        ({"has_random_weights": False, "weights": "own.h5"}, "Weights of a file"),
        ({"has_random_weights": False, "weights": "imagenet"}, ""),
    ],
)
def test_weights_that_are_not_imagenets_have_a_banner(
    found: Results, change: dict[str, Any], expected: str
) -> None:
    changed = replace(found, features=replace(found.features, **change))
    assert banner(changed).startswith(expected)
    assert bool(banner(changed)) == bool(expected)


def test_random_weights_are_named_in_every_form(random_run: Run) -> None:
    report = make_report(random_run)
    said = "RANDOM WEIGHTS: the network was not trained."
    assert as_text(report.results).startswith(said)
    assert as_markdown(report.results).splitlines()[2].startswith(f"**{said}")
    page = (random_run.report_folder / "index.html").read_text()
    for text in (page, summary_html(report)):
        assert said in text
        assert text.index(said) < text.index("<table")


def test_the_first_row_is_the_head_to_use(found: Results) -> None:
    assert rows(found)[0][0] == found.best
    assert verdict(found).startswith(f"Use {found.best}: test accuracy ")
    assert with_n(found.heads[0].test.top1) in verdict(found)


def test_a_head_that_is_no_better_than_prior_is_not_recommended(found: Results) -> None:
    first = found.heads[0]
    for low, is_recommended in ((0.16, False), (0.17, True)):  # prior: 1 of 6 classes
        balanced = Estimate(0.3, low, 0.6, first.val.top1.n)
        val = first.val._replace(balanced_accuracy=balanced)
        text = verdict(replace(found, heads=[replace(first, val=val), *found.heads[1:]]))
        assert text.startswith(f"Use {first.name}") == is_recommended
        assert text.startswith("Use none of these heads") == (not is_recommended)


def test_balanced_accuracy_stands_beside_top_1(found: Results) -> None:
    titles = [column.title for column in SHORT_COLUMNS]
    assert titles[1:4] == ["val balanced", "test accuracy", "test balanced"]
    assert percent(found.heads[0].test.balanced_accuracy) in rows(found)[0]
    assert percent(found.heads[0].test.balanced_accuracy) in " ".join(describe_quality(found))


def test_quality_is_told_with_n_and_chance(found: Results) -> None:
    text = " ".join(describe_quality(found))
    assert re.match(rf"Test accuracy of .*, n = {found.features.splits['test']}\)\. ", text)
    largest = max(found.features.classes, key=lambda each: each.test)
    share = 100 * largest.test / found.features.splits["test"]
    always = f"Always predicting {largest.name}, the most frequent class, gives {share:.1f} %."
    assert always in text
    assert "Always predicting one class gives 16.7 %." in text  # balanced accuracy
    assert "ECE" in text


def with_many_heads(found: Results, n_heads: int = 10) -> Results:
    """Ten heads with a long choice each, two of them at the end of their range."""
    heads = [
        replace(found.heads[0], name=name, chosen=chosen)
        for name, chosen in [
            ("finetuned", {"epoch": 8, "is_at_limit": True}),
            ("lightgbm", {"rounds": 300, "is_at_limit": True}),
            *((f"mlp-{n}", dict.fromkeys("abcdefgh", 0.0123)) for n in range(n_heads - 2)),
        ]
    ]
    gap = Estimate(0.1, 0.05, 0.15, 400)
    pairs = [Comparison("finetuned", each.name, gap, 9, 1, 0.2, 0.2) for each in heads[1:]]
    return replace(found, best="finetuned", heads=heads, comparisons=pairs)


def test_the_text_fits_a_terminal_and_the_answer_comes_first(found: Results) -> None:
    lines = as_text(with_many_heads(found)).splitlines()
    assert lines[0].startswith("Use finetuned: ")
    assert max(map(len, lines)) <= 120
    assert len(lines) <= 32
    at = next(number for number, line in enumerate(lines) if line.startswith("What next"))
    assert [line[:2] for line in lines[at + 1 :] if line[0].isdigit()] == ["1.", "2.", "3.", "4."]


def test_markdown_has_the_whole_table_right_after_the_answer(found: Results) -> None:
    lines = as_markdown(found).splitlines()
    titles = next(line for line in lines if line.startswith("| head"))
    assert titles.count("|") == len(COLUMNS) + 1
    assert lines.index(titles) < 7
    assert lines.index(titles) < lines.index("## How it was made")


def test_a_choice_at_the_end_of_its_range_is_marked_in_every_table_and_explained_once(
    found: Results, page_path: Path
) -> None:
    changed = with_many_heads(found)
    explained = "To search further, set --epochs for finetuned and --max-rounds for lightgbm."
    for text in (as_text(changed), as_markdown(changed)):
        assert text.count(END_OF_RANGE) == 3
        assert f"rounds 300 {END_OF_RANGE}" in text
        assert " ".join(text.split()).count(explained) == 1
    assert END_OF_RANGE not in as_text(found)
    assert "<mark>" not in page_path.read_text("utf-8")


def test_the_page_shows_the_answer_and_the_table_before_what_made_them(page_path: Path) -> None:
    page = page_path.read_text("utf-8")
    places = [
        page.index(each)
        for each in ("Use ", '<table class="heads', "<summary>How this was made", "preprocessing")
    ]
    assert places == sorted(places)


def test_the_summary_stands_alone_and_its_style_touches_nothing_else(own_run: Run) -> None:
    html = summary_html(make_report(own_run))
    assert Tags(html).tags.count("script") == 0
    assert [each for each in Tags(html).addresses if not each.startswith("#")] == []
    assert not {"b", "i", "iframe", "object", "link"} & set(Tags(html).tags)
    assert html.count("<svg") == 3
    style = html.split("<style>")[1].split("</style>")[0]
    selectors = re.sub(r"\{[^}]*\}", "\n", style).split("\n")
    for selector in filter(str.strip, ",".join(selectors).split(",")):
        assert ".headbench-summary" in selector or not selector.strip()
