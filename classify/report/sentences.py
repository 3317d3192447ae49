"""What the numbers say, in sentences."""

from itertools import groupby
from operator import itemgetter
from typing import Any

from classify.intervals import Estimate
from classify.studies.folds import overall
from classify.studies.learning_curve import gain_of_doubling
from classify.wording import count, percent, points


def describe_quality(results: dict[str, Any]) -> list[str]:
    """How far the accuracy of the best head can be trusted."""
    first = results["heads"][0]
    name, n_classes = first["name"], len(results["features"]["classes"])
    top1, on_val = (Estimate(**first[split]["top1"]) for split in ("test", "val"))
    lines = [
        f"{name}: {percent(top1)} of {top1.n} test images are right. Such brackets hold the share "
        f"among all images of the kind 19 times out of 20; chance is {100 / n_classes:.3g} %.",
        f"On val, by which it was chosen, {percent(on_val)} of {on_val.n}: of the two, test is the "
        "one to quote.",
    ]
    if first["test"]["top5"]:
        top5 = percent(Estimate(**first["test"]["top5"]))
        lines.append(f"The true class is among the five most probable for {top5}.")
    return lines + _calibration(results) + _warnings(results)


def _calibration(results: dict[str, Any]) -> list[str]:
    found = results["reliability"]
    name, after = results["shown"], 100 * found["after"]["ece"]
    if found["before"] is None:
        return [f"The probabilities of {name} are off by {after:.1f} points on average (ECE)."]
    return [
        f"The probabilities of {name} are off by {after:.1f} points on average (ECE), "
        f"{100 * found['before']['ece']:.1f} before the temperature of {found['temperature']:.2f} "
        "that was fitted on val."
    ]


def _warnings(results: dict[str, Any]) -> list[str]:
    splits = ({pair[side]["split"] for side in ("first", "second")} for pair in _pairs(results))
    if not any("test" in each and len(each) > 1 for each in splits):
        return []
    return ["Images of test have copies in other splits, see below: the truth is a little lower."]


def _pairs(results: dict[str, Any]) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = results["duplicates"]["pairs"]
    return pairs


def describe_curve(curve: list[dict[str, Any]]) -> str:
    """Val accuracy by share of train, and whether twice the photographs helped, a line a head."""
    lines = []
    for name, group in _by_head(curve):
        steps = ", ".join(
            f"{100 * point['share']:g} % {100 * point['top1']['value']:.1f}" for point in group
        )
        lines.append(f"{name:10} val top-1 on a share of train: {steps}. {_gain(group)}")
    return "\n".join(lines)


def describe_gains(curve: list[dict[str, Any]]) -> list[str]:
    """Whether twice the photographs helped, a sentence a head."""
    return [f"{name}. {_gain(group)}" for name, group in _by_head(curve)]


def describe_folds(folds: list[dict[str, Any]]) -> str:
    """Accuracy over all folds, and the range over them, a line a head."""
    lines = []
    for name, group in _by_head(folds):
        shares = [100 * point["n_right"] / point["n_images"] for point in group]
        total = overall(group)
        lines.append(
            f"{name:10} top-1 over {len(group)} folds {percent(total)} (n={total.n}), "
            f"folds {min(shares):.1f} to {max(shares):.1f} %"
        )
    return "\n".join(lines)


def describe_studies(results: dict[str, Any]) -> list[str]:
    """The learning curve and cross-validation, a line a head; empty where there are none."""
    curve, folds = results["learning_curve"], results["folds"]
    return describe_curve(curve).splitlines() + describe_folds(folds).splitlines()


def describe_copies(results: dict[str, Any]) -> list[str]:
    """How many pairs of copies lie where they should not."""
    n_pairs, pairs = results["duplicates"]["n_pairs"], _pairs(results)
    asked = (
        " Only the same file was looked for: these embeddings cannot tell what is nearly the same."
        if results["duplicates"]["threshold"] is None
        else ""
    )
    if not n_pairs:
        return ["No two images in different splits or under different labels are copies." + asked]
    lines = [
        f"{count(n_pairs, 'pair')} of images in different splits or under different labels that "
        f"are the same file ({results['duplicates']['n_exact']}) or look the same to the network."
        + asked
    ]
    n_labels = sum(pair["first"]["class"] != pair["second"]["class"] for pair in pairs)
    if n_labels:
        lines.append(f"Under two labels: {n_labels} of the {len(pairs)} in results.json.")
    return lines


def describe_suspicion(results: dict[str, Any]) -> list[str]:
    """How many labels look wrong, to whom."""
    suspects = results["suspects"]
    if suspects is None:
        return [
            "Not looked for: cleanlab is not installed. Run 'make install EXTRAS=suspects', then "
            "'make report' again; with 'make heads FOLDS=5' train and val are looked at too."
        ]
    lines = [
        f"{suspects['n_suspects']} of {suspects['n_looked_at']} images look mislabelled to "
        f"{suspects['head']}, which had not seen them (confident learning), the most suspicious "
        f"first. It is right on {_right_on(results, suspects['head'])} of test: the more often a "
        "head is wrong, the more of these are only hard. Look before you change a label."
    ]
    if not results["folds"]:
        lines.append("Images of test only; 'make heads FOLDS=5' adds those of train and val.")
    return lines


def _right_on(results: dict[str, Any], name: str) -> str:
    head = next(each for each in results["heads"] if each["name"] == name)
    return f"{100 * head['test']['top1']['value']:.0f} %"


def _gain(group: list[dict[str, Any]]) -> str:
    gain = gain_of_doubling(group)
    if gain.low <= 0 <= gain.high:
        return f"From half to all: {points(gain)}, no gain seen."
    if gain.value < 0:
        return f"From half to all: {points(gain)}, a loss."
    return f"From half to all: {points(gain)}; more photographs should help."


def _by_head(study: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    ordered = sorted(study, key=itemgetter("head"))
    return [(name, list(group)) for name, group in groupby(ordered, key=itemgetter("head"))]
