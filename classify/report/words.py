"""The results in sentences."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from headbench.classify.deployment import FALSE_ALARMS
from headbench.classify.deployment.prediction_sets import VAL
from headbench.classify.heads.registry import VOTE
from headbench.classify.inspection.out_of_distribution import MOST_GROUPS
from headbench.classify.intervals import Comparison
from headbench.classify.report.results import Results
from headbench.classify.run import is_finetuned
from headbench.classify.studies.folds import FoldPoint, overall
from headbench.classify.studies.learning_curve import CurvePoint, gain_of_doubling
from headbench.classify.wording import (
    END_OF_RANGE,
    aligned,
    count,
    describe_pairs,
    listed,
    number,
    p_value,
    percent,
    points,
    share,
    with_n,
)

Point = TypeVar("Point", CurvePoint, FoldPoint)


def summarize_differences(results: Results) -> str:
    """How the best head on val compares with each other head on test; empty for a single head."""
    found = describe_pairs(results.best, results.comparisons)
    return f"On test, {found}" if found else ""


def differences(results: Results) -> list[str]:
    """How heads differ in test accuracy, a sentence a pair; pairs with the best on val first."""
    ordered = sorted(results.comparisons, key=lambda pair: pair.first != results.best)
    return list(map(_difference, ordered))


def _difference(pair: Comparison) -> str:
    first, second, p = pair.first, pair.second, p_value(pair.p_holm)
    if not pair.is_seen:
        return f"{first} and {second}: no significant difference ({points(pair.difference)}, {p})."
    better, worse = (first, second) if pair.difference.value > 0 else (second, first)
    return f"{better} is better than {worse} by {points(pair.of(better))}, {p}."


def describe_quality(results: Results) -> list[str]:
    """Accuracy of the best head with its baselines, and its calibration."""
    first, classes = results.heads[0], results.features.classes
    top1, top5, on_val = first.test.top1, first.test.top5, first.val
    largest, n_there = max(classes, key=attrgetter("test")), sum(each.test > 0 for each in classes)
    lines = [
        f"Test accuracy of {first.name}: {with_n(top1)}. Always predicting {largest.name}, the "
        f"most frequent class, gives {share(largest.test / top1.n)}.",
        "Balanced accuracy on test, the mean recall of the classes: "
        f"{percent(first.test.balanced_accuracy)}. Always predicting one class gives "
        f"{share(1 / n_there)}.",
        f"On val: balanced accuracy {percent(on_val.balanced_accuracy)}, accuracy "
        f"{with_n(on_val.top1)}. The head was chosen on val, so these numbers are optimistic: "
        "quote the test accuracy.",
    ]
    if top5:
        lines.append(f"Top-5 accuracy on test: {percent(top5)}.")
    looks = results.looks_at_test.describe(first.name, top1)
    return [*lines, *_calibration(results), looks, *_warnings(results)]


def describe_curve(curve: Sequence[CurvePoint]) -> str:
    """The learning curve as text, a line a head; empty without points."""
    if not curve:
        return ""
    title = f"Validation accuracy in % by share of train (n = {curve[0].top1.n}):"
    return "\n".join([title, *aligned(curve_table(curve)), *curve_limits(curve)])


def curve_limits(curve: Sequence[CurvePoint]) -> list[str]:
    """Heads and shares where a limit ended the choice of a setting, a sentence a head."""
    limited = [point for point in curve if point.is_at_limit]
    return [
        f"{name} {END_OF_RANGE} at {listed([f'{100 * point.share:g} %' for point in group])}."
        for name, group in by_head(limited)
    ]


def curve_table(curve: Sequence[CurvePoint]) -> list[tuple[str, ...]]:
    """Validation accuracy by share of train, and the gain from twice the images; a row a head."""
    groups = by_head(curve)
    shares = [f"{100 * point.share:g} %" for point in groups[0][1]] if groups else []
    rows = [
        (name, *(f"{100 * point.top1.value:.1f}" for point in group), _gain(group))
        for name, group in groups
    ]
    return [("head", *shares, "from half of train to all"), *rows]


def describe_folds(folds: Sequence[FoldPoint]) -> str:
    """Accuracy over all folds, and the range over single folds, a line a head."""
    lines = []
    for name, group in by_head(folds):
        shares = [100 * point.n_right / point.n_images for point in group]
        lines.append(
            f"{name:10} accuracy over {len(group)} folds {with_n(overall(group))}; single folds "
            f"{min(shares):.1f} to {max(shares):.1f} %{_limited(group)}"
        )
    return "\n".join(lines)


def _limited(folds: Sequence[FoldPoint]) -> str:
    n_limited = sum(fold.is_at_limit for fold in folds)
    return f"; {END_OF_RANGE} in {n_limited} of {len(folds)}" if n_limited else ""


def describe_sets(results: Results) -> list[str]:
    """What prediction sets are, and what they were calibrated on."""
    sets = results.prediction_sets.coverages[0].sets
    lines = [
        "A prediction set holds the classes that are possible: the true one is among them with the "
        "probability that is asked for ('headbench predict --coverage 0.9').",
        f"The sets of {results.shown} are calibrated on {sets.calibrated_on}. The table shows what "
        f"they reach on test (n = {results.features.splits['test']}).",
    ]
    if sets.source == VAL and results.shown != VOTE and not is_finetuned(results.shown):
        lines.append("'headbench heads --folds 5' calibrates on images that chose nothing.")
    return lines


def sets_table(results: Results) -> list[tuple[str, ...]]:
    """Prediction sets on test, a row for each coverage that may be asked for, under titles."""
    titles = ("asked for", "reached on test", "classes in a set", "sets of one class")
    rows = [
        (
            f"{100 * each.sets.coverage:g} %",
            percent(each.reached),
            number(each.mean_size) if each.sets.min_probability > 0 else "all: too few images",
            percent(each.single),
        )
        for each in results.prediction_sets.coverages
    ]
    return [titles, *rows]


def describe_out_of_distribution(results: Results) -> list[str]:
    """How well images of no class are told from others, and how often others are taken for them."""
    found = results.out_of_distribution
    lines = [
        f"False alarms: {with_n(found.false_alarms)} of the images of test have a typicality of "
        f"{FALSE_ALARMS:g} or less and would be reported as of none of the classes; "
        f"{share(FALSE_ALARMS)} were asked for."
    ]
    if found.auroc is not None:
        is_each = len(results.features.classes) <= MOST_GROUPS
        lines.append(
            f"With {'each class' if is_each else 'a tenth of the classes'} left out in turn, AUROC "
            f"{number(found.auroc)} (n = {found.auroc.n} images of val): so often an image of a "
            "class that was left out lies farther from the other classes than one of theirs. 0.5 "
            "is chance. This is the hard case, classes of the same kind; pictures of another kind "
            "are easier to tell."
        )
    if is_finetuned(results.shown):
        lines.append(
            "Both are of the network before fine-tuning: predictions of a fine-tuned network have "
            "no typicality."
        )
    return lines


def describe_duplicates(results: Results) -> list[str]:
    """How many pairs of duplicates lie in different splits or under different labels."""
    found = results.duplicates
    only_exact = (
        " Only exact copies were searched for: these embeddings are too weak to find "
        "near-duplicates."
        if found.threshold is None
        else ""
    )
    if not found.n_pairs:
        return ["No duplicates in different splits or under different labels." + only_exact]
    lines = [
        f"{count(found.n_pairs, 'pair')} of duplicates in different splits or under different "
        f"labels: {count(found.n_exact, 'pair')} of exact copies, "
        f"{count(found.n_pairs - found.n_exact, 'pair')} of near-duplicates." + only_exact
    ]
    n_labels = sum(pair.first.class_ != pair.second.class_ for pair in found.pairs)
    if n_labels:
        lines.append(
            f"{n_labels} of the {count(len(found.pairs), 'pair')} listed in results.json have "
            "different labels."
        )
    return lines


def describe_suspects(results: Results) -> list[str]:
    """How many labels may be wrong, and by which head's probabilities."""
    found = results.suspects
    if found is None:
        return [
            'Not searched for: cleanlab is not installed. Run pip install "headbench[suspects]", '
            "then 'headbench report' again. 'headbench heads --folds 5' adds the images of train "
            "and val."
        ]
    accuracy = 100 * results.head(found.head).test.top1.value
    lines = [
        f"{found.n_suspects} of {found.n_looked_at} images may have a wrong label, the most "
        f"suspicious first. Method: confident learning, with probabilities of {found.head} from "
        "fits without the image.",
        f"The test accuracy of {found.head} is {accuracy:.0f} %. The lower it is, the more of "
        "these images are only hard to classify: look at an image before you change its label.",
    ]
    if not results.folds:
        lines.append(
            "Only images of test were searched; 'headbench heads --folds 5' adds those of train "
            "and val."
        )
    return lines


