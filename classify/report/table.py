"""The table of heads, as text and as Markdown."""

from typing import Any

from cache.format import describe_counts
from classify.bootstrap import Estimate
from classify.report.results import identity_of
from classify.report.studies import describe_curve, describe_folds
from classify.wording import describe_choice, describe_weights, number, percent, points, seconds

COLUMNS = (
    "head",
    "val top-1",
    "test top-1",
    "test top-5",
    "test macro F1",
    "test log loss",
    "test ECE (val: before, after)",
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
            _calibration(head),
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
    """Which head to use, and how good it is."""
    first = results["heads"][0]
    return (
        f"Use {first['name']}, the best on val: "
        f"{percent(_estimate(first['test']['top1']))} of the test images are classified right."
    )


def differences(results: dict[str, Any]) -> list[str]:
    """Whether the best on val differs from each other head on test, a sentence each."""
    return [
        _difference(pair) for pair in results["comparisons"] if pair["first"] == results["best"]
    ]


def _difference(pair: dict[str, Any]) -> str:
    gap = Estimate(**pair["difference"])
    if not pair["is_seen"]:
        names = f"{pair['first']} and {pair['second']}"
        return f"{names}: no difference seen ({points(gap)}, p {pair['p_holm']:.2g})."
    better, worse = pair["first"], pair["second"]
    if gap.value < 0:
        better, worse = worse, better
        gap = Estimate(-gap.value, -gap.high, -gap.low, gap.n)
    return f"{better} is better than {worse} by {points(gap)}, p {pair['p_holm']:.2g}."


def studies(results: dict[str, Any]) -> list[str]:
    """The learning curve and cross-validation, a line a head; empty where there are none."""
    lines = []
    if results["learning_curve"]:
        lines += describe_curve(results["learning_curve"]).splitlines()
    if results["folds"]:
        lines += describe_folds(results["folds"]).splitlines()
    return lines


def footnote(results: dict[str, Any]) -> str:
    """How to read the table."""
    splits = results["features"]["splits"]
    return (
        f"n: val {splits['val']}, test {splits['test']} images. [95 % intervals: Wilson for top-1 "
        "and top-5, bootstrap over images for the others]. Heads are chosen and ranked on val; "
        "test is for the last number. Differences: top-1 on test, paired bootstrap, each interval "
        "on its own; p of McNemar's exact test, Holm-corrected for all pairs."
        + _refit_note(results)
    )


def _refit_note(results: dict[str, Any]) -> str:
    refit = [head["name"] for head in results["heads"] if head["is_refit"]]
    if not refit:
        return ""
    return (
        f" Fitted anew on train and val together with what val had chosen: {', '.join(refit)}; "
        "their numbers on val are from before."
    )


def as_text(results: dict[str, Any]) -> str:
    """The table for a terminal."""
    facts = provenance(results)
    lines = [f"{name}: {value}" for name, value in facts if name in ("weights", "data", "images")]
    table = [COLUMNS, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in table), ""]
    return "\n".join(
        [*lines, footnote(results), "", verdict(results), *differences(results), *studies(results)]
    )


def as_markdown(results: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# {_escape(results['name'])}", ""]
    lines += [f"- {name}: {_escape(value)}" for name, value in provenance(results)]
    lines += ["", _markdown_row(COLUMNS), _markdown_row(["---"] * len(COLUMNS))]
    lines += [_markdown_row(map(_escape, row)) for row in rows(results)]
    lines += ["", footnote(results), "", _escape(verdict(results)), ""]
    lines += [f"- {_escape(each)}" for each in (*differences(results), *studies(results))]
    lines += [""]
    if results["features"]["rejected"]:
        lines += ["## Rejected", "", _markdown_row(("file", "reason")), _markdown_row(["---"] * 2)]
        lines += [
            _markdown_row((_escape(file["path"]), _escape(file["reason"])))
            for file in results["features"]["rejected"]
        ]
    return "\n".join(lines) + "\n"


def _calibration(head: dict[str, Any]) -> str:
    """Calibration error on test, and on val before and after the temperature."""
    after = number(Estimate(**head["test"]["ece"]))
    ece = head["calibration"].get("ece")
    return f"{after} ({ece[0]:.2f}, {ece[1]:.2f})" if ece else after


def _estimate(raw: dict[str, Any] | None) -> Estimate | None:
    return None if raw is None else Estimate(**raw)


def _markdown_row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Names are data: nothing in them may become Markdown or HTML."""
    for character in "\\`*_[]<>|#&":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
