"""Images that look mislabelled to a head that has not seen them."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from classify.errors import RunError


def has_cleanlab() -> bool:
    """Whether the optional cleanlab is installed; does not import it."""
    return find_spec("cleanlab") is not None


def find_suspects(labels: NDArray[np.integer], proba: NDArray[np.float32]) -> NDArray[np.intp]:
    """Images that look mislabelled, by confident learning; the most suspicious first.

    Confident learning [1]_ counts, for each pair of classes, the images of the first that are at
    least as probably of the second as images of the second are on average. From that count cleanlab
    estimates how many of each pair are mislabelled, and takes as many (``prune_by_noise_rate``,
    its default), but none whose given label is the most probable one. So an image is only
    suspected of a class that has images, and the only image of a class is never suspected.

    They are ranked by self confidence, the probability of the given label, the lowest first.
    Measured on 1 200 photographs of 10 classes of Food-101 (ResNet50 at 96 px, logreg over 5 folds,
    right on 49 %), 60 of them relabelled at random, mean of 5 draws: 51 of the 60 were among 451
    suspects (recall 0.85, precision 0.11). Of the first 20 suspects 67 % were relabelled, of the
    first 60 45 %; ranked by normalized margin, 40 % and 29 %. Precision is a lower bound: the
    photographs have wrong labels of their own. A head that is often wrong suspects many images
    that are only hard: look at the first ones.

    Parameters
    ----------
    labels : int (n,)
        Index into the columns of `proba`; not every class needs an image. Not modified.
    proba : float32 (n, n_classes)
        By a head that was fitted without the image. Not modified.

    Returns
    -------
    intp (n_suspects,)
        Positions in `labels`.

    Raises
    ------
    RunError
        If cleanlab is not installed.

    References
    ----------
    .. [1] Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset
       Labels", J. Artif. Intell. Res. 70 (2021), 1373-1411.
    """
    find_label_issues = _import_cleanlab()
    if len(np.unique(labels)) < 2:
        # No other class to suspect; cleanlab refuses this.
        return np.empty(0, dtype=np.intp)
    with warnings.catch_warnings():
        # A class of at most one image; said above.
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        found = find_label_issues(
            labels,
            proba,
            return_indices_ranked_by="self_confidence",
            # In this process: starting others takes longer than the work.
            n_jobs=1,
        )
    return np.asarray(found, dtype=np.intp)


def _import_cleanlab() -> Callable[..., NDArray[np.integer]]:
    # Imported here: optional, and slow to import.
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise RunError(
            f"Looking for wrong labels needs cleanlab, which cannot be imported ({error}). "
            "Run 'make install EXTRAS=suspects'."
        ) from error
    return find_label_issues  # type: ignore[no-any-return]
