"""Pictures of images and classes: counts, map, confusion matrix, reliability diagram."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgb
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.classify.inspection.embedding_map import EmbeddingMap
from headbench.classify.inspection.mistakes import Bins
from headbench.classify.report.results import Calibration, ClassCounts
from headbench.classify.report.svg import (
    CYCLE,
    INK,
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
    short,
)
from headbench.classify.wording import count

# Up to so many classes are drawn with their names.
MOST_NAMED = 25
COLORS = dict(zip(SPLITS, (SOFT, VAL, TEST), strict=True))
# Up to so many classes are drawn with their counts.
MOST_COUNTED = 20
CELL_INCHES = {True: 0.42, False: 0.14}
# Width of a letter, in sizes of the font; of wide scripts a little more than a letter.
LETTER_EMS = 0.68
AXIS_LABEL_INCHES = 0.6
# In tones that stand on white and on black.
RIGHT, WRONG = "#1e6edc", "#d7621e"
# Stronger, and the counts could not be read.
STRONGEST_BELOW_COUNTS = 0.55


def class_balance(classes: Sequence[ClassCounts]) -> Picture:
    """Images of each class by split: bars with names, or a skyline where there are many."""
    ordered = sorted(classes, key=lambda each: sum(getattr(each, split) for split in SPLITS))
    is_named = len(ordered) <= MOST_NAMED
    with drawing():
        drawn, axes = figure(1.2 + 0.26 * len(ordered) if is_named else 3)
        position, base = np.arange(len(ordered)), np.zeros(len(ordered))
        for split in SPLITS:
            top = base + [getattr(each, split) for each in ordered]
            if is_named:
                axes.barh(position, top - base, left=base, color=COLORS[split], label=split)
            else:
                axes.stairs(top, baseline=base, fill=True, color=COLORS[split], label=split)
            base = top
        if is_named:
            axes.set_yticks(position, [short(each.name) for each in ordered])
            axes.set(xlabel="images")
            axes.grid(visible=False, axis="y")
        else:
            axes.set(xlabel="classes, the smallest first", ylabel="images")
        legend_above(axes, columns=3)
        return picture("balance", drawn, "Images of each class by split.", _balance(ordered))


def map_pictures(
    found: EmbeddingMap, labels: NDArray[np.integer], order: NDArray[np.intp]
) -> list[Picture]:
    """A map for each method: images as points, coloured by class.

    Parameters
    ----------
    labels : int (n_points,)
    order : intp (n_classes,)
        Classes in the order of their colours: classes that are often confused get similar ones.
    """
    hues = np.empty(len(order))
    hues[order] = np.arange(len(order)) / len(order)
    # As light as stands out on white and on black.
    colors = hsv_to_rgb(np.stack([hues[labels], *np.full((2, len(labels)), [[0.75], [0.8]])], 1))
    return [_map_picture(method, points, colors) for method, points in found.points.items()]


def describe_map(found: EmbeddingMap, n_test: int) -> str:
    """How to read the maps."""
    n_points = len(next(iter(found.points.values())))
    drawn = f" ({n_points} of {n_test}, drawn at random)" if n_points < n_test else ""
    note = (
        f"Each point is a test image{drawn}, coloured by its class. Classes that are often "
        "confused have similar colours. The first two principal components explain "
        f"{100 * found.variance_share:.0f} % of the variance."
    )
    if len(found.points) == 1:
        note += (
            ' pip install "headbench[map]" adds a map by t-SNE, which keeps neighbours together.'
        )
    return note


def _map_picture(method: str, points: NDArray[np.float32], colors: NDArray[np.floating]) -> Picture:
    with drawing():
        drawn, axes = figure(4.6)
        dots = axes.scatter(points[:, 0], points[:, 1], s=14, c=colors, linewidths=0)
        dots.set_gid("points")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return picture(
            f"map-{method.lower()}",
            drawn,
            f"{method} of the embeddings: each point is a test image, coloured by its class.",
            f"{method}: images with similar embeddings lie near each other.",
        )


def _balance(ordered: list[ClassCounts]) -> str:
    in_train = sorted(ordered, key=lambda each: each.train)
    smallest, largest = in_train[0], in_train[-1]
    if smallest.train == largest.train:
        return f"Every class has {largest.train} images in train."
    return (
        f"In train: {count(smallest.train, 'image')} of {smallest.name}, the fewest; "
        f"{largest.train} of {largest.name}, the most."
    )


class ConfusionCells(NamedTuple):
    """The part of a confusion matrix that is drawn.

    Attributes
    ----------
    names : sequence of str, length n_drawn
        Classes in the order in which they are drawn.
    counts : int (n_drawn, n_drawn)
        Images: true class by predicted class.
    totals : int (n_drawn,)
        Number of images of each true class.
    n_classes : int
        Number of all classes, drawn or not.
    """

    names: Sequence[str]
    counts: NDArray[np.integer]
    totals: NDArray[np.integer]
    n_classes: int

    def to_json(self) -> dict[str, Any]:
        """Data for the script of the page."""
        counts, totals = self.counts.tolist(), self.totals.tolist()
        return {"names": list(self.names), "counts": counts, "totals": totals}


def confusion_picture(cells: ConfusionCells) -> Picture:
    """Confusion matrix: rows are true classes, columns predicted ones, colour is the row share."""
    is_counted = len(cells.names) <= MOST_COUNTED
    names = [short(name) for name in cells.names]
    font = 9 if is_counted else 7
    room = AXIS_LABEL_INCHES + LETTER_EMS * font / 72 * max(map(len, names))
    side = room + 0.1 + CELL_INCHES[is_counted] * len(names)
    with drawing():
        drawn, axes = plot(side, side, (room, 0.1, room, 0.1))
        axes.imshow(_shades(cells, is_counted), interpolation="none")
        position = np.arange(len(names))
        axes.set_xticks(position, names, rotation=90, fontsize=font)
        axes.set_yticks(position, names, fontsize=font)
        axes.tick_params(length=0)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        if is_counted:
            for (row, column), n in np.ndenumerate(cells.counts):
                if n:
                    axes.text(column, row, str(n), ha="center", va="center", fontsize=9, color=INK)
        return picture(
            "confusion",
            drawn,
            f"Confusion matrix of {len(names)} classes on test. The most confused pairs are listed "
            "on this page.",
            "Rows are true classes, columns are predicted classes. A stronger colour is a larger "
            "share of the row. Classes that are often confused are side by side."
            + _left_out(cells),
        )


def reliability_diagram(name: str, calibration: Calibration) -> Picture:
    """Accuracy by confidence, before and after temperature scaling."""
    before, after = calibration.before, calibration.after
    with drawing():
        drawn, axes = figure(4)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        if before is not None:
            _add_bins(axes, before, "before", CYCLE[1], "s")
        _add_bins(axes, after, "after", TEST, "o")
        axes.set(xlabel="probability of the predicted class", ylabel="accuracy")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        if before is not None:
            axes.legend(loc="upper left", title="temperature", markerscale=0.6)
        return picture(
            "reliability",
            drawn,
            f"Reliability diagram of {name} on test: accuracy by the probability of the predicted "
            "class.",
            f"{name} on test. On the dotted line, confidence equals accuracy; below it, the head "
            "is overconfident. A larger marker is more images.",
        )


def _add_bins(axes: Axes, bins: Bins, label: str, color: str, marker: str) -> None:
    sizes = [12 + 160 * n / sum(bins.n_images) for n in bins.n_images]
    place = bins.confidence, bins.accuracy
    axes.plot(*place, color=color, linewidth=1.2)
    # Whole at the edge too, at 100 %.
    axes.scatter(*place, sizes, color=color, marker=marker, label=label, clip_on=False)


def _left_out(cells: ConfusionCells) -> str:
    n_drawn, n_classes = len(cells.names), cells.n_classes
    if n_drawn == n_classes:
        return ""
    return f" Only the {n_drawn} of {n_classes} classes with the most mistakes are shown."


def _shades(cells: ConfusionCells, is_counted: bool) -> NDArray[np.float64]:
    """Colour and opacity of each cell, float64 (n, n, 4); the root lifts small shares."""
    strongest, root = (STRONGEST_BELOW_COUNTS, 2) if is_counted else (1, 3)
    shades = np.empty((*cells.counts.shape, 4))
    shades[..., :3] = to_rgb(WRONG)
    shades[np.diag_indices(len(shades))] = (*to_rgb(RIGHT), 0)
    shares = cells.counts / np.maximum(cells.totals[:, None], 1)
    shades[..., 3] = strongest * shares ** (1 / root)
    return shades
