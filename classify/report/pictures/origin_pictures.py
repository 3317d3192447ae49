"""Pictures of the failure that headbench came from."""

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from headbench.classify.report.svg import (
    SOFT,
    TEST,
    VAL,
    Picture,
    drawing,
    figure,
    legend_above,
    percent_axis,
    picture,
    plot,
)

MARKS = {"right": " (correct)", "origin": " (original)", "": ""}


def cells_picture(cells: list[dict[str, Any]], chance: float) -> Picture:
    """Accuracy on train and val of each cell of the table, with intervals.

    Parameters
    ----------
    cells : list of dict
        As `headbench.classify.origin.accuracy_table.Cell.to_json` gives them.
    chance : float
        Accuracy of always predicting the most frequent class.
    """
    at = np.arange(len(cells))
    with drawing():
        drawn, axes = figure(1.6 + 0.52 * len(cells))
        for split, color, marker, shift in (("train", SOFT, "o", -0.13), ("val", VAL, "s", 0.13)):
            value, low, high = (
                np.array([cell[split][name] for cell in cells]) for name in ("value", "low", "high")
            )
            axes.errorbar(
                value, at + shift, xerr=np.stack([value - low, high - value]), fmt=marker,
                color=color, label=split, elinewidth=1.2,
            )  # fmt: skip
        axes.axvline(chance, color=TEST, linestyle="--", linewidth=1.2, label="most frequent class")
        axes.set_yticks(at, [_label(cell) for cell in cells])
        axes.invert_yaxis()
        axes.set(xlabel="accuracy")
        percent_axis(axes.xaxis)
        legend_above(axes, columns=3)
        return picture(
            "origin-cells",
            drawn,
            "Accuracy on train and val for each preprocessing, mode of training and mode of "
            "validation; the numbers are in the table.",
            "Accuracy with its 95 % confidence interval: circles are train, squares are val. Each "
            "label names the pixels, then the statistics of BatchNormalization in training → in "
            "validation. Dashed: always predicting the most frequent class.",
        )


def epochs_picture(
    origin: list[dict[str, float]], mended: list[dict[str, float]], chance: float
) -> Picture:
    """Accuracy by epoch, as Keras printed it, of the original model and of the corrected one.

    Parameters
    ----------
    origin, mended : list of dict
        Epochs: ``acc`` and ``val_acc`` of each.
    """
    with drawing():
        drawn, axes = plot(3.8, margins=(0.85, 0.12, 1.25, 0.15))
        axes.set(xlabel="epoch", ylabel="accuracy")
        for epochs, name, style in ((origin, "original", "-"), (mended, "corrected", ":")):
            at = range(1, len(epochs) + 1)
            for key, split, color, marker in (
                ("acc", "train", SOFT, "o"),
                ("val_acc", "val", VAL, "s"),
            ):
                values = [epoch[key] for epoch in epochs]
                axes.plot(at, values, style, marker=marker, color=color, label=f"{name}, {split}")
        axes.axhline(chance, color=TEST, linestyle="--", linewidth=1.2, label="most frequent class")
        percent_axis(axes.yaxis)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, -0.17))
        return picture(
            "origin-epochs",
            drawn,
            "Accuracy on train and val by epoch, of the original model and of the same head on "
            "correct embeddings; the numbers are in the tables.",
            "Accuracy by epoch; on train it is measured during the epoch. Solid: the original "
            "model. Dotted: the same head on correct embeddings. Dashed: always predicting the "
            "most frequent class.",
        )


def _label(cell: dict[str, Any]) -> str:
    return f"{cell['preprocessing']}{MARKS[cell['role']]}\n{cell['trained']} → {cell['validated']}"
