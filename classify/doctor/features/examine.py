"""Examine a feature file: by itself, and beside the images and the network that it came from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cache.reader import FeatureFile
from cache.verify import inspect_file
from classify.doctor.features.causes import examine_sample
from classify.doctor.features.columns import Columns, measure_columns
from classify.doctor.features.copies import examine_copies
from classify.doctor.features.dead import examine_columns
from classify.doctor.features.file import examine_file
from classify.doctor.features.files import check_files, examine_files
from classify.doctor.features.network import open_rerun
from classify.doctor.features.norms import examine_norms
from classify.doctor.features.rerun import Beside
from classify.doctor.features.sample import decode_sample
from classify.doctor.finding import Examination, Finding, not_checked
from extract.errors import DataError, WeightsError

AGAIN = "the embeddings, by running images through the network again"


def examine_features(
    features: FeatureFile, data: Path | None, weights: str | None, say: Callable[[str], None]
) -> Examination:
    """Examine a feature file.

    Parameters
    ----------
    features : FeatureFile
    data : Path or None
        The folder of images that it was made from, where that is.
    weights : str or None
        Where the weights of its backbone are now; None for where they were.
    say : callable
        Told what is looked at, a line at a time.

    Returns
    -------
    Examination
    """
    say(f"{features.path}: reading and checking all of it")
    inspection = inspect_file(features.path)
    findings = list(examine_file(features, inspection))
    if inspection.damage:
        why = "What is damaged cannot be read; what is whole may not be representative."
        findings.append(not_checked("columns, norms and images behind the embeddings", why))
        return Examination(_name(features), findings)
    columns = measure_columns(features)
    findings += examine_columns(columns)
    findings += examine_copies(features, data)
    line, more = _examine_images(features, columns, data, weights, say)
    # What is known better by the images is said once.
    said = {each.code for each in more}
    findings = [each for each in findings if each.code not in said]
    return Examination(_describe(features, columns) + line, [*findings, *more])


def _examine_images(
    features: FeatureFile,
    columns: Columns,
    data: Path | None,
    weights: str | None,
    say: Callable[[str], None],
) -> tuple[str, list[Finding]]:
    """What images and network say, and a sentence on how many were looked at."""
    if data is None:
        # `classify.doctor.examine` says that there are none.
        return "", list(examine_norms(features, columns.norms, data))
    say(f"{data}: are the files those that were extracted?")
    check = check_files(features, data)
    findings = list(examine_files(check))
    if check.is_another_folder:
        return "", [*findings, *examine_norms(features, columns.norms, None)]
    beside = _run_again(features, columns, data, weights, say)
    if isinstance(beside, Finding):
        return "", [*findings, beside, *examine_norms(features, columns.norms, data)]
    n_same, n = int(beside.is_same.sum()), len(beside.is_same)
    line = (
        f" {n} images went through the network again: the file holds what it gives for {n_same} of "
        "them."
    )
    if beside.sample.unusable:
        line += f" {len(beside.sample.unusable)} more could not be used."
    return line, [*findings, *examine_sample(beside)]


def _run_again(
    features: FeatureFile,
    columns: Columns,
    data: Path,
    weights: str | None,
    say: Callable[[str], None],
) -> Beside | Finding:
    sample = decode_sample(features, data, columns.norms)
    if not len(sample.rows):
        return not_checked(AGAIN, f"No image could be used, such as {sample.unusable[0]}.")
    say(f"{features.identity.backbone}: {len(sample.rows)} images again")
    try:
        rerun = open_rerun(features.identity, weights or features.config.weights)
    except (WeightsError, DataError) as error:
        return not_checked(AGAIN, str(error))
    return Beside(features, data, columns, sample, rerun)


def _name(features: FeatureFile) -> str:
    identity = features.identity
    return (
        f"{features.path}: {features.n_images} images, {features.dim} columns by "
        f"{identity.backbone} at {identity.size_px} px."
    )


def _describe(features: FeatureFile, columns: Columns) -> str:
    low, median, high = np.quantile(columns.norms, [0, 0.5, 1])
    n_silent = int(columns.is_dead.sum() + columns.is_constant.sum())
    return (
        f"{_name(features)} Lengths {low:.3g} to {high:.3g}, median {median:.3g}; "
        f"{n_silent} columns do not vary over train."
    )
