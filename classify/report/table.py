"""The table of heads and the words around it, for a terminal and as Markdown."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from headbench.cache.format import describe_counts
from headbench.classify.heads.grid import AT_LIMIT
from headbench.classify.intervals import Estimate
from headbench.classify.report.results import Difference, HeadResult, Results
from headbench.classify.report.words import (
    advice,
    describe_duplicates,
    describe_quality,
    describe_studies,
    describe_suspects,
)
from headbench.classify.wording import (
    count,
    describe_choice,
    describe_weights,
    microseconds,
    n_bytes,
    number,
    p_value,
    percent,
    points,
    seconds,
    share,
)

IN_TERMINAL = ("weights", "data", "images")


class Column(NamedTuple):
    """A column of the table of heads: what it shows of a head, and what it is sorted by."""

    title: str
    text: Callable[[HeadResult], str]
    key: Callable[[HeadResult], float | str]


def _metric(title: str, split: str, name: str, form: Callable[[Estimate | None], str]) -> Column:
    def estimate(head: HeadResult) -> Estimate | None:
        found: Estimate | None = getattr(getattr(head, split), name)
        return found

    def key(head: HeadResult) -> float:
        found = estimate(head)
        return -1.0 if found is None else found.value

    return Column(title, lambda head: form(estimate(head)), key)


def _text(title: str, text: Callable[[HeadResult], str]) -> Column:
    return Column(title, text, text)


COLUMNS = (
    _text("head", lambda head: head.name),
    _metric("val balanced", "val", "balanced_accuracy", percent),
    _metric("val top-1", "val", "top1", percent),
    _metric("test top-1", "test", "top1", percent),
    _metric("test balanced", "test", "balanced_accuracy", percent),
    _metric("test top-5", "test", "top5", percent),
    _metric("test macro F1", "test", "macro_f1", number),
    _metric("test log loss", "test", "log_loss", number),
    _metric("test ECE", "test", "ece", number),
    Column("fit", lambda head: seconds(head.fit_seconds), lambda head: head.fit_seconds),
    Column(
        "predict an image",
        lambda head: microseconds(head.predict_seconds),
        lambda head: head.predict_seconds,
    ),
    Column("on disk", lambda head: n_bytes(head.n_bytes), lambda head: head.n_bytes),
    _text("chosen on val", lambda head: describe_choice(head.chosen)),
)
TITLES = tuple(column.title for column in COLUMNS)


def rows(results: Results) -> list[tuple[str, ...]]:
    """One row for each head, the best on val first; cells in the order of `COLUMNS`."""
    return [tuple(column.text(head) for column in COLUMNS) for head in results.heads]


def provenance(results: Results) -> list[tuple[str, str]]:
    """What the numbers stand on: name and value of each fact, the weights and the data first."""
    features, identity = results.features, results.features.identity
    splits = describe_counts(features.splits)
    return [
        ("weights", describe_weights(identity, features.weights)),
        ("backbone", f"{identity.backbone}, {identity.size_px} px, {features.dim} columns"),
        ("preprocessing", identity.preprocessing),
        ("resize", identity.resize),
        ("data", f"{features.data['folder']} ({features.data['layout']})"),
        ("images", f"{features.n_images} ({splits}), {len(features.classes)} classes"),
        ("split", features.data["split"]),
        ("rejected", count(len(features.rejected), "file")),
        ("seed of heads", ", ".join(map(str, sorted({head.seed for head in results.heads})))),
    ]


def banner(results: Results) -> str:
    """A warning about weights that are random or not ImageNet's; else empty."""
    features = results.features
    if features.has_random_weights:
        return (
            "Random weights: the network was not trained. These numbers are a demo, not a result."
        )
    if features.weights != "imagenet":
        weights = describe_weights(features.identity, features.weights)
        return f"Not ImageNet weights: {weights}. These numbers say nothing about ImageNet weights."
    return ""


