"""Embeddings that are right, but stand in the rows of other images."""

import numpy as np
from numpy.typing import NDArray

from classify.doctor.features.rerun import Beside
from classify.doctor.finding import Finding, Photo, Severity
from classify.heads.streaming import row_blocks
from extract.embedder import relative_differences


def examine_order(beside: Beside) -> Finding | None:
    """Whether most images of the sample have their embedding in another row."""
    again = beside.again(beside.rerun.declared)
    rows = nearest_rows(beside, again)
    is_found = relative_differences(again, beside.features.read(rows)) <= beside.tolerance
    if is_found.mean() < 0.5:
        return None
    table = beside.features.table
    moved = np.flatnonzero(is_found & (rows != beside.sample.rows)).tolist()
    return Finding(
        "embeddings-of-other-images",
        Severity.SEVERE,
        "The embeddings are in another order than the images: each stands in the row of another.",
        (
            f"{len(again)} images of the run went through the network again: the file holds what "
            f"it gives for {int(is_found.sum())} of them, for {len(moved)} in the row of another.",
            *(
                f"The embedding of {table.paths[beside.sample.rows[each]]} stands in the row of "
                f"{table.paths[rows[each]]}."
                for each in moved[:3]
            ),
        ),
        "Images were shuffled between reading labels and computing embeddings: a generator with "
        "shuffle=True does that. 'make features OVERWRITE=1' keeps them together; then 'make "
        "heads'.",
        photos=tuple(
            Photo(beside.paths[each], f"stands in the row of {table.paths[rows[each]]}")
            for each in moved
        ),
    )


def nearest_rows(beside: Beside, embeddings: NDArray[np.float32]) -> NDArray[np.intp]:
    """The row of the file that is nearest to each embedding, intp (n,)."""
    features = beside.features
    nearest = np.zeros(len(embeddings), dtype=np.intp)
    smallest = np.full(len(embeddings), np.inf)
    lengths = np.square(embeddings, dtype=np.float64).sum(axis=1)
    for block in row_blocks(features.n_images):
        X = features.read(np.arange(features.n_images)[block])
        squares = np.square(X, dtype=np.float64).sum(axis=1)
        distance = lengths[:, None] + squares - 2 * (embeddings @ X.T).astype(np.float64)
        best = distance.argmin(axis=1)
        value = distance[np.arange(len(best)), best]
        is_nearer = value < smallest
        nearest[is_nearer] = best[is_nearer] + block.start
        smallest[is_nearer] = value[is_nearer]
    return nearest