def _calibration(results: Results) -> list[str]:
    found = results.reliability
    sentence = (
        f"Calibration of {results.shown} on test: confidence and accuracy differ by "
        f"{100 * found.after.ece:.1f} points on average (ECE)."
    )
    if found.before is None:
        return [sentence]
    return [
        f"{sentence} Without temperature scaling it would be {100 * found.before.ece:.1f} points; "
        f"the temperature, {found.temperature:.2f}, was fitted on val."
    ]


def _warnings(results: Results) -> list[str]:
    splits = ({pair.first.split, pair.second.split} for pair in results.duplicates.pairs)
    if not any("test" in each and len(each) > 1 for each in splits):
        return []
    return [
        "Some test images have duplicates in other splits (see below): they make the accuracy look "
        "higher than it is."
    ]


def _gain(group: Sequence[CurvePoint]) -> str:
    gain = gain_of_doubling(group)
    if gain.low <= 0 <= gain.high:
        return f"{points(gain)}, no gain seen"
    if gain.value < 0:
        return f"{points(gain)}, a loss"
    return f"{points(gain)}; more photographs should help"


def by_head(study: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """Points of a study, grouped by head."""
    ordered = sorted(study, key=attrgetter("head"))
    return [(name, list(group)) for name, group in groupby(ordered, key=attrgetter("head"))]
