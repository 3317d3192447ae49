"""The table of heads and the sentences around it, for a terminal and as Markdown."""

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import NamedTuple

from headbench.cache.format import describe_counts
from headbench.classify.intervals import Estimate
from headbench.classify.report.advice import advice
from headbench.classify.report.results import HeadResult, Results
from headbench.classify.report.words import (
    curve_limits,
    curve_table,
    describe_duplicates,
    describe_folds,
    describe_out_of_distribution,
    describe_quality,
    describe_sets,
    describe_suspects,
    differences,
    sets_table,
    summarize_differences,
)
from headbench.classify.wording import (
    END_OF_RANGE,
    aligned,
    beyond,
    count,
    describe_choice,
    describe_weights,
    listed,
    microseconds,
    n_bytes,
    number,
    percent,
    seconds,
    share,
    with_n,
    wrapped,
)

# In a terminal: the first things to do, and as much of a long choice as fits on a line.
MOST_ADVICE = 4
CHOICE_WIDTH = 32


class Column(NamedTuple):
    """A column of the table of heads: its text and its sort key for a head.

    Attributes
    ----------
    is_short : bool
        It is in the short table too, for terminals and notebooks.
    """

    title: str
    text: Callable[[HeadResult], str]
    key: Callable[[HeadResult], float | str]
    is_short: bool


def _metric(
    title: str,
    split: str,
    name: str,
    form: Callable[[Estimate | None], str] = percent,
    is_short: bool = False,
) -> Column:
    def estimate(head: HeadResult) -> Estimate | None:
        found: Estimate | None = getattr(getattr(head, split), name)
        return found

    def key(head: HeadResult) -> float:
        found = estimate(head)
        return -1.0 if found is None else found.value

    return Column(title, lambda head: form(estimate(head)), key, is_short)


def _text(title: str, text: Callable[[HeadResult], str]) -> Column:
    return Column(title, text, text, is_short=True)


COLUMNS = (
    _text("head", lambda head: head.name),
    _metric("val balanced", "val", "balanced_accuracy", is_short=True),
    _metric("test accuracy", "test", "top1", is_short=True),
    _metric("test balanced", "test", "balanced_accuracy", is_short=True),
    _metric("val accuracy", "val", "top1"),
    _metric("test top-5", "test", "top5"),
    _metric("test macro F1", "test", "macro_f1", number),
    _metric("test log loss", "test", "log_loss", number),
    _metric("test ECE", "test", "ece", number),
    Column("fit", lambda head: seconds(head.fit_seconds), lambda head: head.fit_seconds, True),
    Column(
        "predict an image",
        lambda head: microseconds(head.predict_seconds),
        lambda head: head.predict_seconds,
        is_short=False,
    ),
    Column("on disk", lambda head: n_bytes(head.n_bytes), lambda head: head.n_bytes, False),
    _text("chosen on val", lambda head: describe_choice(head.chosen)),
)
SHORT_COLUMNS = tuple(column for column in COLUMNS if column.is_short)
TITLES = tuple(column.title for column in COLUMNS)


def rows(results: Results, columns: Sequence[Column] = COLUMNS) -> list[tuple[str, ...]]:
    """One row for each head, the best on val first; cells in the order of `columns`."""
    return [tuple(column.text(head) for column in columns) for head in results.heads]


def provenance(results: Results) -> list[tuple[str, str]]:
    """What the numbers are based on: name and value of each fact, the weights first."""
    features, identity = results.features, results.features.identity
    splits = describe_counts(features.splits)
    return [
        ("weights", describe_weights(identity, features.weights)),
        ("backbone", f"{identity.network}, {identity.size_px} px, {features.dim} columns"),
        ("preprocessing", identity.preprocessing),
        ("resize", identity.resize),
        *([("views", identity.views)] if identity.views else []),
        ("data", f"{features.data['folder']} ({features.data['layout']})"),
        ("images", f"{features.n_images} ({splits}), {len(features.classes)} classes"),
        ("split", features.data["split"]),
        ("rejected", count(len(features.rejected), "file")),
        ("seed of heads", ", ".join(map(str, sorted({head.seed for head in results.heads})))),
        ("made", results.created.replace("T", " ").replace("+00:00", " UTC")),
    ]


def banner(results: Results) -> str:
    """A warning about weights that are random, or come from a file; else empty."""
    features = results.features
    if features.has_random_weights:
        return (
            "RANDOM WEIGHTS: the network was not trained. These numbers are a demo, not a result."
        )
    if features.weights != "imagenet":
        weights = describe_weights(features.identity, features.weights)
        return (
            f"Weights of a file: {weights}. If they are not ImageNet's, do not compare these "
            "numbers with published ones."
        )
    return ""


def verdict(results: Results) -> str:
    """Which head to use and its accuracy; none if no head is clearly better than `prior`."""
    first = results.heads[0]
    on_val = first.val.balanced_accuracy
    prior = 1 / sum(each.val > 0 for each in results.features.classes)
    if on_val.low <= prior:
        return (
            "Use none of these heads: on val, none is clearly better than always predicting one "
            f"class, which has a balanced accuracy of {share(prior)}. The best, {first.name}, has "
            f"{with_n(on_val)}. Run 'headbench doctor' to search for the cause."
        )
    return (
        f"Use {first.name}: test accuracy {with_n(first.test.top1)}. It has the best balanced "
        f"accuracy on val, {share(on_val.value)}."
    )


