"""Copies of one file: a frozen network in inference mode gives them the same embedding."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.doctor.finding import Finding, Photo, Severity
from classify.heads.streaming import row_blocks
from classify.wording import count
from extract.embedder import relative_differences
from extract.keras_backbone import FLOAT16_TOLERANCE
from extract.opening import ENGINE_TOLERANCE
from extract.settings import FLOAT32

# Two neighbours of float16 are 1e-3 apart, and what is kept in it may be rounded either way.
STORE_TOLERANCE = {"float32": ENGINE_TOLERANCE, "float16": 2e-3}


def examine_copies(features: FeatureFile, root: Path | None) -> Iterator[Finding]:
    """Copies whose embeddings differ by more than rounding.

    Parameters
    ----------
    features : FeatureFile
    root : Path or None
        The folder of images, for photographs.
    """
    first, other = copies(features.table.content_sha256)
    if not len(first):
        return
    distance = np.concatenate(
        [
            relative_differences(features.read(other[rows]), features.read(first[rows]))
            for rows in row_blocks(len(first))
        ]
    )
    differ = np.flatnonzero(~(distance <= _tolerance(features)))
    if not differ.size:
        return
    worst = differ[np.argsort(-distance[differ], kind="stable")]
    paths = features.table.paths
    pairs = [(paths[first[pair]], paths[other[pair]], distance[pair]) for pair in worst.tolist()]
    yield Finding(
        "copies-embedded-differently",
        Severity.SEVERE,
        f"{len(worst)} copies of images have another embedding "
        "than the same file elsewhere: it depends on chance, or on the other images of the batch.",
        (
            f"Of {count(len(first), 'pair')} of files with the same bytes {len(worst)} differ by "
            f"more than {_tolerance(features):.0e} of the embedding's length, at worst by "
            f"{distance[worst[0]]:.2g}.",
            f"For example {pairs[0][0]} and {pairs[0][1]}.",
        ),
        "Run the network in inference mode: BatchNormalization on its moving statistics, no "
        "Dropout, no augmentation. 'make features OVERWRITE=1' does.",
        photos=tuple(
            Photo(root / path, f"{value:.2g} from its copy")
            for *both, value in pairs
            for path in both
            if root
        ),
    )


def copies(content_sha256: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the same content.

    Parameters
    ----------
    content_sha256 : uint8 (n_images, 32)

    Returns
    -------
    first, other : intp (n_pairs,)
        The first row of a content, and each later one.
    """
    digests = np.ascontiguousarray(content_sha256).view("S32").ravel()
    _, firsts, content = np.unique(digests, return_index=True, return_inverse=True)
    first = firsts[content]
    other = np.flatnonzero(first != np.arange(len(first)))
    return first[other], other


def _tolerance(features: FeatureFile) -> float:
    is_float32 = features.identity.precision == FLOAT32
    return STORE_TOLERANCE[features.config.store] if is_float32 else FLOAT16_TOLERANCE
