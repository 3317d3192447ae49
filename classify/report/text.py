"""The report for a terminal and as Markdown."""

from collections.abc import Sequence
from typing import Any

from classify.report.advice import advice
from classify.report.sentences import (
    describe_copies,
    describe_quality,
    describe_studies,
    describe_suspicion,
)
from classify.report.table import (
    TITLES,
    banner,
    differences,
    footnote,
    provenance,
    rows,
    verdict,
)

IN_TERMINAL = ("weights", "data", "images")


def as_text(results: dict[str, Any]) -> str:
    """The table for a terminal."""
    lines = [f"{name}: {value}" for name, value in provenance(results) if name in IN_TERMINAL]
    table = [TITLES, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(TITLES))]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in table), ""]
    sentences = (verdict(results), *differences(results), *describe_studies(results))
    numbered = [f"{number}. {line}" for number, line in enumerate(advice(results), start=1)]
    return "\n".join([*lines, footnote(results), "", *sentences, "", "What next:", *numbered])


def as_markdown(results: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# {escape(results['name'])}: which head?", ""]
    if banner(results):
        lines += [f"**{escape(banner(results))}**", ""]
    lines += [escape(verdict(results)), ""]
    lines += [f"- {name}: {escape(value)}" for name, value in provenance(results)]
    lines += ["", *_table(TITLES, rows(results)), "", escape(footnote(results)), ""]
    studies = describe_studies(results)
    for title, sentences in (
        ("Is the best really better?", differences(results)),
        ("How good is it really?", describe_quality(results)),
        ("Learning curve and cross-validation", studies),
        ("What should I do next?", advice(results)),
        ("Copies", describe_copies(results)),
        ("Labels that look wrong", describe_suspicion(results)),
    ):
        if sentences:
            lines += [f"## {title}", "", *(f"- {escape(each)}" for each in sentences), ""]
    lines += _confusions(results) + _rejected(results)
    return "\n".join(lines)


def escape(text: str) -> str:
    """Names are data: nothing in them may become Markdown or HTML."""
    for character in "\\`*_[]<>|#&":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _confusions(results: dict[str, Any]) -> list[str]:
    pairs = [
        (each["true"], each["given"], f"{each['n']} of {each['of']}")
        for each in results["confusions"]
    ]
    if not pairs:
        return []
    heading = f"## Most confused pairs of {escape(results['shown'])}, test"
    return [heading, "", *_table(("true class", "taken for", "images"), pairs), ""]


def _rejected(results: dict[str, Any]) -> list[str]:
    files = [(each["path"], each["reason"]) for each in results["features"]["rejected"]]
    return ["## Rejected", "", *_table(("file", "reason"), files), ""] if files else []


def _table(titles: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [titles, ("---",) * len(titles), *(tuple(map(escape, row)) for row in cells)]
    return [f"| {' | '.join(row)} |" for row in lines]
