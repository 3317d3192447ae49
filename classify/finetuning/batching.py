"""Who computes what of each batch of an epoch."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.finetuning.steps import Steps
from classify.finetuning.workers import Workers


class Part(NamedTuple):
    """What one worker computes of every batch, all of one shape: TensorFlow prepares that once.

    Attributes
    ----------
    rows : int (n_steps, part_size)
        Which images.
    weights : float (n_steps, part_size)
        What each counts for; 0 for one that only fills the batch.
    totals : float (n_steps,)
        Sum of the weights of the whole batch, of all workers.
    n_images : int (n_steps,)
        How many images the whole batch has, without those that fill it.
    """

    rows: NDArray[np.intp]
    weights: NDArray[np.floating]
    totals: NDArray[np.floating]
    n_images: NDArray[np.intp]


def part_of(
    workers: Workers,
    order: NDArray[np.intp],
    weights: NDArray[np.floating],
    batch_size: int,
    padded_size: int,
) -> Part:
    """The part of a worker.

    Parameters
    ----------
    workers : Workers
    order : int (n_images,)
        In which images come.
    weights : float (n_images,)
        What each image counts for.
    batch_size : int
    padded_size : int
        To which each batch is filled up with images of its own; a multiple of the workers.
    """
    batches = np.split(order, range(batch_size, len(order), batch_size))
    n_images = np.array([len(batch) for batch in batches])
    rows = np.stack([np.resize(batch, padded_size) for batch in batches])
    counting = weights[rows] * (np.arange(padded_size) < n_images[:, None])

    def own(batches: NDArray[Any]) -> NDArray[Any]:
        return np.split(batches, workers.n_workers, axis=1)[workers.index]

    return Part(own(rows), own(counting), counting.sum(axis=1), n_images)


def padded_size(batch_size: int, steps: Steps) -> int:
    """The batch, filled up until every device and every share has as many images."""
    multiple = steps.n_devices * steps.n_shares
    return math.ceil(batch_size / multiple) * multiple
