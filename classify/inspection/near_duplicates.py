"""Exact copies and near-duplicates in different splits or with different labels."""

from collections.abc import Iterator
from itertools import chain, combinations, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headbench.cache.format import SPLITS, Table
from headbench.cache.reader import FeatureFile
from headbench.classify.inspection.principal_axes import Rows, project
from headbench.classify.inspection.similarity_search import Found, find_near

MOST_PAIRS = 10_000
# With few dimensions, different images have similar embeddings: mean-color has three.
FEWEST_COLUMNS = 32


class Pair(NamedTuple):
    """Two duplicate images that differ in split, label or both.

    Attributes
    ----------
    first, second : int
        Rows of the feature file; first < second.
    similarity : float
        Cosine of the two embeddings; 1 for exact copies.
    is_exact : bool
        The two files have the same bytes.
    """

    first: int
    second: int
    similarity: float
    is_exact: bool


class Duplicates(NamedTuple):
    """What `find_duplicates` found.

    Attributes
    ----------
    pairs : list of Pair
        Exact copies first, then near-duplicates, the most similar first; at most `MOST_PAIRS`.
    n_pairs : int
        Number of all pairs.
    n_exact : int
        Number of pairs that are exact copies.
    threshold : float or None
        Smallest cosine similarity of near-duplicates; None if they were not searched for, because
        the embeddings have fewer than `FEWEST_COLUMNS` columns or cannot be compared.
    """

    pairs: list[Pair]
    n_pairs: int
    n_exact: int
    threshold: float | None


def find_duplicates(features: FeatureFile) -> Duplicates:
    """Find pairs of duplicates in different splits or with different labels.

    Copies of one file with the same split and label count once.

    Near-duplicates have at least the cosine similarity that `choose_threshold` finds for the file;
    its documentation lists which altered copies that detects. The search is exact: it finds every
    pair that reaches the threshold. It reads the file once and keeps about 100 numbers an image in
    memory.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    """
    return _find(features, distinct_rows(features.table), None)


def find_pairs(
    features: FeatureFile, rows: NDArray[np.intp], threshold: float | None = None
) -> Duplicates:
    """Find all pairs of similar images among some rows, whatever their splits and labels.

    Parameters
    ----------
    rows : intp (n_rows,)
        Ascending.
    threshold : float, optional
        Smallest cosine similarity; by default that of near-duplicates, as in `find_duplicates`.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    RunError
        If so many pairs reach the threshold that they do not fit in memory.
    """
    content = _numbered(features.dataset("content_sha256").read(rows))
    return _find(features, Rows(rows, content, np.arange(len(rows))), threshold)


def _find(features: FeatureFile, rows: Rows, threshold: float | None) -> Duplicates:
    groups = [rows.row[same] for same in _equal(rows.content)]
    n_exact = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    exact = list(islice(_exact_pairs(groups), MOST_PAIRS))
    near, threshold = _near_copies(features, rows, MOST_PAIRS - len(exact), threshold)
    pairs = exact + [
        Pair(first, second, similarity, is_exact=False)
        for first, second, similarity in zip(
            near.first.tolist(), near.second.tolist(), near.similarity.tolist(), strict=True
        )
    ]
    return Duplicates(pairs, n_exact + near.n_found, n_exact, threshold)


def distinct_rows(table: Table) -> Rows:
    """The first row of each content in each split under each label."""
    content = _numbered(table.content_sha256)
    place = table.labels.astype(np.int64) * len(SPLITS) + table.splits
    n_places = len(table.classes) * len(SPLITS)
    _, first = np.unique(content * n_places + place, return_index=True)
    first.sort()
    return Rows(first, content[first], place[first])


def _numbered(content_sha256: NDArray[np.uint8]) -> NDArray[np.intp]:
    """A number for each content, of digests uint8 (n, 32)."""
    digests = np.ascontiguousarray(content_sha256).view("S32").ravel()
    return np.unique(digests, return_inverse=True)[1]


def _equal(content: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions of equal contents, at least two each, in the order of the first."""
    order = np.argsort(content, kind="stable")
    starts = np.flatnonzero(np.diff(content[order])) + 1
    groups = [group for group in np.split(order, starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _exact_pairs(groups: list[NDArray[np.intp]]) -> Iterator[Pair]:
    pairs = chain.from_iterable(combinations(group.tolist(), 2) for group in groups)
    return (Pair(first, second, 1.0, is_exact=True) for first, second in pairs)


def _near_copies(
    features: FeatureFile, rows: Rows, n_most: int, threshold: float | None
) -> tuple[Found, float | None]:
    if (features.dim < FEWEST_COLUMNS and threshold is None) or not len(rows.row):
        return Found.nothing(), threshold
    # Many small products: side by side they are faster than each of them in all threads.
    with threadpool_limits(1, "blas"):
        projection = project(features, rows)
        if threshold is not None:
            projection = projection._replace(threshold=threshold)
        return find_near(features, projection, n_most), projection.threshold
