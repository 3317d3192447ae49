"""Some images of a run, decoded once more as they were for it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.doctor.features.files import spread
from classify.doctor.features.network import BATCH_SIZE
from extract.sources.folder import Folder
from extract.stopwatch import Stopwatch
from extract.stream import decoded_images

# The longest and the shortest embeddings of the file are looked at again, so many of each.
N_EXTREME = 6
# Bounds memory and time: beside the first batch there are 32 images at up to 256 px.
MOST_PIXELS = BATCH_SIZE * 256 * 256


class Sample(NamedTuple):
    """Images of the file.

    Attributes
    ----------
    rows : intp (n,)
        Of the file: first its first ones, which a script that goes through it would have put into
        one batch, then others from all over it.
    images : uint8 (n, size_px, size_px, 3)
        RGB, 0-255.
    n_neighbours : int
        How many of them are the first ones.
    unusable : tuple of str
        Files that were chosen too and cannot be used, and why.
    """

    rows: NDArray[np.intp]
    images: NDArray[np.uint8]
    n_neighbours: int
    unusable: tuple[str, ...]


def choose_rows(norms: NDArray[np.float64], size_px: int) -> tuple[NDArray[np.intp], int]:
    """Rows to look at, and how many of them are the first ones of the file.

    Parameters
    ----------
    norms : float64 (n_images,)
        Lengths of the embeddings: the longest and the shortest are among the rows.
    size_px : int
        Height and width of the images; the larger, the fewer rows.
    """
    n_images = len(norms)
    n = max(2 * N_EXTREME + 4, min(BATCH_SIZE, MOST_PIXELS // size_px**2))
    neighbours = np.arange(min(n, n_images))
    order = np.argsort(norms, kind="stable")
    extreme = np.concatenate([order[:N_EXTREME], order[-N_EXTREME:]])
    others = np.unique(np.concatenate([extreme, spread(n_images, n - len(extreme))]))
    others = np.setdiff1d(others, neighbours)
    return np.concatenate([neighbours, others]), len(neighbours)


def decode_sample(features: FeatureFile, root: Path, norms: NDArray[np.float64]) -> Sample:
    """Decode images of the file whose bytes are still those that were extracted.

    Parameters
    ----------
    features : FeatureFile
    root : Path
        The folder of images.
    norms : float64 (n_images,)
        Lengths of the embeddings.
    """
    rows, n_neighbours = choose_rows(norms, features.identity.size_px)
    table = features.table
    contents = table.contents()
    files = [Folder(root).file(table.paths[row], contents[row]) for row in rows]
    unusable: dict[int, str] = {}
    decoded = list(
        decoded_images(
            files,
            features.identity.size_px,
            lambda row, why: unusable.update({row: f"{files[row].path}: {why}"}),
            Stopwatch(),
        )
    )
    usable = np.array([image.row for image in decoded], dtype=np.intp)
    size_px = features.identity.size_px
    images = np.array([image.image for image in decoded], dtype=np.uint8)
    return Sample(
        rows[usable],
        images.reshape(-1, size_px, size_px, 3),
        int((usable < n_neighbours).sum()),
        tuple(unusable.values()),
    )
