"""Pictures of heads: accuracy against seconds of fit, training curves, and runs compared."""

from collections.abc import Sequence
from itertools import cycle, groupby
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from headbench.classify.intervals import Estimate
from headbench.classify.report.results import HeadResult
from headbench.classify.report.svg import (
    CYCLE,
    MARKERS,
    SOFT,
    TEST,
    VAL,
    Picture,
    drawing,
    figure,
    legend_above,
    log_axis,
    percent_axis,
    picture,
    plot,
    short,
)
from headbench.classify.studies.learning_curve import CurvePoint

# Seconds: a shorter fit is drawn at the left edge.
SHORTEST = 1e-3
LABEL_GAP = 0.062
# Settings that were tried one by one, by their key in the history of a head.
PATHS = {"C": "C", "alpha": "penalty alpha", "neighbors": "neighbours"}
ON_TRAIN = "The train curve is measured during the epoch, while the weights change."
EPOCHS = (("train_loss", "train", SOFT, "o-"), ("val_log_loss", "val", VAL, "o-"))
ROUNDS = (("train_log_loss", "train", SOFT, "-"), ("val_log_loss", "val", VAL, "-"))
# Of runs: the first two as val and test are drawn.
RUN_COLORS, RUN_MARKERS = (VAL, TEST, *CYCLE[2:]), "so^DvP*X"
SHARES = tuple(
    (f"{split}_{key}", f"{split} {label}", color, style)
    for key, label, style in (("top1", "top-1", "-"), ("top5", "top-5", ":"))
    for split, color in (("train", SOFT), ("val", VAL))
)


def accuracy_and_seconds(heads: Sequence[HeadResult]) -> Picture:
    """Accuracy on val and test with their intervals, against the seconds of the fit."""
    heads = sorted(heads, key=lambda head: head.fit_seconds)
    seconds = np.maximum([head.fit_seconds for head in heads], SHORTEST)
    with drawing():
        drawn, axes = plot(4.6, margins=(0.85, 0.12, 0.95, 1.0))
        axes.set(xscale="log", xlabel="seconds to fit", ylabel="accuracy")
        for split, color, marker, shift in (("val", VAL, "s", 0.96), ("test", TEST, "o", 1.04)):
            value, low, high = (_top1(heads, split, name) for name in ("value", "low", "high"))
            errors = np.stack([value - low, high - value])
            axes.errorbar(
                seconds * shift, value, errors, fmt=marker, color=color, label=split, elinewidth=1.2
            )
        percent_axis(axes.yaxis)
        log_axis(axes.xaxis)
        axes.set_xlim(seconds.min() / 2, seconds.max() * 2)
        _label(axes, heads, seconds)
        axes.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, -0.18))
        return picture(
            "heads",
            drawn,
            "Accuracy of each head with its 95 % confidence interval, against seconds to fit. The "
            "numbers are in the table.",
            "Accuracy with its 95 % confidence interval: squares are val, circles are test. Higher "
            "is better; further left is faster.",
        )


def spread(wanted: ArrayLike, gap: float, low: float, high: float) -> NDArray[np.float64]:
    """Positions close to the wanted ones, with a smallest distance between neighbours.

    Parameters
    ----------
    wanted : float (n,), ascending
    gap : float
        Smallest distance; smaller where there is no room.
    low, high : float
        Smallest and largest position.

    Returns
    -------
    float64 (n,)
        Ascending. Least squares, by isotonic regression.
    """
    wanted = np.asarray(wanted, dtype=np.float64)
    n = len(wanted)
    gap = min(gap, (high - low) / max(n - 1, 1))
    steps = gap * np.arange(n)
    placed = isotonic_regression(wanted - steps, y_min=low, y_max=high - gap * (n - 1))
    return np.asarray(placed + steps, dtype=np.float64)


def _top1(heads: Sequence[HeadResult], split: str, name: str) -> NDArray[np.float64]:
    return np.array([getattr(getattr(head, split).top1, name) for head in heads])


def _label(axes: Any, heads: Sequence[HeadResult], seconds: NDArray[np.float64]) -> None:
    """Names above the panel, each with a thin line down to its head."""
    left, right = np.log(axes.get_xlim())
    at = (np.log(seconds) - left) / (right - left)
    top = np.maximum(_top1(heads, "val", "high"), _top1(heads, "test", "high"))
    for head, x, name_x, y in zip(heads, seconds, spread(at, LABEL_GAP, 0, 1), top, strict=True):
        axes.annotate(
            head.name,
            xy=(x, y),
            xytext=(name_x, 1.04),
            textcoords="axes fraction",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=10,
            arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkB": 3},
        )


