"""The table of heads, and what stands around it in words."""

from collections.abc import Callable
from typing import Any, NamedTuple

from cache.format import describe_counts
from classify.intervals import Estimate
from classify.report.results import identity_of
from classify.wording import (
    describe_choice,
    describe_weights,
    microseconds,
    n_bytes,
    number,
    p_value,
    percent,
    points,
    seconds,
)


class Column(NamedTuple):
    """A column of the table of heads.

    Attributes
    ----------
    title : str
    text : callable
        From the results of a head to what is shown.
    key : callable
        From the same to what it is sorted by.
    """

    title: str
    text: Callable[[dict[str, Any]], str]
    key: Callable[[dict[str, Any]], float | str]


def _metric(title: str, split: str, name: str, form: Callable[[Estimate | None], str]) -> Column:
    def estimate(head: dict[str, Any]) -> Estimate | None:
        raw = head[split][name]
        return None if raw is None else Estimate(**raw)

    def key(head: dict[str, Any]) -> float:
        found = estimate(head)
        return -1.0 if found is None else found.value

    return Column(title, lambda head: form(estimate(head)), key)


COLUMNS = (
    Column("head", lambda head: str(head["name"]), lambda head: str(head["name"])),
    _metric("val top-1", "val", "top1", percent),
    _metric("test top-1", "test", "top1", percent),
    _metric("test top-5", "test", "top5", percent),
    _metric("test macro F1", "test", "macro_f1", number),
    _metric("test log loss", "test", "log_loss", number),
    _metric("test ECE", "test", "ece", number),
    Column("fit", lambda head: seconds(head["fit_seconds"]), lambda head: head["fit_seconds"]),
    Column(
        "predict an image",
        lambda head: microseconds(head["predict_seconds"]),
        lambda head: head["predict_seconds"],
    ),
    Column("on disk", lambda head: n_bytes(head["n_bytes"]), lambda head: head["n_bytes"]),
    Column(
        "chosen on val",
        lambda head: describe_choice(head["chosen"]),
        lambda head: describe_choice(head["chosen"]),
    ),
)
TITLES = tuple(column.title for column in COLUMNS)


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each head, the best on val first; cells in the order of `COLUMNS`."""
    return [tuple(column.text(head) for column in COLUMNS) for head in results["heads"]]


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
        ("seed of heads", ", ".join(str(seed) for seed in _seeds(results))),
    ]


def banner(results: dict[str, Any]) -> str:
    """What must not be overlooked: weights that are random or not ImageNet's; else empty."""
    features = results["features"]
    if features["has_random_weights"]:
        return "Random weights: the network knows nothing. These numbers are a demo, not a result."
    if features["weights"] != "imagenet":
        weights = describe_weights(identity_of(results), features["weights"])
        return f"Not ImageNet's weights: {weights}. These numbers say nothing about ImageNet's."
    return ""


def verdict(results: dict[str, Any]) -> str:
    """Which head to use, and how good it is."""
    first = results["heads"][0]
    return (
        f"Use {first['name']}, the best on val: "
        f"{percent(Estimate(**first['test']['top1']))} of the test images are classified right."
    )


def differences(results: dict[str, Any], of_best: bool = True) -> list[str]:
    """How heads differ on test: the best on val from each other head, or all other pairs."""
    return [
        _difference(pair)
        for pair in results["comparisons"]
        if (pair["first"] == results["best"]) == of_best
    ]


def _difference(pair: dict[str, Any]) -> str:
    gap = Estimate(**pair["difference"])
    if not pair["is_seen"]:
        names = f"{pair['first']} and {pair['second']}"
        return f"{names}: no difference seen ({points(gap)}, {p_value(pair['p_holm'])})."
    better, worse = pair["first"], pair["second"]
    if gap.value < 0:
        better, worse = worse, better
        gap = Estimate(-gap.value, -gap.high, -gap.low, gap.n)
    return f"{better} is better than {worse} by {points(gap)}, {p_value(pair['p_holm'])}."


def footnote(results: dict[str, Any]) -> str:
    """How to read the table."""
    splits = results["features"]["splits"]
    return (
        f"n: val {splits['val']}, test {splits['test']} images. [95 % intervals: Wilson for top-1 "
        "and top-5, bootstrap over images for the others]. Heads are chosen and ranked on val; "
        "test is for the last number. Differences: top-1 on test, paired bootstrap, each interval "
        "on its own; p of McNemar's exact test, Holm-corrected for all pairs. Prediction: from "
        "embeddings that are there, many at a time; finetuned: from image files."
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


def _seeds(results: dict[str, Any]) -> list[int]:
    return sorted({head["seed"] for head in results["heads"]})
