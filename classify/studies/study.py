"""Heads fitted many times over, and the results kept: nothing is fitted twice."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from threadpoolctl import threadpool_limits

from headbench.cache.reader import FeatureFile
from headbench.cache.writer import installed_version
from headbench.classify.heads.head import Head

LOG = logging.getLogger(__name__)

STUDY_VERSION = 2


def _always(_: dict[str, Any]) -> bool:
    return True


class Fit(NamedTuple):
    """One fit of a study.

    Attributes
    ----------
    head : str
        Its name.
    estimator : Head
        Not fitted yet.
    key : dict
        What else decides the result; JSON-ready.
    work : callable
        Fits the estimator; gives the result, JSON-ready.
    is_reusable : callable
        Whether an earlier result can be used; to be given where a result names a file.
    """

    head: str
    estimator: Head
    key: dict[str, Any]
    work: Callable[[Head], dict[str, Any]]
    is_reusable: Callable[[dict[str, Any]], bool] = _always


def run_study(
    path: Path, features: FeatureFile, fits: Sequence[Fit], n_jobs: int
) -> list[dict[str, Any]]:
    """Run fits, side by side where they are no networks, and keep their results.

    Parameters
    ----------
    path : Path
        JSON file of the results; those of the same head, settings and features are reused.
    n_jobs : int
        Fits at a time.

    Returns
    -------
    list of dict
        For each fit ``head``, ``settings``, its key and its result, in order.
    """
    keys = [full_key(each.head, each.estimator, each.key) for each in fits]
    earlier = {_text(point["key"]): point for point in read_all(path, features)}
    kept = {text: point["result"] for text, point in earlier.items()}
    missing = [
        index
        for index, (fit, key) in enumerate(zip(fits, keys, strict=True))
        if _text(key) not in kept or not fit.is_reusable(kept[_text(key)])
    ]
    LOG.info(
        f"{path.stem.replace('_', ' ')}: {len(missing)} fits, {len(fits) - len(missing)} reused"
    )

    def work(index: int) -> dict[str, Any]:
        return fits[index].work(fits[index].estimator)

    # Keras draws from one generator for the whole process: networks go one after another.
    alone = [index for index in missing if fits[index].estimator.needs_tensorflow]
    parallel = [index for index in missing if index not in alone]
    # Threads: the embeddings are shared, and the products let go of the interpreter lock.
    with threadpool_limits(max(1, joblib.cpu_count() // n_jobs), "blas"):
        found = joblib.Parallel(n_jobs=n_jobs, prefer="threads")(
            joblib.delayed(work)(index) for index in parallel
        )
    results = dict(zip(parallel, found, strict=True)) | {index: work(index) for index in alone}
    for index, result in results.items():
        kept[_text(keys[index])] = result
    points = [{"key": key, "result": kept[_text(key)]} for key in keys]
    # Of other heads or settings: not shown, and not fitted again when they are asked for.
    shown = set(map(_text, keys))
    others = [point for text, point in earlier.items() if text not in shown]
    _write(path, features, {"points": points, "others": others})
    return [{**point["key"], **point["result"]} for point in points]


def read_study(path: Path, features: FeatureFile, group: str = "points") -> list[dict[str, Any]]:
    """Keys and results that are kept, if they are of these features and this version.

    Parameters
    ----------
    group : {"points", "others"}
        Those of the last run, or all others.
    """
    try:
        raw = json.loads(path.read_text("utf-8"))
        is_current = raw["stamp"] == study_stamp(features)
        points: list[dict[str, Any]] = raw[group] if is_current else []
    except (OSError, ValueError, KeyError, TypeError):
        # None yet, or damaged: fitted again.
        return []
    return points


def read_points(path: Path, features: FeatureFile) -> list[dict[str, Any]]:
    """Those of the last run as `run_study` returned them."""
    return [{**point["key"], **point["result"]} for point in read_study(path, features)]


def read_all(path: Path, features: FeatureFile) -> list[dict[str, Any]]:
    """Those of the last run and all others; see `read_study`."""
    return read_study(path, features, "points") + read_study(path, features, "others")


def full_key(head: str, estimator: Head, key: dict[str, Any]) -> dict[str, Any]:
    """All that decides the result of a fit, besides the stamp; JSON-ready."""
    return {"head": head, "settings": estimator.get_params(deep=False), **key}


def study_stamp(features: FeatureFile) -> dict[str, Any]:
    """What a study must have been made with to be reused; JSON-ready."""
    return {
        "version": STUDY_VERSION,
        "made_by": installed_version("headbench"),
        "features_digest": features.digest(),
    }


def fit_digest(stamp: dict[str, Any], key: dict[str, Any]) -> str:
    """A name for the files of one fit: 32 hexadecimal digits over its stamp and its full key."""
    return hashlib.sha256(_text({"stamp": stamp, "key": key}).encode()).hexdigest()[:32]


def _write(path: Path, features: FeatureFile, groups: dict[str, list[dict[str, Any]]]) -> None:
    text = json.dumps({"stamp": study_stamp(features), **groups}, indent=1)
    temporary = path.with_suffix(".new")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