def verdict(results: Results) -> str:
    """Which head to use, and how good it is; none, where the best may be no better than `prior`."""
    first = results.heads[0]
    top1, balanced, on_val = first.test.top1, first.test.balanced_accuracy, first.val
    prior = 1 / sum(each.val > 0 for each in results.features.classes)
    if on_val.balanced_accuracy.low <= prior:
        return (
            f"Use none of these heads: on val none is clearly better than prior, which always "
            f"predicts one class and has a balanced accuracy of {share(prior)}. The best, "
            f"{first.name}, has {percent(on_val.balanced_accuracy)}, n = {on_val.top1.n}. "
            "'make doctor' searches for the cause."
        )
    return (
        f"Use {first.name}: it has the best balanced accuracy on val. Its test accuracy is "
        f"{percent(top1)}, n = {top1.n}. Its balanced accuracy on test is {percent(balanced)}."
    )


def differences(results: Results, of_best: bool = True) -> list[str]:
    """How heads differ on test: the best on val from each other head, or all other pairs."""
    return [
        _difference(pair) for pair in results.comparisons if (pair.first == results.best) == of_best
    ]


def _difference(pair: Difference) -> str:
    first, second, p = pair.first, pair.second, p_value(pair.p_holm)
    if not pair.is_seen:
        return f"{first} and {second}: no difference seen ({points(pair.difference)}, {p})."
    better, worse = (first, second) if pair.difference.value > 0 else (second, first)
    return f"{better} is better than {worse} by {points(pair.of(better))}, {p}."


def footnote(results: Results) -> str:
    """How to read the table."""
    splits = results.features.splits
    return (
        f"n: val {splits['val']}, test {splits['test']} images. Brackets are 95 % confidence "
        "intervals: Wilson for top-1 and top-5, bootstrap over images for the others. Balanced "
        "accuracy is the mean recall of the classes: heads are chosen and ranked by it on val; "
        "test is measured once. Differences are those of top-1 on test: "
        "paired bootstrap, each interval on its own, and p of McNemar's exact test with Holm's "
        "correction for all pairs. Prediction is timed from cached embeddings, many at a time; of "
        "finetuned from image files." + _refit_note(results) + _limit_note(results)
    )


def _limit_note(results: Results) -> str:
    names = [head.name for head in results.heads if head.chosen.get(AT_LIMIT)]
    if not names:
        return ""
    return (
        f" At limit: {', '.join(names)} did best at the last value that was allowed, so a better "
        "one may lie beyond it (MAX_EPOCHS, MAX_ROUNDS, C_GRID; of finetuned EPOCHS)."
    )


def _refit_note(results: Results) -> str:
    refit = [head.name for head in results.heads if head.is_refit]
    if not refit:
        return ""
    return (
        f" Fitted again on train and val together, with the settings that val chose: "
        f"{', '.join(refit)}. The numbers on val were measured before that."
    )


def as_text(results: Results) -> str:
    """The table for a terminal."""
    lines = [f"{name}: {value}" for name, value in provenance(results) if name in IN_TERMINAL]
    lines += ["", *aligned([TITLES, *rows(results)]), ""]
    sentences = (verdict(results), *differences(results), *describe_studies(results))
    numbered = [f"{number}. {line}" for number, line in enumerate(advice(results), start=1)]
    return "\n".join([*lines, footnote(results), "", *sentences, "", "What next:", *numbered])


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """A line for each row, its cells below those of the row before."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def as_markdown(results: Results) -> str:
    """The report as Markdown."""
    lines = [f"# {escape(results.name)}: which head?", ""]
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
        ("Duplicates", describe_duplicates(results)),
        ("Labels that may be wrong", describe_suspects(results)),
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


def _confusions(results: Results) -> list[str]:
    pairs = [(each.true, each.given, f"{each.n} of {each.of}") for each in results.confusions]
    if not pairs:
        return []
    heading = f"## Most confused pairs of {escape(results.shown)}, test"
    return [heading, "", *_table(("true class", "predicted", "images"), pairs), ""]


def _rejected(results: Results) -> list[str]:
    files = [(each.path, each.reason) for each in results.features.rejected]
    return ["## Files left out", "", *_table(("file", "reason"), files), ""] if files else []


def _table(titles: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [titles, ("---",) * len(titles), *(tuple(map(escape, row)) for row in cells)]
    return [f"| {' | '.join(row)} |" for row in lines]
