"""Embeddings on their first principal axes, and the similarity of near-duplicates.

For two embeddings of length 1, 1 - cosine is half of their squared distance. On orthonormal axes
no distance grows, so what is far apart there cannot be a near-duplicate. One more coordinate, the
length of what the axes leave out, makes the bound tighter: two remainders differ at least by the
difference of their lengths.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from headbench.cache.reader import FeatureFile
from headbench.classify.heads.cores import n_cores
from headbench.classify.heads.streaming import row_blocks
from headbench.extract.images.stream import map_ahead

QUANTILE = 0.1
NEAREST_SHARE = 0.3
TYPICAL_SHARE = 0.02
# Of a network that answers the same to every image: nothing can be told from its embeddings.
ONE_DIRECTION = 1e-4
N_AXES = 64
N_PROBES = 128
# Of a squared length, where float32 still holds the squares of all columns.
MOST_SQUARE, LEAST_SQUARE = 1e30, 1e-20
ROWS_PER_PROBE = 8


def choose_threshold(nearest: NDArray[np.float32], mean: NDArray[np.float32]) -> float | None:
    """The smallest similarity of near-duplicates, relative to that of different images.

    Similarities depend on the network, its input size and the number of images, so the threshold is
    relative. 1 - similarity must be at most 0.3 times that of an image and its nearest neighbour
    (the 10 % quantile over `nearest`), or 0.02 times that of any two images (for files where more
    than 10 % of the images have a near-duplicate).

    Measured on photographs of 10 classes of Food-101 with ResNet50 (weights trained for this
    project, not ImageNet's) and mobilenetv3large with random weights. 200 photographs (40 at
    224 px) were altered; share found::

                                     96 px    224 px   random, 96 px
        threshold                    0.948    0.974    0.993
        JPEG quality 60              1.00     1.00     1.00
        80 % of the size             1.00     1.00     1.00
        10 % brighter                1.00     1.00     0.29
        3 % cut off each side        0.95     0.98     0.14
        mirrored                     0.13     0.85     0.00
        10 % cut off each side       0.07     0.08     0.00
        pairs among the originals    1        1        54
        of so many photographs       1 600    434      1 600

    The one pair that ResNet50 finds is a photograph that is in the data set twice; the next pairs
    (0.92 at 96 px, 0.96 at 224 px) show different dishes, so no fixed threshold suits both sizes.
    Centred cosines are worse: with 20 false pairs allowed they find 0.57 of the images cut by 10 %
    and 0.74 of the mirrored ones, uncentred cosines 0.72 and 0.88 (96 px). Random weights do not
    distinguish near-duplicates. ImageNet weights were not measured.

    Parameters
    ----------
    nearest : float32 (n_probes,)
        Of some images, the similarity to the nearest one of another content.
    mean : float32 (dim,)
        Mean of embeddings of length 1.
    """
    typical = 1 - float(mean @ mean)
    if not len(nearest) or typical < ONE_DIRECTION:
        return None
    gap = max(NEAREST_SHARE * float(np.quantile(1 - nearest, QUANTILE)), TYPICAL_SHARE * typical)
    return 1 - gap


class Rows(NamedTuple):
    """Rows that are compared, n of them.

    Attributes
    ----------
    row : intp (n,)
        Rows of the feature file, ascending.
    content : intp (n,)
        Equal for equal files.
    place : int64 (n,)
        Equal for images of the same split and label.
    """

    row: NDArray[np.intp]
    content: NDArray[np.intp]
    place: NDArray[np.int64]

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """Some of them."""
        return Rows(self.row[which], self.content[which], self.place[which])


class Projection(NamedTuple):
    """Embeddings of length 1 on few axes.

    Attributes
    ----------
    rows : Rows
        Without those whose embedding is zero, which have no direction.
    points : float32 (n, n_axes + 1)
        Coordinates on the axes, the first varies most; last the length of what they leave out.
    threshold : float or None
        Cosine similarity from which on two images count as near copies; None if no two images
        can be compared.
    """

    rows: Rows
    points: NDArray[np.float32]
    threshold: float | None


class Sample(NamedTuple):
    """What is known from a sample before all embeddings are read.

    Attributes
    ----------
    mean : float32 (dim,)
        Of the embeddings of length 1.
    axes : float32 (dim, n_axes)
        Orthonormal.
    probes : float32 (n_probes, dim)
        Of length 1.
    probe_content : intp (n_probes,)
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    probes: NDArray[np.float32]
    probe_content: NDArray[np.intp]


