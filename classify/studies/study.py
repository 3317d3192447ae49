"""Fit heads many times and keep the results, so that nothing is fitted twice."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from headbench.cache.disk import replace_texts
from headbench.cache.progress import Progress, showing_progress
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import read_json
from headbench.cache.writer import installed_version
from headbench.classify.checked import check_fields, json_text
from headbench.classify.errors import RunError, loading
from headbench.classify.heads.cores import Task, fits_in_memory, side_by_side
from headbench.classify.heads.head import Head
from headbench.classify.wording import count

LOG = logging.getLogger(__name__)

STUDY_VERSION = 3
WAY_OUT = "Delete it, or run 'headbench heads' with the same options again: it replaces the file."


class Fit(NamedTuple):
    """One fit of a study.

    Attributes
    ----------
    head : str
        Name of the head.
    estimator : Head
        Not fitted yet.
    key : dict
        Everything else that the result depends on; JSON-ready.
    work : callable
        Fits the estimator and returns the result, JSON-ready.
    is_reusable : callable
        Whether an earlier result can be used; needed if a result names a file.
    """

    head: str
    estimator: Head
    key: dict[str, Any]
    work: Callable[[Head], dict[str, Any]]
    is_reusable: Callable[[dict[str, Any]], bool] = lambda _: True


class Point(NamedTuple):
    """A finished fit: everything its result depends on, and the result; both JSON-ready."""

    key: dict[str, Any]
    result: dict[str, Any]


class Study(NamedTuple):
    """Fits of the last run, and fits of other heads or settings, which are kept but not shown."""

    points: list[Point]
    others: list[Point]


def run_study(
    path: Path, features: FeatureFile, fits: Sequence[Fit], n_jobs: int, bytes_of_fit: int
) -> list[dict[str, Any]]:
    """Run fits and keep their results; networks one by one, beside the other heads.

    Parameters
    ----------
    path : Path
        JSON file of the results. Results of the same head, settings and features are reused.
    n_jobs : int
        Number of fits at a time, if memory allows.
    bytes_of_fit : int
        Bytes that a fit needs besides the embeddings.

    Returns
    -------
    list of dict
        For each fit, in order: ``head``, ``settings``, its key and its result.
    """
    earlier = {_text(point.key): point for point in chain(*_read_or_say(path, features))}
    keys = [full_key(each.head, each.estimator, each.key) for each in fits]
    known = [earlier.pop(_text(key), None) for key in keys]
    kept = [
        Point(key, point.result) if point and fit.is_reusable(point.result) else None
        for fit, key, point in zip(fits, keys, known, strict=True)
    ]
    missing = [fit for fit, point in zip(fits, kept, strict=True) if point is None]
    name = path.stem.replace("_", " ")
    LOG.info(f"{name}: {len(missing)} fits, {len(fits) - len(missing)} reused")
    n_fits = fits_in_memory(n_jobs, bytes_of_fit)
    if n_fits < min(n_jobs, len(missing)):
        needed = f"each needs {bytes_of_fit / 1e9:.1f} GB of memory"
        LOG.info(f"{name}: {count(n_fits, 'fit')} at a time instead of {n_jobs}: {needed}")
    # Each fit would show a bar of its own.
    with Progress(name, len(missing), "fits") as progress, showing_progress(False):
        results = iter(_results(missing, n_fits, progress))
    points = [point or Point(key, next(results)) for key, point in zip(keys, kept, strict=True)]
    _write(path, features, Study(points, list(earlier.values())))
    return [{**point.key, **point.result} for point in points]


def _results(fits: Sequence[Fit], n_fits: int, progress: Progress) -> list[dict[str, Any]]:
    def work(fit: Fit) -> dict[str, Any]:
        return fit.work(fit.estimator)

    counted = progress.counting(work)
    tasks = [Task(partial(counted, fit), fit.estimator.needs_tensorflow) for fit in fits]
    return list(side_by_side(tasks, n_fits))


def read_study(path: Path, features: FeatureFile, way_out: str = WAY_OUT) -> Study:
    """What is kept, if it is of these features and this version.

    Raises
    ------
    RunError
        If the file is damaged; `way_out` says what to do.
    """
    nothing = Study([], [])
    with loading(path, way_out):
        try:
            raw = read_json(path)
        except FileNotFoundError:
            return nothing
        if not isinstance(raw, dict) or "stamp" not in raw:
            raise ValueError("it does not say what it was made with")
        if raw.pop("stamp") != study_stamp(features):
            return nothing
        check_fields(Study, raw)
        return Study(*([Point(**each) for each in raw[group]] for group in Study._fields))


def _read_or_say(path: Path, features: FeatureFile) -> Study:
    try:
        return read_study(path, features, "All its fits are computed again.")
    except RunError as error:
        LOG.info(str(error))
        return Study([], [])


def read_points(path: Path, features: FeatureFile) -> list[dict[str, Any]]:
    """Those of the last run as `run_study` returned them; raises what `read_study` does."""
    return [{**point.key, **point.result} for point in read_study(path, features).points]


def full_key(head: str, estimator: Head, key: dict[str, Any]) -> dict[str, Any]:
    """Everything that the result of a fit depends on, except the stamp; JSON-ready."""
    return {"head": head, "settings": estimator.get_params(deep=False), **key}


def study_stamp(features: FeatureFile) -> dict[str, Any]:
    """Version and features of a study; it is reused only if they are the same. JSON-ready."""
    return {
        "version": STUDY_VERSION,
        "made_by": installed_version("headbench"),
        "features_digest": features.digest(),
    }


def fit_digest(stamp: dict[str, Any], key: dict[str, Any]) -> str:
    """A name for the files of one fit: 32 hexadecimal digits over its stamp and its full key."""
    return hashlib.sha256(_text({"stamp": stamp, "key": key}).encode()).hexdigest()[:32]


def _write(path: Path, features: FeatureFile, study: Study) -> None:
    groups = {name: [each._asdict() for each in points] for name, points in study._asdict().items()}
    text = json_text({"stamp": study_stamp(features), **groups}, indent=1)
    replace_texts(path.parent, {path.name: text})


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
