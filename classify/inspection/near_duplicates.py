"""Exact copies and near-duplicates that stand in two splits or under two labels."""

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
# In few dimensions everything is near something: the mean colour has three.
FEWEST_COLUMNS = 32


class Pair(NamedTuple):
    """Two images that differ in their split, in their label, or in both.

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
        Exact copies first, then near ones, the most similar first; `MOST_PAIRS` at most.
    n_pairs : int
        How many there are.
    n_exact : int
        How many of them are exact copies.
    threshold : float or None
        Similarity from which on two images count as near copies; None if none were looked for,
        because the embeddings have fewer than `FEWEST_COLUMNS` columns or none can be compared.
    """

    pairs: list[Pair]
    n_pairs: int
    n_exact: int
    threshold: float | None


def find_duplicates(features: FeatureFile) -> Duplicates:
    """Pairs of the same image, or nearly the same one, in different splits or with other labels.

    Copies of one file that share split and label count once: the first stands for them all.

    Near copies have a cosine similarity of at least the threshold that `choose_threshold` finds for
    the file; what share of altered copies that finds stands there. The search is exact: no pair
    that reaches the threshold is missed. It reads the file once and keeps about 100 numbers an
    image in memory.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    """
    rows = distinct_rows(features.table)
    groups = [rows.row[same] for same in _equal(rows.content)]
    n_exact = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    exact = list(islice(_exact_pairs(groups), MOST_PAIRS))
    near, threshold = _near_copies(features, rows, MOST_PAIRS - len(exact))
    pairs = exact + [
        Pair(first, second, similarity, is_exact=False)
        for first, second, similarity in zip(
            near.first.tolist(), near.second.tolist(), near.similarity.tolist(), strict=True
        )
    ]
    return Duplicates(pairs, n_exact + near.n_found, n_exact, threshold)


def distinct_rows(table: Table) -> Rows:
    """The first row of each content in each split under each label."""
    digests = np.ascontiguousarray(table.content_sha256).view("S32").ravel()
    _, content = np.unique(digests, return_inverse=True)
    place = table.labels.astype(np.int64) * len(SPLITS) + table.splits
    n_places = len(table.classes) * len(SPLITS)
    _, first = np.unique(content * n_places + place, return_index=True)
    first.sort()
    return Rows(first, content[first], place[first])


def _equal(content: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions of equal contents, at least two each, in the order of the first."""
    order = np.argsort(content, kind="stable")
    starts = np.flatnonzero(np.diff(content[order])) + 1
    groups = [group for group in np.split(order, starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _exact_pairs(groups: list[NDArray[np.intp]]) -> Iterator[Pair]:
    pairs = chain.from_iterable(combinations(group.tolist(), 2) for group in groups)
    return (Pair(first, second, 1.0, is_exact=True) for first, second in pairs)


def _near_copies(features: FeatureFile, rows: Rows, n_most: int) -> tuple[Found, float | None]:
    if features.dim < FEWEST_COLUMNS or not len(rows.row):
        return Found.nothing(), None
    # Many small products: side by side they are faster than each of them in all threads.
    with threadpool_limits(1, "blas"):
        projection = project(features, rows)
        return find_near(features, projection, n_most), projection.threshold
