"""The learning curve and cross-validation in words."""

from itertools import groupby
from operator import itemgetter
from typing import Any

from classify.folds import overall
from classify.learning_curve import gain_of_doubling
from classify.wording import percent, points


def describe_curve(curve: list[dict[str, Any]]) -> str:
    """Val accuracy by share of train, and whether twice the photographs helped, a line a head."""
    lines = []
    for name, group in _by_head(curve):
        steps = ", ".join(
            f"{100 * point['share']:g} % {100 * point['top1']['value']:.1f}" for point in group
        )
        lines.append(f"{name:10} val top-1 on a share of train: {steps}. {_gain(group)}")
    return "\n".join(lines)


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
