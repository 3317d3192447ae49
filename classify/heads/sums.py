"""Sums over all embeddings, block by block, here or on other machines."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.heads.blocks import row_blocks
from classify.heads.stored import Address, Embeddings, StoredRows, embedding_blocks

# Of embeddings that several workers sum: so many whatever the workers, so that a sum does not
# depend on their number; few, since each comes back as large as the sum itself.
N_PARTS = 32

Columns = Sequence[NDArray[Any]]
Terms = Callable[..., tuple[NDArray[Any], ...]]
Sums = list[NDArray[np.float64]]


def sum_over(terms: Terms, X: Embeddings, columns: Columns, *arguments: Any) -> Sums:
    """Sum what a function makes of each block of embeddings.

    Where the embeddings are in a file and its machines are not this process, each worker reads and
    sums parts of it; the parts are added in their order, whoever was first.

    Parameters
    ----------
    terms : callable
        Of a module. Given a block of `X`, the same rows of each column, and `arguments`; gives
        arrays, or numbers, that do not grow with the rows.
    X : float32 (n_images, dim), in memory or in a file
        Of at least one image.
    columns : sequence of array (n_images,)
    *arguments
        The same for every block.

    Returns
    -------
    list of float64 array
        A sum of each.
    """
    if not isinstance(X, StoredRows) or X.machines.are_this_process:
        return _sum(terms, X, columns, arguments)
    parts = row_blocks(len(X), -(-len(X) // N_PARTS))
    tasks = (
        (terms, X.part(rows).address(), [column[rows] for column in columns], arguments)
        for rows in parts
    )
    return _added(X.workers(_sum_there, tasks, in_order=True))


def _sum(terms: Terms, X: Embeddings, columns: Columns, arguments: tuple[Any, ...]) -> Sums:
    return _added(
        terms(block, *(column[rows] for column in columns), *arguments)
        for rows, block in embedding_blocks(X)
    )


def _sum_there(
    terms: Terms, address: Address, columns: Columns, arguments: tuple[Any, ...]
) -> Sums:
    return _sum(terms, address.open(), columns, arguments)


def _added(parts: Any) -> Sums:
    sums: Sums = []
    for part in parts:
        if not sums:
            sums = [np.array(term, dtype=np.float64) for term in part]
            continue
        for total, term in zip(sums, part, strict=True):
            total += term
    return sums
