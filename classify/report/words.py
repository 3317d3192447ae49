"""The results in sentences, and what to do next."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from headbench.classify.report.results import Results
from headbench.classify.run import is_finetuned
from headbench.classify.studies.folds import FoldPoint, overall
from headbench.classify.studies.learning_curve import CurvePoint, gain_of_doubling
from headbench.classify.wording import count, percent, points, share

IMAGENET = "imagenet"
FULL_SIZE_PX = 224
# A class with a third of the images of the largest is rare.
RARE = 3
Point = TypeVar("Point", CurvePoint, FoldPoint)


def describe_quality(results: Results) -> list[str]:
    """How far the accuracy of the best head can be trusted."""
    first, classes = results.heads[0], results.features.classes
    top1, top5, on_val = first.test.top1, first.test.top5, first.val
    largest, n_there = max(classes, key=attrgetter("test")), sum(each.test > 0 for each in classes)
    lines = [
        f"Test accuracy of {first.name}: {percent(top1)}, n = {top1.n}. Brackets are 95 % "
        f"confidence intervals; chance is {share(largest.test / top1.n)}, by always answering "
        f"{largest.name}.",
        f"Balanced accuracy on test, the mean recall of the classes: "
        f"{percent(first.test.balanced_accuracy)}; chance is {share(1 / n_there)}.",
        f"On val: balanced accuracy {percent(on_val.balanced_accuracy)}, accuracy "
        f"{percent(on_val.top1)}, n = {on_val.top1.n}. The head was chosen by its balanced "
        "accuracy on val, so quote the test accuracy.",
    ]
    if top5:
        lines.append(f"The true class is among the five most probable for {percent(top5)}.")
    return lines + _calibration(results) + _warnings(results)


def describe_curve(curve: Sequence[CurvePoint]) -> str:
    """Validation accuracy by share of train, and whether twice the images helped, a line a head."""
    lines = []
    for name, group in _by_head(curve):
        steps = ", ".join(
            f"{100 * point.share:g} % {100 * point.top1.value:.1f}" for point in group
        )
        lines.append(
            f"{name:10} val top-1 on a share of train: {steps}. From half to all: {_gain(group)}"
        )
    return "\n".join(lines)


def describe_gains(curve: Sequence[CurvePoint]) -> list[str]:
    """Whether twice the images helped, a sentence a head."""
    return [
        f"{name}: from half of the training images to all, {_gain(group)}"
        for name, group in _by_head(curve)
    ]


def describe_folds(folds: Sequence[FoldPoint]) -> str:
    """Accuracy over all folds, and the range over them, a line a head."""
    lines = []
    for name, group in _by_head(folds):
        shares = [100 * point.n_right / point.n_images for point in group]
        total = overall(group)
        lines.append(
            f"{name:10} top-1 over {len(group)} folds {percent(total)} (n={total.n}), "
            f"folds {min(shares):.1f} to {max(shares):.1f} %"
        )
    return "\n".join(lines)


def describe_studies(results: Results) -> list[str]:
    """The learning curve and cross-validation, a line a head; empty if neither was run."""
    curve = describe_curve(results.learning_curve)
    return curve.splitlines() + describe_folds(results.folds).splitlines()


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
        f"labels: {found.n_exact} exact copies, the others look the same to the network."
        + only_exact
    ]
    n_labels = sum(pair.first.class_ != pair.second.class_ for pair in found.pairs)
    if n_labels:
        lines.append(f"Under two labels: {n_labels} of the {len(found.pairs)} in results.json.")
    return lines


def describe_suspects(results: Results) -> list[str]:
    """How many labels may be wrong, and by which head's probabilities."""
    found = results.suspects
    if found is None:
        return [
            "Not searched for: cleanlab is not installed. Run 'make install EXTRAS=suspects', then "
            "'make report' again. 'make heads FOLDS=5' adds the images of train and val."
        ]
    accuracy = 100 * results.head(found.head).test.top1.value
    lines = [
        f"{found.n_suspects} of {found.n_looked_at} images look mislabelled by the probabilities "
        f"of {found.head}, which was not fitted on them (confident learning). The most suspicious "
        f"stand first. Its test accuracy is {accuracy:.0f} %: the lower that is, the more of these "
        "images are only hard. Look before you change a label."
    ]
    if not results.folds:
        lines.append("Images of test only; 'make heads FOLDS=5' adds those of train and val.")
    return lines