def notes(results: Results) -> list[str]:
    """What the table needs to be read: marks in it, n, and how heads are ranked."""
    splits, looks, first = results.features.splits, results.looks_at_test, results.heads[0]
    return [
        *_limit_note(results),
        *_refit_note(results),
        *([looks.describe(first.name, first.test.top1)] if looks.n_sets > 1 else []),
        f"n = {splits['val']} images of val, {splits['test']} of test. Brackets: 95 % confidence "
        "intervals. Balanced accuracy is the mean recall of the classes; heads are ranked by it "
        "on val.",
    ]


def method() -> str:
    """How the numbers were measured."""
    return (
        "Heads are chosen on val, and measured on test. Intervals: Wilson for accuracy and top-5, "
        "bootstrap over images for the other metrics. Differences are those of test accuracy, "
        "paired by image: bootstrap intervals, not corrected, and p by McNemar's exact test with "
        "Holm's correction for all pairs. Fit is the time of the whole fit, with the choice on "
        "val. Prediction is timed from cached embeddings, many at a time; for fine-tuned networks "
        "from image files."
    )


def _limit_note(results: Results) -> list[str]:
    ended = {head.name: beyond(head.chosen) for head in results.heads}
    options = [f"{listed(found)} for {name}" for name, found in ended.items() if found]
    if not options:
        return []
    return [
        f"{END_OF_RANGE} or not converged: a limit ended the search, so a better value may lie "
        f"beyond it. To search further, set {listed(options)}."
    ]


def _refit_note(results: Results) -> list[str]:
    refit = [head.name for head in results.heads if head.is_refit]
    if not refit:
        return []
    return [
        f"Fitted again on train and val together, with the settings that val chose: "
        f"{listed(refit)}. The numbers on val were measured before that."
    ]


def answer(results: Results) -> str:
    """Which head to use, and what must be known of it; as wide as a terminal."""
    return "\n".join(wrapped(each) for each in (banner(results), verdict(results)) if each)


def as_text(results: Results) -> str:
    """The answer, a table that fits a terminal, the differences, and what to do next."""
    table = [[column.title for column in SHORT_COLUMNS], *rows(results, SHORT_COLUMNS)]
    short = [(*row[:-1], shorten(row[-1], CHOICE_WIDTH, placeholder=" ...")) for row in table]
    parts = [
        answer(results),
        "\n".join(aligned(short)),
        "\n".join(map(wrapped, notes(results))),
        wrapped(summarize_differences(results)),
        "\n".join(_next(advice(results))),
    ]
    return "\n\n".join(filter(None, parts))


def _next(sentences: Sequence[str]) -> list[str]:
    n_more = len(sentences) - MOST_ADVICE
    more = f" ({n_more} more in results.md)" if n_more > 0 else ""
    first = enumerate(sentences[:MOST_ADVICE], start=1)
    return [f"What next{more}:", *(wrapped(line, f"{at}. ", "   ") for at, line in first)]


def as_markdown(results: Results) -> str:
    """The report as Markdown: the answer and the whole table first, what made it last."""
    lines = [f"# {escape(results.name)}: which head?", ""]
    if banner(results):
        lines += [f"**{escape(banner(results))}**", ""]
    lines += [escape(verdict(results)), "", *markdown_table(TITLES, rows(results)), ""]
    lines += _list([*notes(results), *filter(None, [summarize_differences(results)])])
    for title, sentences in (
        ("What should I do next?", advice(results)),
        ("How good is it really?", describe_quality(results)),
        ("Differences on test", differences(results)),
        ("Is it any of these classes?", describe_out_of_distribution(results)),
        ("Which classes are possible?", describe_sets(results)),
        ("Cross-validation", describe_folds(results.folds).splitlines()),
        ("Duplicates", describe_duplicates(results)),
        ("Labels that may be wrong", describe_suspects(results)),
    ):
        if sentences:
            lines += [f"## {title}", "", *_list(sentences)]
    lines += _table(f"Prediction sets of {escape(results.shown)}, test", *sets_table(results))
    lines += _curve(results) + confusions(results)
    rejected = [(each.path, each.reason) for each in results.features.rejected]
    lines += _table("Files left out", ("file", "reason"), *rejected)
    facts = [f"{name}: {value}" for name, value in provenance(results)]
    return "\n".join([*lines, "## How it was made", "", *_list([*facts, method()])])


def _list(sentences: Sequence[str]) -> list[str]:
    return [*(f"- {escape(each)}" for each in sentences), ""] if sentences else []


def escape(text: str) -> str:
    """Names are data: nothing in them may become Markdown or HTML."""
    for character in "\\`*_[]<>|#&":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _curve(results: Results) -> list[str]:
    heading = "Learning curve: validation accuracy in % by share of train"
    table = _table(heading, *curve_table(results.learning_curve))
    return [*table, *_list(curve_limits(results.learning_curve))]


def confusions(results: Results) -> list[str]:
    """The most confused pairs of classes with a heading; empty if there are none."""
    pairs = [(each.true, each.given, f"{each.n} of {each.of}") for each in results.confusions]
    titles = ("true class", "predicted class", "images")
    return _table(f"Most confused pairs of {escape(results.shown)}, test", titles, *pairs)


def _table(heading: str, titles: tuple[str, ...], *cells: tuple[str, ...]) -> list[str]:
    """Lines of a table under a heading; none without cells."""
    return [f"## {heading}", "", *markdown_table(titles, cells), ""] if cells else []


def markdown_table(titles: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table; what is in its cells is escaped."""
    lines = [titles, ("---",) * len(titles), *(tuple(map(escape, row)) for row in cells)]
    return [f"| {' | '.join(row)} |" for row in lines]
