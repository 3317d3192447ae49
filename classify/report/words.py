"""The results in sentences, and what to do next."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from headbench.classify.report.results import Difference, Results
from headbench.classify.run import is_finetuned
from headbench.classify.studies.folds import FoldPoint, overall
from headbench.classify.studies.learning_curve import CurvePoint, gain_of_doubling
from headbench.classify.wording import (
    aligned,
    count,
    listed,
    p_value,
    percent,
    points,
    share,
    with_n,
)

IMAGENET = "imagenet"
FULL_SIZE_PX = 224
# A class with a third of the images of the largest is rare.
RARE = 3
Point = TypeVar("Point", CurvePoint, FoldPoint)


def summarize_differences(results: Results) -> str:
    """How the best head on val compares with each other head on test; empty for a single head."""
    best = results.best
    better: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for pair in (each for each in results.comparisons if each.first == best):
        is_ahead = pair.difference.value > 0
        (same if not pair.is_seen else better if is_ahead else worse).append(pair.second)
    phrases = [
        f"is significantly better than {listed(better)}" if better else "",
        f"is significantly worse than {listed(worse)}" if worse else "",
        f"does not differ significantly from {listed(same)}" if same else "",
    ]
    found = ". It ".join(filter(None, phrases))
    return f"On test, {best} {found}." if found else ""


def differences(results: Results) -> list[str]:
    """How heads differ in test accuracy, a sentence a pair; pairs with the best on val first."""
    ordered = sorted(results.comparisons, key=lambda pair: pair.first != results.best)
    return list(map(_difference, ordered))


def _difference(pair: Difference) -> str:
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
    return lines + _calibration(results) + _warnings(results)


def describe_curve(curve: Sequence[CurvePoint]) -> str:
    """The learning curve as text, a line a head; empty without points."""
    if not curve:
        return ""
    title = f"Validation accuracy in % by share of train (n = {curve[0].top1.n}):"
    return "\n".join([title, *aligned(curve_table(curve))])


def curve_table(curve: Sequence[CurvePoint]) -> list[tuple[str, ...]]:
    """Validation accuracy by share of train, and the gain from twice the images; a row a head."""
    groups = _by_head(curve)
    shares = [f"{100 * point.share:g} %" for point in groups[0][1]] if groups else []
    rows = [
        (name, *(f"{100 * point.top1.value:.1f}" for point in group), _gain(group))
        for name, group in groups
    ]
    return [("head", *shares, "from half of train to all"), *rows]


def describe_folds(folds: Sequence[FoldPoint]) -> str:
    """Accuracy over all folds, and the range over single folds, a line a head."""
    lines = []
    for name, group in _by_head(folds):
        shares = [100 * point.n_right / point.n_images for point in group]
        lines.append(
            f"{name:10} accuracy over {len(group)} folds {with_n(overall(group))}; single folds "
            f"{min(shares):.1f} to {max(shares):.1f} %"
        )
    return "\n".join(lines)


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
            "Not searched for: cleanlab is not installed. Run 'make install EXTRAS=suspects', then "
            "'headbench report' again. 'headbench heads --folds 5' adds the images of train and "
            "val."
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


def advice(results: Results) -> list[str]:
    """What to do next, what helps the most first."""
    parts = (_weights, _labels, _duplicates, _photographs, _finetuning, _confusions, _rare)
    return [sentence for part in parts for sentence in part(results)]


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


def _by_head(study: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    ordered = sorted(study, key=attrgetter("head"))
    return [(name, list(group)) for name, group in groupby(ordered, key=attrgetter("head"))]


def _weights(results: Results) -> Iterator[str]:
    features = results.features
    if features.has_random_weights:
        yield "Use trained weights: 'headbench features DATA --weights imagenet --overwrite'."
    elif features.weights != IMAGENET and features.identity.weights_hash != "none":
        yield (
            "Try ImageNet weights: 'headbench features DATA --weights imagenet --name "
            f"{_beside(results, IMAGENET)}'."
        )
    size_px = features.identity.size_px
    if size_px < FULL_SIZE_PX:
        yield (
            f"Try {FULL_SIZE_PX} px, the size of most networks: 'headbench features DATA --size "
            f"{FULL_SIZE_PX} --name {_beside(results, str(FULL_SIZE_PX))}'."
        )


def _beside(results: Results, suffix: str) -> str:
    """The name of another run, to compare with this one."""
    return shlex.quote(f"{results.name}-{suffix}")


def _labels(results: Results) -> Iterator[str]:
    suspects = results.suspects
    if suspects is None:
        yield (
            "Search for wrong labels: 'make install EXTRAS=suspects', then 'headbench heads "
            "--folds 5' and 'headbench report'."
        )
    elif suspects.n_suspects:
        yield (
            f"Look at the images whose label may be wrong, the most suspicious first: "
            f"{suspects.n_suspects} of {suspects.n_looked_at} searched."
        )
    if suspects is not None and not results.folds:
        yield (
            "Search train and val for wrong labels: 'headbench heads --folds 5', then 'headbench "
            "report'."
        )
    n_rejected = len(results.features.rejected)
    if n_rejected:
        yield f"Repair or delete {count(n_rejected, 'file')} that could not be used."


def _duplicates(results: Results) -> Iterator[str]:
    n_pairs = results.duplicates.n_pairs
    if n_pairs:
        yield (
            f"Look at {count(n_pairs, 'pair')} of duplicates. Copies in two splits make the test "
            "accuracy look higher than it is; copies with two labels mislead training."
        )


def _photographs(results: Results) -> Iterator[str]:
    best = _best_on_curve(results)
    if not best:
        yield (
            "Find out whether more photographs would help: 'headbench heads --curve', then "
            "'headbench report'."
        )
        return
    name, gain = best[0].head, gain_of_doubling(best)
    changed = (
        f"from half of train to all of it, the validation accuracy of {name} changed by "
        f"{points(gain)}."
    )
    if gain.low > 0:
        yield f"Collect more photographs: {changed}"
    else:
        yield f"Expect no large gain from more photographs of the same kind: {changed}"


def _best_on_curve(results: Results) -> list[CurvePoint]:
    """The curve of the head that ends highest; empty without any."""
    curves = [group for _, group in _by_head(results.learning_curve)]

    def last(curve: list[CurvePoint]) -> float:
        return max(curve, key=attrgetter("n_images")).top1.value

    return max(curves, key=last, default=[])


def _finetuning(results: Results) -> Iterator[str]:
    names = [head.name for head in results.heads]
    if not any(map(is_finetuned, names)):
        if "logreg" in names and results.features.identity.weights_hash != "none":
            yield "Fine-tune the last block, which starts from logreg: 'headbench finetune'."
        return
    for pair in results.comparisons:
        tuned, other = sorted((pair.first, pair.second), key=is_finetuned, reverse=True)
        if is_finetuned(tuned) and other == "logreg" and not pair.is_seen:
            yield (
                f"Use logreg instead of {tuned}, or train more of the network ('headbench finetune "
                f"--unfreeze block4'): on test, {tuned} differs by {points(pair.of(tuned))}, which "
                "is not significant."
            )


def _confusions(results: Results) -> Iterator[str]:
    worst = next(iter(results.confusions), None)
    # A pair that was confused once shows no pattern.
    if worst and worst.n > 1:
        yield (
            f"Look at {worst.true} and {worst.given}: {worst.n} of {worst.of} images of "
            f"{worst.true} are predicted as {worst.given}. Are the labels clear, and does the crop "
            "show the difference?"
        )


def _rare(results: Results) -> Iterator[str]:
    classes = results.features.classes
    rarest = min(classes, key=attrgetter("train"))
    if rarest.train * RARE <= max(each.train for each in classes):
        yield (
            f"Collect more images of rare classes, such as {rarest.name} ({rarest.train} in "
            "train), or give all classes the same total weight: 'headbench heads --class-weight "
            "balanced'."
        )
