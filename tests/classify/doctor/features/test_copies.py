from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.copies import copies, examine_copies
from classify.doctor.finding import Severity
from classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite


def with_copies(run: Run, change: float) -> Run:
    """Rows 5 and 7 become copies of row 2, whose embeddings are longer by a share of `change`."""

    def same_content(rows: np.ndarray) -> np.ndarray:
        rows[[5, 7]] = rows[2]
        return rows

    def nearly_same(rows: np.ndarray) -> np.ndarray:
        rows[5], rows[7] = rows[2], rows[2] * (1 + change)
        return rows

    return rewrite(rewrite(run, "content_sha256", same_content), "embeddings", nearly_same)


def test_each_later_copy_is_paired_with_the_first() -> None:
    contents = np.zeros((6, 32), dtype=np.uint8)
    contents[:, 0] = [7, 3, 7, 9, 3, 7]
    first, other = copies(contents)
    assert list(zip(first.tolist(), other.tolist(), strict=True)) == [(0, 2), (1, 4), (0, 5)]


def test_copies_with_other_embeddings_are_named(run: Run) -> None:
    with FeatureFile(with_copies(run, 0.25).features_path) as features:
        [finding] = examine_copies(features, Path("photos"))
        paths = features.table.paths
    assert (finding.code, finding.severity) == ("copies-embedded-differently", Severity.SEVERE)
    assert finding.evidence[0] == (
        "Of 2 pairs of files with the same bytes 1 differ by more than 1e-04 of the embedding's "
        "length, at worst by 0.25."
    )
    shown = [str(photo.path) for photo in finding.photos]
    assert shown == [f"photos/{paths[2]}", f"photos/{paths[7]}"]


@pytest.mark.parametrize("change", [0.0, 5e-5])
def test_rounding_is_no_difference(run: Run, change: float) -> None:
    with FeatureFile(with_copies(run, change).features_path) as features:
        assert list(examine_copies(features, None)) == []


def test_a_run_without_copies_has_nothing_to_compare(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        assert list(examine_copies(features, None)) == []
