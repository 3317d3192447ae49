"""All heads: accuracy against the seconds of the fit, and the heads of two runs side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from headbench.classify.intervals import Estimate
from headbench.classify.report.results import HeadResult
from headbench.classify.report.svg import (
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

# Seconds: a shorter fit is drawn at the left edge.
SHORTEST = 1e-3
LABEL_GAP = 0.062


def accuracy_and_seconds(heads: Sequence[HeadResult]) -> Picture:
    """Top-1 on val and test with their intervals, against the seconds of the fit."""
    heads = sorted(heads, key=lambda head: head.fit_seconds)
    seconds = np.maximum([head.fit_seconds for head in heads], SHORTEST)
    with drawing():
        drawn, axes = plot(4.6, margins=(0.85, 0.12, 0.95, 1.0))
        axes.set(xscale="log", xlabel="seconds to fit", ylabel="top-1")
        for split, color, marker, shift in (("val", VAL, "s", 0.96), ("test", TEST, "o", 1.04)):
            value, low, high = (_of(heads, split, name) for name in ("value", "low", "high"))
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
            "Top-1 accuracy of each head with its 95 % confidence interval, against seconds to "
            "fit. The numbers are in the table.",
            "Top-1 accuracy with its 95 % confidence interval: squares on val, circles on test. "
            "Higher is better, further left is faster.",
        )


def spread(wanted: ArrayLike, gap: float, low: float, high: float) -> NDArray[np.float64]:
    """Positions as near to those wanted as a smallest distance between neighbours lets them be.

    Parameters
    ----------
    wanted : float (n,), ascending
    gap : float
        Smallest distance; smaller where there is no room.
    low, high : float
        Ends of the room.

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


def _of(heads: Sequence[HeadResult], split: str, name: str) -> NDArray[np.float64]:
    return np.array([getattr(getattr(head, split).top1, name) for head in heads])


def _label(axes: Any, heads: Sequence[HeadResult], seconds: NDArray[np.float64]) -> None:
    """Names above the panel, each with a thin line down to its head."""
    left, right = np.log(axes.get_xlim())
    at = (np.log(seconds) - left) / (right - left)
    top = np.maximum(_of(heads, "val", "high"), _of(heads, "test", "high"))
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


def two_runs(
    first: str, second: str, heads: list[tuple[str, tuple[Estimate | None, Estimate | None]]]
) -> Picture:
    """Top-1 on test of each head in two runs, with its interval.

    Parameters
    ----------
    first, second : str
        Names of the runs.
    heads : list
        Name of each head, and its accuracy in the first and in the second run.
    """
    with drawing():
        drawn, axes = figure(1.6 + 0.42 * len(heads))
        sides = ((f"A: {short(first)}", VAL, "s", -0.13), (f"B: {short(second)}", TEST, "o", 0.13))
        for side, (label, color, marker, shift) in enumerate(sides):
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
        axes.set(xlabel="top-1 on test")
        percent_axis(axes.xaxis)
        legend_above(axes, columns=1)
        return picture(
            "two-runs",
            drawn,
            "Test accuracy of each head in both runs. The numbers are in the table.",
            "Test accuracy (top-1) with its 95 % confidence interval: squares are A, circles B.",
        )
