"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from headbench.classify.report.svg import INK, Picture, drawing, picture, plot, short

# So many classes are drawn with their counts.
MOST_COUNTED = 20
CELL_INCHES = {True: 0.42, False: 0.14}
# Width of a letter, in sizes of the font; of wide scripts a little more than a letter.
LETTER_EMS = 0.68
AXIS_LABEL_INCHES = 0.6
# In tones that stand on white and on black.
RIGHT, WRONG = "#1e6edc", "#d7621e"
# Stronger, and the counts could not be read.
STRONGEST_BELOW_COUNTS = 0.55


def confusion_picture(
    confusion: NDArray[np.integer],
    totals: NDArray[np.integer],
    classes: Sequence[str],
    n_classes: int,
) -> tuple[Picture, dict[str, float]]:
    """Rows are true classes, columns those given; colour is the share of the row.

    Parameters
    ----------
    confusion : int (n_classes, n_classes)
        Images, in the order to draw.
    totals : int (n_classes,)
        All images of each true class.
    classes : sequence of str
        Their names.
    n_classes : int
        How many there are in all; more than are drawn, where there are too many.

    Returns
    -------
    Picture
    dict of str to float
        Where the cells lie in it: left, top, width, height, as shares of its sides.
    """
    left_out = ""
    if len(classes) < n_classes:
        left_out = f" The {len(classes)} of {n_classes} classes with the most mistakes."
    is_counted = len(classes) <= MOST_COUNTED
    names = [short(name) for name in classes]
    font = 9 if is_counted else 7
    room = AXIS_LABEL_INCHES + LETTER_EMS * font / 72 * max(map(len, names))
    side = room + 0.1 + CELL_INCHES[is_counted] * len(classes)
    with drawing():
        drawn, axes = plot(side, side, (room, 0.1, room, 0.1))
        axes.imshow(_shades(confusion, totals, is_counted), interpolation="none")
        position = np.arange(len(classes))
        axes.set_xticks(position, names, rotation=90, fontsize=font)
        axes.set_yticks(position, names, fontsize=font)
        axes.tick_params(length=0)
        axes.set(xlabel="class given", ylabel="true class")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        if is_counted:
            for (row, column), n in np.ndenumerate(confusion):
                if n:
                    axes.text(column, row, str(n), ha="center", va="center", fontsize=9, color=INK)
        made = picture(
            "confusion",
            drawn,
            f"Confusion matrix of {len(classes)} classes on test; the most confused pairs are "
            "listed below.",
            "Rows: true class; columns: class given; the stronger, the larger the share of the "
            "row. Classes that are taken for each other stand side by side." + left_out,
        )
        box = axes.get_position()
    return made, {
        "left": box.x0,
        "top": 1 - box.y1,
        "width": box.width,
        "height": box.height,
    }


def _shades(
    confusion: NDArray[np.integer], totals: NDArray[np.integer], is_counted: bool
) -> NDArray[np.float64]:
    """Colour and opacity of each cell, float64 (n, n, 4); the root lifts small shares."""
    strongest, root = (STRONGEST_BELOW_COUNTS, 2) if is_counted else (1, 3)
    shades = np.empty((*confusion.shape, 4))
    shades[..., :3] = to_rgb(WRONG)
    shades[np.diag_indices(len(confusion))] = (*to_rgb(RIGHT), 0)
    shades[..., 3] = strongest * (confusion / np.maximum(totals[:, None], 1)) ** (1 / root)
    return shades