def advice(results: Results) -> list[str]:
    """What to do next, what helps the most first."""
    parts = (_weights, _labels, _duplicates, _photographs, _finetuning, _confusions, _rare)
    return [sentence for part in parts for sentence in part(results)]


def _calibration(results: Results) -> list[str]:
    found, name = results.reliability, results.shown
    sentence = (
        f"Calibration of {name}: probability and accuracy differ by "
        f"{100 * found.after.ece:.1f} points on average (ECE)"
    )
    if found.before is None:
        return [f"{sentence}."]
    return [
        f"{sentence}, {100 * found.before.ece:.1f} before the temperature of "
        f"{found.temperature:.2f} that was fitted on val."
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
        return f"{points(gain)}, no gain seen."
    if gain.value < 0:
        return f"{points(gain)}, a loss."
    return f"{points(gain)}; more photographs should help."


def _by_head(study: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    ordered = sorted(study, key=attrgetter("head"))
    return [(name, list(group)) for name, group in groupby(ordered, key=attrgetter("head"))]


def _weights(results: Results) -> Iterator[str]:
    features = results.features
    if features.has_random_weights:
        yield "Extract with trained weights (make features WEIGHTS=imagenet): these are random."
    elif features.weights != IMAGENET and features.identity.weights_hash != "none":
        yield (
            "Try ImageNet weights (make features WEIGHTS=imagenet), unless you chose these on "
            "purpose."
        )
    size_px = features.identity.size_px
    if size_px < FULL_SIZE_PX:
        yield (
            f"Extract at {FULL_SIZE_PX} px (make features SIZE={FULL_SIZE_PX}) and compare: most "
            f"networks were trained at that size, and these embeddings are of {size_px} px."
        )


def _labels(results: Results) -> Iterator[str]:
    suspects = results.suspects
    if suspects is None:
        yield (
            "Search for wrong labels: make install EXTRAS=suspects, make heads FOLDS=5, make "
            "report."
        )
    elif suspects.n_suspects:
        yield (
            "Check the labels of images that look mislabelled, the most suspicious first "
            f"({suspects.n_suspects} of {suspects.n_looked_at})."
        )
    if suspects is not None and not results.folds:
        yield "Search for wrong labels in train and val too: make heads FOLDS=5, make report."
    n_rejected = len(results.features.rejected)
    if n_rejected:
        yield f"Repair or delete what could not be used: {count(n_rejected, 'file')}."


def _duplicates(results: Results) -> Iterator[str]:
    n_pairs = results.duplicates.n_pairs
    if n_pairs:
        yield (
            f"Look at the duplicates, {count(n_pairs, 'pair')}: those in two splits make the test "
            "accuracy look higher than it is, those under two labels mislead training."
        )


def _photographs(results: Results) -> Iterator[str]:
    best = _best_on_curve(results)
    if not best:
        yield "Find out whether more photographs would help: make heads CURVE=1, make report."
        return
    name, gain = best[0].head, gain_of_doubling(best)
    if gain.low > 0:
        yield (
            "Collect more photographs: from half of them to all, the validation accuracy of "
            f"{name} changed by {points(gain)}."
        )
    else:
        yield (
            "No gain from more photographs of the same kind is seen: from half of them to all, the "
            f"validation accuracy of {name} changed by {points(gain)}."
        )


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
            yield (
                "Fine-tune the last block (make finetune): it starts from logreg and takes longer."
            )
        return
    for pair in results.comparisons:
        tuned, other = sorted((pair.first, pair.second), key=is_finetuned, reverse=True)
        if is_finetuned(tuned) and other == "logreg" and not pair.is_seen:
            yield (
                f"No difference is seen between {tuned} and logreg "
                f"({points(pair.of(tuned))}): use logreg, or train more of the network "
                "(make finetune UNFREEZE=block4)."
            )


def _confusions(results: Results) -> Iterator[str]:
    if results.confusions:
        worst = results.confusions[0]
        yield (
            f"Look at {worst.true} and {worst.given}: {worst.n} of {worst.of} images of the first "
            "are mistaken for the second. Are the labels clear, and does the crop show what tells "
            "them apart?"
        )


def _rare(results: Results) -> Iterator[str]:
    classes = results.features.classes
    rarest = min(classes, key=attrgetter("train"))
    if rarest.train * RARE <= max(each.train for each in classes):
        yield (
            f"Collect more of the rare classes, such as {rarest.name} ({rarest.train} in train), "
            "or give them the same total weight (make heads CLASS_WEIGHT=balanced)."
        )
