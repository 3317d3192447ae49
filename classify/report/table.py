"""The table of heads, as text and as Markdown."""

from typing import Any

from cache.format import describe_counts
from classify.bootstrap import Estimate
from classify.report.results import identity_of
from classify.wording import describe_choice, describe_weights, number, percent, seconds

COLUMNS = (
    "head",
    "val top-1",
    "test top-1",
    "test top-5",
    "test macro F1",
    "test log loss",
    "fit",
    "chosen on val",
)


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each head, the best on val first; cells in the order of `COLUMNS`."""
    return [
        (
            head["name"],
            percent(_estimate(head["val"]["top1"])),
            percent(_estimate(head["test"]["top1"])),
            percent(_estimate(head["test"]["top5"])),
            number(Estimate(**head["test"]["macro_f1"])),
            number(Estimate(**head["test"]["log_loss"])),
            seconds(head["fit_seconds"]),
            describe_choice(head["chosen"]),
        )
        for head in results["heads"]
    ]


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """What the numbers stand on: name and value of each fact, the weights and the data first."""
    features, identity = results["features"], identity_of(results)
    splits = describe_counts(features["splits"])
    return [
        ("weights", describe_weights(identity, features["weights"])),
        ("backbone", f"{identity.backbone}, {identity.size_px} px, {features['dim']} columns"),
        ("preprocessing", identity.preprocessing),
        ("resize", identity.resize),
        ("data", f"{features['data']['folder']} ({features['data']['layout']})"),
        ("images", f"{features['n_images']} ({splits}), {len(features['classes'])} classes"),
        ("split", features["data"]["split"]),
        ("rejected", f"{len(features['rejected'])} files"),
    ]


def verdict(results: dict[str, Any]) -> str:
    """Which head to use, how good it is, and whether the others are really worse."""
    first, *others = results["heads"]
    lowest = first["val"]["top1"]["low"]
    close = [head["name"] for head in others if head["val"]["top1"]["high"] >= lowest]
    sentence = (
        f"Use {first['name']}, the best on val: "
        f"{percent(_estimate(first['test']['top1']))} of the test images are classified right."
    )
    if not close:
        return sentence
    return f"{sentence} Its interval on val overlaps with {', '.join(close)}: that may be chance."


def footnote(results: dict[str, Any]) -> str:
    """How to read the table."""
    splits = results["features"]["splits"]
    return (
        f"n: val {splits['val']}, test {splits['test']} images. [95 % intervals: Wilson for top-1 "
        "and top-5, bootstrap over images for the others]. Heads are chosen and ranked on val; "
        "test is for the last number."
    )


def as_text(results: dict[str, Any]) -> str:
    """The table for a terminal."""
    facts = provenance(results)
    lines = [f"{name}: {value}" for name, value in facts if name in ("weights", "data", "images")]
    table = [COLUMNS, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in table), ""]
    return "\n".join([*lines, footnote(results), verdict(results)])


def as_markdown(results: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# {_escape(results['name'])}", ""]
    lines += [f"- {name}: {_escape(value)}" for name, value in provenance(results)]
    lines += ["", _markdown_row(COLUMNS), _markdown_row(["---"] * len(COLUMNS))]
    lines += [_markdown_row(map(_escape, row)) for row in rows(results)]
    lines += ["", footnote(results), "", _escape(verdict(results)), ""]
    if results["features"]["rejected"]:
        lines += ["## Rejected", "", _markdown_row(("file", "reason")), _markdown_row(["---"] * 2)]
        lines += [
            _markdown_row((_escape(file["path"]), _escape(file["reason"])))
            for file in results["features"]["rejected"]
        ]
    return "\n".join(lines) + "\n"


def _estimate(raw: dict[str, Any] | None) -> Estimate | None:
    return None if raw is None else Estimate(**raw)


def _markdown_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Names are data: nothing in them may become Markdown or HTML."""
    for character in "\\`*_[]<>|#&":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