def project(features: FeatureFile, rows: Rows) -> Projection:
    """Read all embeddings once, some at a time.

    Parameters
    ----------
    rows : Rows
        At least one.
    """
    sample = take_sample(features, rows)
    points = np.empty((len(rows.row), sample.axes.shape[1] + 1), dtype=np.float32)
    has_direction = np.empty(len(points), dtype=bool)
    nearest = np.full(len(sample.probes), -np.inf, dtype=np.float32)
    blocks, n_threads = row_blocks(len(points)), n_cores()
    # One block is read while another is worked on.
    work = partial(_project_block, features, rows, sample)
    done = map_ahead(work, blocks, n_threads, n_threads)
    for block, of_block in zip(blocks, done, strict=True):
        points[block], has_direction[block], near = of_block
        np.maximum(nearest, near, out=nearest)
    threshold = choose_threshold(nearest[np.isfinite(nearest)], sample.mean)
    return Projection(rows.take(has_direction), points[has_direction], threshold)


def take_sample(features: FeatureFile, rows: Rows) -> Sample:
    """Runs of rows from all over the file; the first of each run is a probe."""
    n_rows = len(rows.row)
    runs = np.linspace(0, n_rows, min(N_PROBES, n_rows), endpoint=False).astype(np.intp)
    chosen = np.unique(np.minimum(runs[:, None] + np.arange(ROWS_PER_PROBE), n_rows - 1))
    X = unit(features.read(rows.row[chosen]))
    mean = X.mean(axis=0)
    is_probe = np.isin(chosen, runs) & X.any(axis=1)
    return Sample(mean, _axes(X - mean), X[is_probe], rows.content[chosen[is_probe]])


def unit(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings scaled to length 1, float32 (n, dim); those that are zero stay so."""
    # By the largest number first: squares neither overflow nor vanish.
    largest = np.maximum(X.max(axis=1, initial=0), -X.min(axis=1, initial=0))
    scaled = np.asarray(X / np.where(largest > 0, largest, 1)[:, None], dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    scaled /= np.where(length > 0, length, 1)[:, None]
    return scaled


def _axes(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first principal axes, float32 (dim, n_axes), orthonormal."""
    n_axes = min(N_AXES, *X.shape)
    values, turned = eigh(X @ X.T, subset_by_index=(len(X) - n_axes, len(X) - 1))
    kept = values > 1e-6 * max(float(values[-1]), 1e-6)
    # Orthonormal to the last digit: no distance may grow.
    spanned = X.T.astype(np.float64) @ turned[:, kept][:, ::-1]
    return np.asarray(np.linalg.qr(spanned).Q, dtype=np.float32)


def _project_block(
    features: FeatureFile, rows: Rows, sample: Sample, block: slice
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """Points, which of them have a direction, and the similarity of each probe to the nearest."""
    X, length = with_length(features.read(rows.row[block]))
    has_direction = length > 0
    # One product for all, and no copy of length 1: the embeddings are many, the columns few.
    products = X @ np.column_stack([sample.probes.T, sample.axes, sample.mean])
    products /= np.where(has_direction, length, 1)[:, None]
    similarity, on_axes, on_mean = np.split(products, [len(sample.probes), -1], axis=1)
    similarity[rows.content[block, None] == sample.probe_content] = -np.inf
    similarity[~has_direction] = -np.inf
    on_axes -= sample.mean @ sample.axes
    # Squared distance from the mean, less what lies on the axes.
    left = 1 - 2 * on_mean[:, 0] + sample.mean @ sample.mean
    left -= np.einsum("ij,ij->i", on_axes, on_axes)
    points = np.column_stack([on_axes, np.sqrt(np.maximum(left, 0))])
    return points, has_direction, np.asarray(similarity.max(axis=0))


def with_length(X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and their lengths; scaled first where squares would overflow or vanish."""
    with np.errstate(over="ignore", under="ignore"):
        square = np.einsum("ij,ij->i", X, X)
    if square.max(initial=1) > MOST_SQUARE or square.min(initial=1) < LEAST_SQUARE:
        X = unit(X)
        square = np.einsum("ij,ij->i", X, X)
    return X, np.sqrt(square)
