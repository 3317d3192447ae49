"""Lengths of embeddings where the network cannot be asked what they should be."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.doctor.finding import Finding, Photo, Severity

# Of photographs: ResNet50 at 96 px gave 4.2 to 11.5 over 1 600, median 5.9.
MOST_TIMES = 4.0
# In standard deviations of the logarithm, as the median absolute deviation estimates it.
MOST_DEVIATIONS = 8.0
MAD_TO_DEVIATION = 1.4826


def examine_norms(
    features: FeatureFile, norms: NDArray[np.float64], root: Path | None
) -> Iterator[Finding]:
    """Embeddings far longer or far shorter than the others.

    Parameters
    ----------
    features : FeatureFile
    norms : float64 (n_images,)
        Their lengths.
    root : Path or None
        The folder of images, for photographs.
    """
    odd = odd_norms(norms)
    if not odd.size:
        return
    yield off_range(
        features,
        norms,
        odd,
        root,
        Severity.WARNING,
        (
            f"The median of {len(norms)} is {np.median(norms):.4g}; these are more than "
            f"{MOST_TIMES:g} times off it, and {MOST_DEVIATIONS:g} standard deviations of the "
            "logarithm.",
        ),
    )


def odd_norms(norms: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows whose length is far off the others', the farthest first.

    Parameters
    ----------
    norms : float64 (n_images,)

    Returns
    -------
    intp (n_odd,)
    """
    if not np.median(norms) > 0:
        return np.empty(0, dtype=np.intp)
    logs = np.log(np.maximum(norms, np.finfo(np.float32).tiny))
    off = np.abs(logs - np.median(logs))
    most = max(np.log(MOST_TIMES), MOST_DEVIATIONS * MAD_TO_DEVIATION * float(np.median(off)))
    order: NDArray[np.intp] = np.argsort(-off, kind="stable")
    return np.asarray(order[off[order] > most])


def off_range(
    features: FeatureFile,
    norms: NDArray[np.float64],
    odd: NDArray[np.intp],
    root: Path | None,
    severity: Severity,
    evidence: tuple[str, ...],
) -> Finding:
    """The finding for some rows of the file.

    Parameters
    ----------
    features : FeatureFile
    norms : float64 (n_images,)
    odd : intp (n_odd,)
        Rows, the worst first.
    root : Path or None
        The folder of images, for photographs.
    severity : Severity
    evidence : tuple of str
        What they should be.
    """
    paths = features.table.paths
    n_zero = int((norms[odd] == 0).sum())
    first = [f"{paths[row]}: length {norms[row]:.4g}." for row in odd[:3].tolist()]
    zeros = [f"{n_zero} of them hold nothing but zeros."] if n_zero else []
    return Finding(
        "norms-off-range",
        severity,
        f"{len(odd)} of {len(norms)} embeddings: far longer or shorter than this network's.",
        (*evidence, *zeros, *first),
        "Look at these images. If nothing is odd about them, their embeddings were changed after "
        "they were computed: 'make features OVERWRITE=1' computes them anew; then 'make heads'.",
        photos=tuple(
            Photo(root / paths[row], f"length {norms[row]:.4g}") for row in odd.tolist() if root
        ),
    )
