"""How well embeddings suit labels, without a head: LogME, the evidence of a linear model."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

# Ratios of the prior's precision to that of the noise, relative to the largest eigenvalue.
LOG_RATIOS = np.linspace(-12, 4, 65)


def log_me(X: NDArray[np.floating], y: NDArray[np.integer]) -> float:
    """LogME of embeddings and labels (You et al. 2021, ICML, "LogME: practical assessment").

    For each class, ``1 if y == class else 0`` is modelled as ``X @ w`` plus Gaussian noise of
    precision beta, with a Gaussian prior of precision alpha on ``w``. LogME is the logarithm of
    the evidence, where alpha and beta make it largest, per image; the mean of all classes.

    Parameters
    ----------
    X : float (n_images, dim)
    y : int (n_images,)

    Returns
    -------
    float
        Higher is better. It can be compared between networks on the same images alone.
    """
    targets = (y[:, None] == np.unique(y)).astype(np.float64)
    axes, singular, _ = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    along = (axes.T @ targets) ** 2
    beyond = np.maximum((targets**2).sum(axis=0) - along.sum(axis=0), 0)
    columns = zip(along.T, beyond, strict=True)
    return float(np.mean([_log_evidence(singular**2, *each, len(y)) for each in columns]))


def _log_evidence(
    eigenvalues: NDArray[np.float64], along: NDArray[np.float64], beyond: float, n_images: int
) -> float:
    """The largest log evidence of one target per image.

    The target is normal with covariance ``(1 + X X' / ratio) / beta``, where the ratio is alpha /
    beta. For a given ratio the best beta has a closed form, so the search is along a line.

    Parameters
    ----------
    eigenvalues : float64 (rank,)
        Of ``X X'``.
    along : float64 (rank,)
        Square of the target's part along each eigenvector.
    beyond : float
        Square of the part that no eigenvector reaches.
    """
    largest = max(float(eigenvalues.max()), np.finfo(np.float64).tiny)

    def loss(log_ratio: float) -> float:
        ratio = largest * 10.0**log_ratio
        noise = (beyond + along @ (ratio / (ratio + eigenvalues))) / n_images
        volume = np.log1p(eigenvalues / ratio).sum() / n_images
        return float(np.log(2 * np.pi * max(noise, np.finfo(np.float64).tiny)) + 1 + volume) / 2

    best = int(np.argmin([loss(each) for each in LOG_RATIOS]))
    ends = LOG_RATIOS[max(best - 1, 0)], LOG_RATIOS[min(best + 1, len(LOG_RATIOS) - 1)]
    return -float(minimize_scalar(loss, bounds=ends, method="bounded").fun)
