"""The images: how many there are of each class, and where their embeddings lie."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.classify.inspection.embedding_map import EmbeddingMap
from headbench.classify.report.results import ClassCounts
from headbench.classify.report.svg import (
    SOFT,
    TEST,
    VAL,
    Picture,
    drawing,
    figure,
    legend_above,
    picture,
    short,
)
from headbench.classify.wording import count

# So many classes are drawn with their names.
MOST_NAMED = 25
COLORS = dict(zip(SPLITS, (SOFT, VAL, TEST), strict=True))


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
        Classes in the order of their colours: those that are often confused have similar ones.
    """
    hues = np.empty(len(order))
    hues[order] = np.arange(len(order)) / len(order)
    # As light as stands out on white and on black.
    colors = hsv_to_rgb(np.stack([hues[labels], *np.full((2, len(labels)), [[0.75], [0.8]])], 1))
    return [_map_picture(method, points, colors) for method, points in found.points.items()]


def describe_map(found: EmbeddingMap, n_test: int) -> str:
    """What the maps show."""
    n_points = len(next(iter(found.points.values())))
    drawn = f" ({n_points} of {n_test}, drawn at random)" if n_points < n_test else ""
    note = (
        f"Each point is a test image{drawn}, coloured by its class. Classes that are often "
        "confused have similar colours. The first two principal components hold "
        f"{100 * found.variance_share:.0f} % of the variance."
    )
    if len(found.points) == 1:
        note += " 'make install EXTRAS=map' adds a map by t-SNE, which keeps neighbours together."
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