def accuracy_by_run(
    runs: Sequence[str], heads: Sequence[tuple[str, Sequence[Estimate | None]]]
) -> Picture:
    """Test accuracy of each head in each run, with its interval.

    Parameters
    ----------
    runs : sequence of str
        Names of the runs.
    heads : sequence
        Name of each head, and its accuracy in each run.
    """
    step = min(0.26, 0.8 / len(runs))
    with drawing():
        drawn, axes = figure(1.2 + (0.2 + 0.21 * len(heads)) * len(runs))
        looks = zip(runs, cycle(RUN_COLORS), cycle(RUN_MARKERS), strict=False)
        for side, (run, color, marker) in enumerate(looks):
            label, shift = short(run), step * (side - (len(runs) - 1) / 2)
            found = [(row, each[side]) for row, (_, each) in enumerate(heads) if each[side]]
            value, low, high = (
                np.array([getattr(estimate, name) for _, estimate in found])
                for name in ("value", "low", "high")
            )
            at = np.array([row for row, _ in found]) + shift
            axes.errorbar(
                value, at, xerr=np.stack([value - low, high - value]), fmt=marker, color=color,
                label=label, elinewidth=1.2,
            )  # fmt: skip
        axes.set_yticks(range(len(heads)), [short(name) for name, _ in heads])
        axes.invert_yaxis()
        axes.set(xlabel="test accuracy")
        percent_axis(axes.xaxis)
        legend_above(axes, columns=1)
        return picture(
            "runs",
            drawn,
            "Test accuracy of each head in each run.",
            "Test accuracy with its 95 % confidence interval, by head and run.",
        )


def histories(heads: Sequence[HeadResult]) -> list[Picture]:
    """A picture for each training curve of the heads."""
    return [drawn for head in heads for drawn in _of(head)]


def learning_curves(points: Sequence[CurvePoint]) -> Picture:
    """Validation accuracy of each head by its number of training images."""
    ordered = sorted(points, key=lambda point: (point.head, point.n_images))
    groups = [(name, list(group)) for name, group in groupby(ordered, key=attrgetter("head"))]
    groups.sort(key=lambda group: -float(group[1][-1].top1.value))
    with drawing():
        drawn, axes = figure(3.6 + 0.1 * len(groups))
        axes.set(xscale="log", xlabel="images in train", ylabel="validation accuracy")
        for number, (name, group) in enumerate(groups):
            color, n_images = CYCLE[number % len(CYCLE)], [point.n_images for point in group]
            low, value, high = (
                [getattr(point.top1, key) for point in group] for key in ("low", "value", "high")
            )
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(n_images, value, marker=marker, color=color, label=short(name))
            if number == 0:
                axes.fill_between(n_images, low, high, color=color, alpha=0.15, linewidth=0)
        percent_axis(axes.yaxis)
        log_axis(axes.xaxis)
        axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.2))
        return picture(
            "learning-curve",
            drawn,
            "Validation accuracy of each head by the number of training images. The sentences "
            "beside it describe it.",
            "Validation accuracy by the number of training images. The band is the 95 % confidence "
            f"interval of {groups[0][0]}.",
        )


def _of(head: HeadResult) -> list[Picture]:
    history = head.history
    if "train_loss" in history:
        return [_curves(head, "loss", "epoch", EPOCHS), _curves(head, "accuracy", "epoch", SHARES)]
    for key, label in PATHS.items():
        if key in history:
            return [_path(head, key, label)]
    return [_curves(head, "rounds", "round", ROUNDS)] if "val_log_loss" in history else []


def _curves(head: HeadResult, name: str, step: str, lines: Sequence[tuple[str, ...]]) -> Picture:
    """Curves of a head by epoch or by round; key, label, colour and style of each."""
    is_share = lines is SHARES
    what = "top-1 and top-5 accuracy" if is_share else "log loss"
    with drawing():
        drawn, axes = plot(3.2)
        axes.set(xlabel=step, ylabel="accuracy" if is_share else what)
        for key, label, color, style in lines:
            if values := head.history.get(key):
                axes.plot(_steps(head, values), values, style, color=color, label=label)
        if is_share:
            percent_axis(axes.yaxis)
        _mark_chosen(axes, head)
        legend_above(axes)
        on_train = f" {ON_TRAIN}" if step == "epoch" else ""
        return picture(
            f"{_slug(head.name)}-{name}",
            drawn,
            f"{what.capitalize()} of {head.name} by {step} on train and val.",
            f"{head.name}: {what} by {step}.{on_train} The dashed line marks the {step} that was "
            "kept.",
        )


def _path(head: HeadResult, key: str, label: str) -> Picture:
    history, name = head.history, head.name
    with drawing():
        drawn, axes = plot(3.2)
        axes.set(xscale="log", xlabel=label, ylabel="log loss on val")
        axes.plot(
            history[key][: len(history["val_log_loss"])], history["val_log_loss"], "o-", color=VAL
        )
        log_axis(axes.xaxis)
        axes.axvline(head.chosen[key], color=TEST, linestyle="--", linewidth=1.2)
        return picture(
            f"{_slug(name)}-path",
            drawn,
            f"Log loss of {name} on val by {label}. {head.chosen[key]:g} was chosen.",
            f"{name}: log loss on val by {label}. The dashed line marks the chosen value.",
        )


def _steps(head: HeadResult, values: Sequence[float]) -> range:
    """Epochs or rounds: fine-tuning is measured on val before its first epoch, as epoch 0."""
    first = 0 if len(values) > len(head.history.get("train_loss", values)) else 1
    return range(first, first + len(values))


def _mark_chosen(axes: Any, head: HeadResult) -> None:
    for key in ("epochs", "epoch", "rounds"):
        if key in head.chosen:
            axes.axvline(head.chosen[key], color=TEST, linestyle="--", linewidth=1.2)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _slug(name: str) -> str:
    """Letters, digits and hyphens: names may come from a file of settings."""
    return "curve-" + "".join(each if each.isalnum() and each.isascii() else "-" for each in name)
