"""How heads were trained: epochs, rounds, a path of penalties, growing shares of train."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

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

# What a head was fitted several times for, by the key under which its history holds it.
PATHS = {"C": "C", "alpha": "penalty alpha", "neighbors": "neighbours"}
ON_TRAIN = "On train it is measured while the weights change."
KEPT_EPOCH = "The dashed line is the epoch that is kept."
SHARES = (("top1", "top-1"), ("top5", "top-5"))


def histories(heads: Sequence[HeadResult]) -> list[Picture]:
    """A picture for each curve that the heads left behind."""
    return [drawn for head in heads for drawn in _of(head)]


def learning_curves(points: Sequence[CurvePoint]) -> list[Picture]:
    """Validation accuracy of each head by its number of training images; none without points."""
    return [_learning_curves(points)] if points else []


def _learning_curves(points: Sequence[CurvePoint]) -> Picture:
    ordered = sorted(points, key=lambda point: (point.head, point.n_images))
    groups = [(name, list(group)) for name, group in groupby(ordered, key=attrgetter("head"))]
    groups.sort(key=lambda group: -float(group[1][-1].top1.value))
    with drawing():
        drawn, axes = figure(3.6 + 0.1 * len(groups))
        axes.set(xscale="log", xlabel="images in train", ylabel="top-1 on val")
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
            "beside it say what it shows.",
            "Validation accuracy (top-1) by the number of training images. The band is the 95 % "
            f"confidence interval of {groups[0][0]}.",
        )


def _of(head: HeadResult) -> list[Picture]:
    history = head.history
    if "train_loss" in history:
        return [_losses(head), _accuracies(head)]
    for key, label in PATHS.items():
        if key in history:
            return [_path(head, key, label)]
    return [_rounds(head)] if "val_log_loss" in history else []


def _losses(head: HeadResult) -> Picture:
    history, name = head.history, head.name
    with drawing():
        drawn, axes = plot(3.2)
        axes.set(xlabel="epoch", ylabel="log loss")
        for values, split, color in (
            (history["train_loss"], "train", SOFT),
            (history["val_log_loss"], "val", VAL),
        ):
            axes.plot(_epochs(head, values), values, marker="o", color=color, label=split)
        _mark_chosen(axes, head)
        legend_above(axes)
        return picture(
            f"{_slug(name)}-loss",
            drawn,
            f"Log loss of {name} by epoch on train and val.",
            f"{name}: log loss by epoch. {ON_TRAIN} {KEPT_EPOCH}",
        )


def _accuracies(head: HeadResult) -> Picture:
    history, name = head.history, head.name
    with drawing():
        drawn, axes = plot(3.2)
        axes.set(xlabel="epoch", ylabel="accuracy")
        for (key, label), style in zip(SHARES, ("-", ":"), strict=True):
            for split, color in (("train", SOFT), ("val", VAL)):
                values = history.get(f"{split}_{key}")
                if values:
                    axes.plot(
                        _epochs(head, values), values, style, color=color, label=f"{split} {label}"
                    )
        percent_axis(axes.yaxis)
        _mark_chosen(axes, head)
        legend_above(axes)
        return picture(
            f"{_slug(name)}-accuracy",
            drawn,
            f"Top-1 and top-5 accuracy of {name} by epoch on train and val.",
            f"{name}: accuracy by epoch. {ON_TRAIN} {KEPT_EPOCH}",
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
            f"{name}: log loss on val by {label}. The dashed line is the value that was chosen.",
        )


def _rounds(head: HeadResult) -> Picture:
    history, name = head.history, head.name
    with drawing():
        drawn, axes = plot(3.2)
        axes.set(xlabel="round", ylabel="log loss")
        for split, color in (("train", SOFT), ("val", VAL)):
            if values := history.get(f"{split}_log_loss"):
                axes.plot(range(1, len(values) + 1), values, color=color, label=split)
        _mark_chosen(axes, head)
        legend_above(axes)
        return picture(
            f"{_slug(name)}-rounds",
            drawn,
            f"Log loss of {name} by round on train and val.",
            f"{name}: log loss by round. The dashed line is the round that is kept.",
        )


def _epochs(head: HeadResult, values: Sequence[float]) -> range:
    """Epochs of some values: fine-tuning is measured on val before its first, as epoch 0."""
    first = 0 if len(values) > len(head.history["train_loss"]) else 1
    return range(first, first + len(values))


def _mark_chosen(axes: Any, head: HeadResult) -> None:
    for key in ("epochs", "epoch", "rounds"):
        if key in head.chosen:
            axes.axvline(head.chosen[key], color=TEST, linestyle="--", linewidth=1.2)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _slug(name: str) -> str:
    """Letters, digits and hyphens: names may come from a file of settings."""
    return "curve-" + "".join(each if each.isalnum() and each.isascii() else "-" for each in name)
