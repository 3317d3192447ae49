"""Whether images with the same label look alike to the network at all."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.doctor.finding import Finding, Severity
from classify.doctor.heads.scored import Scored, TrainSample
from classify.heads.column_statistics import mean_and_scale
from classify.heads.streaming import row_blocks
from classify.inspection.projection import unit

N_NEIGHBORS = 10
IMAGES_PER_NEIGHBOR = 20
N_SHUFFLES = 200
BLOCK_ROWS = 512
# With fewer images, labels that are right could agree by as little as shuffled ones do.
FINEST = 0.05


class Agreement(NamedTuple):
    """How often the nearest images of train share a label.

    Attributes
    ----------
    n : int
        Images.
    n_neighbors : int
        Looked at for each of them.
    share : float
        Mean share of the neighbours with the same label.
    shuffled : float64 (200,)
        The same, the labels put into a random order.
    """

    n: int
    n_neighbors: int
    share: float
    shuffled: NDArray[np.float64]

    @property
    def is_chance(self) -> bool:
        """Whether it is no more than shuffled labels give, where more would have been seen."""
        usual, most = float(self.shuffled.mean()), float(np.quantile(self.shuffled, 0.95))
        return self.share <= most and most - usual <= FINEST


def measure_agreement(sample: TrainSample) -> Agreement | None:
    """Look at the nearest images of each, by cosine on standardised columns; itself left out.

    Parameters
    ----------
    sample : TrainSample

    Returns
    -------
    Agreement or None
        None for a single image.
    """
    n = len(sample.y)
    if n < 2:
        return None
    # Of few images the nearest 10 are nearly all: they would say nothing of likeness.
    n_neighbors = int(np.clip(n // IMAGES_PER_NEIGHBOR, 1, N_NEIGHBORS))
    mean, scale = mean_and_scale(sample.X, np.ones(n))
    Z = unit((sample.X - mean) / scale)
    nearest = np.concatenate([_nearest(Z, rows, n_neighbors) for rows in row_blocks(n, BLOCK_ROWS)])

    def share(y: NDArray[np.integer]) -> float:
        return float((y[nearest] == y[:, None]).mean())

    rng = np.random.default_rng(0)
    shuffled = np.array([share(rng.permutation(sample.y)) for _ in range(N_SHUFFLES)])
    return Agreement(n, n_neighbors, share(sample.y), shuffled)


def examine_labels(
    agreement: Agreement | None, scored: list[Scored], level: float, knows_nothing: bool
) -> Finding | None:
    """Labels that look shuffled.

    Parameters
    ----------
    agreement : Agreement or None
    scored : list of Scored
        If one of them is better than chance on val, labels do say something.
    level : float
        Chance on val.
    knows_nothing : bool
        Whether the backbone never saw an image: it may be to blame as well.
    """
    looking = [each for each in scored if each.looks]
    if agreement is None or not agreement.is_chance or not looking:
        return None
    if any(each.val.low > level for each in looking):
        return None
    best = max(looking, key=lambda each: each.val.value)
    low, high = np.quantile(agreement.shuffled, [0.025, 0.975])
    return Finding(
        "labels-look-shuffled",
        Severity.WARNING if knows_nothing else Severity.SEVERE,
        "Labels look shuffled: images of train with the same label are no more alike than others.",
        (
            f"{100 * agreement.share:.1f} % of the {agreement.n_neighbors} nearest images of each "
            f"of {agreement.n} share its label; with the labels put into a random order "
            f"{N_SHUFFLES} times, it was {100 * low:.1f} to {100 * high:.1f} %.",
            f"The best head, {best.name}, has {100 * best.val.value:.1f} % of {best.val.n} images "
            f"of val right, where {100 * level:.1f} % is chance.",
        ),
        "Look at some images beside their labels. Usual causes: a list of labels in another order "
        "than the files, a generator with shuffle=True, a table joined on the wrong column. Put "
        "each image into the folder of its class and run 'make features' and 'make heads'."
        + (" Or the backbone is to blame: it never learnt from images." if knows_nothing else ""),
    )


def _nearest(Z: NDArray[np.float32], rows: slice, n_neighbors: int) -> NDArray[np.intp]:
    cosine = Z[rows] @ Z.T
    own = np.arange(len(cosine))
    cosine[own, own + rows.start] = -np.inf
    return np.argpartition(-cosine, n_neighbors - 1, axis=1)[:, :n_neighbors]
