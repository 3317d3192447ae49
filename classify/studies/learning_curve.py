"""Learning curve: accuracy of heads that are fitted on growing shares of train."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from headbench.cache.reader import FeatureFile
from headbench.classify.checked import check_fields
from headbench.classify.errors import loading
from headbench.classify.heads.head import Head
from headbench.classify.intervals import Estimate, interval, left_out_means, resampled_means, wilson
from headbench.classify.studies.study import Fit, read_points, run_study
from headbench.classify.wording import beyond

SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
CURVE_FILE = "learning_curve.json"


@dataclass(frozen=True)
class CurvePoint:
    """A head that was fitted on a share of train.

    Attributes
    ----------
    share : float
        Share of train, 0 to 1.
    seed : int
        Seed of the choice of images.
    n_images : int
        Number of images that it was fitted on.
    top1 : Estimate
        Accuracy on val.
    right : str
        Hexadecimal bits, one per image of val: 1 if it was classified correctly.
    is_at_limit : bool
        Whether a limit ended the choice of its settings: a better value may lie beyond it.
    """

    head: str
    settings: Mapping[str, Any]
    share: float
    seed: int
    n_images: int
    top1: Estimate
    right: str
    is_at_limit: bool = False


def learning_curve(
    folder: Path, features: FeatureFile, heads: Mapping[str, Head], seed: int, n_jobs: int
) -> list[CurvePoint]:
    """Fit heads on 1, 2, 5, 10, 25, 50 and 100 % of train, measured on val.

    Smaller shares are part of larger ones. Each share is taken class by class, with at least one
    image of each.

    Parameters
    ----------
    folder : Path
        Folder for ``learning_curve.json``.
    heads : mapping of str to Head
        Not fitted yet.
    seed : int
        Seed of the choice of images.
    n_jobs : int
        Number of fits at a time.
    """
    X, y = features.load("train")
    val = features.load("val")
    weight, weight_val = features.weights("train"), features.weights("val")
    ranks = nested_ranks(y, seed)

    def fit_on(share: float) -> Callable[[Head], dict[str, Any]]:
        def work(head: Head) -> dict[str, Any]:
            rows = np.flatnonzero(ranks < share)
            head.fit(X[rows], y[rows], *val, weight[rows], weight_val)
            is_right = head.predict(val[0]) == val[1]
            top1 = wilson(int(is_right.sum()), len(is_right))
            right = np.packbits(is_right).tobytes().hex()
            found = {"n_images": len(rows), "top1": top1._asdict(), "right": right}
            return {**found, "is_at_limit": bool(beyond(head.chosen_))}

        return work

    fits = [
        Fit(name, clone(head), {"share": share, "seed": seed}, fit_on(share))
        for name, head in heads.items()
        for share in SHARES
    ]
    # A share of train is a copy, and a head makes another one.
    found = run_study(folder / CURVE_FILE, features, fits, n_jobs, 2 * X.nbytes)
    return _points(folder, features, found)


def read_curve(folder: Path, features: FeatureFile) -> list[CurvePoint]:
    """Points of the last learning curve on these features; empty if there is none."""
    return _points(folder, features, read_points(folder / CURVE_FILE, features))


def _points(folder: Path, features: FeatureFile, kept: list[dict[str, Any]]) -> list[CurvePoint]:
    n_val = len(features.rows("val"))
    with loading(folder / CURVE_FILE, "Delete it and run 'headbench heads --curve' again."):
        points = [_point(raw, n_val) for raw in kept]
        for name in {point.head for point in points}:
            shares = sorted(point.share for point in points if point.head == name)
            if shares != list(SHARES):
                raise ValueError(f"{name}: expected shares {SHARES}, found {shares}")
    return points


def _point(raw: dict[str, Any], n_val: int) -> CurvePoint:
    check_fields(CurvePoint, raw)
    top1 = Estimate(**raw["top1"])
    right = np.unpackbits(np.frombuffer(bytes.fromhex(raw["right"]), np.uint8))
    is_share = top1.n == n_val and np.isclose(top1.value, right.sum() / n_val)
    if len(right) // 8 != -(-n_val // 8) or not is_share:
        raise ValueError(f"{raw['head']}: top1 is not the share of val that is correct")
    return CurvePoint(**{**raw, "top1": top1})


def nested_ranks(y: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """Position of each image in a random order of its class, as a share of the class.

    The images below a share are that share of each class; the first image of a class is in every
    share.

    Parameters
    ----------
    y : int (n_images,)

    Returns
    -------
    float64 (n_images,)
        From 0 up to, not including, 1.
    """
    rng = np.random.default_rng(seed)
    ranks = np.empty(len(y))
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        ranks[rng.permutation(rows)] = np.arange(len(rows)) / len(rows)
    return ranks


def gain_of_doubling(points: Sequence[CurvePoint], seed: int = 0) -> Estimate:
    """Validation accuracy with all of train minus that with half of it, with a paired interval.

    Parameters
    ----------
    points : sequence of CurvePoint
        Points of one head.
    seed : int
        Seed of the bootstrap.
    """
    by_share = {point.share: point for point in points}
    n = by_share[1.0].top1.n
    is_right = [
        np.unpackbits(
            np.frombuffer(bytes.fromhex(by_share[share].right), np.uint8), count=n
        ).astype(float)
        for share in (1.0, 0.5)
    ]
    gain = (is_right[0] - is_right[1])[:, None]
    draws = resampled_means(gain, seed)
    return interval(float(gain.mean()), draws[:, 0], left_out_means(gain)[:, 0])
