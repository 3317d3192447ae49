"""Images by content: which are the same, which nearly, and where each lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from classify.doctor.data.alike import Alike, find_alike
from classify.doctor.data.scan import Scan
from classify.doctor.data.splits import UNKNOWN, Partition

NO_ROW = -1


@dataclass(frozen=True)
class Kinds:
    """The different contents among the usable images.

    Attributes
    ----------
    of_image : intp (n_images,)
        Number of the content of each image; -1 where it cannot be used.
    first : intp (n_kinds,)
        The first image of each.
    in_split : intp (n_kinds, 3)
        An image of each in train, val and test; -1 where there is none.
    near_in_split : intp (n_kinds, 3)
        An image in train, val and test that is nearly the same, and not the same.
    alike : Alike
        Pairs of contents that are nearly the same.
    """

    of_image: NDArray[np.intp]
    first: NDArray[np.intp]
    in_split: NDArray[np.intp]
    near_in_split: NDArray[np.intp]
    alike: Alike


def sort_by_kind(scan: Scan, parts: Partition) -> Kinds:
    """Find what is the same, and what is nearly the same."""
    _, at, kinds = np.unique(
        scan.content_numbers[scan.usable], return_index=True, return_inverse=True
    )
    first = scan.usable[at]
    of_image = np.full(len(scan.images), NO_ROW, dtype=np.intp)
    of_image[scan.usable] = kinds
    alike = find_alike(scan.hashes[first], scan.thumbnails[first])
    in_split = np.full((len(first), len(SPLITS)), NO_ROW, dtype=np.intp)
    placed = np.flatnonzero(scan.is_usable & (parts.splits != UNKNOWN))
    in_split[of_image[placed], parts.splits[placed]] = placed
    return Kinds(of_image, first, in_split, _near(in_split, alike), alike)


def _near(in_split: NDArray[np.intp], alike: Alike) -> NDArray[np.intp]:
    near = np.full_like(in_split, NO_ROW)
    for one, other in ((alike.first, alike.second), (alike.second, alike.first)):
        np.maximum.at(near, one, in_split[other])
    return near
