from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.files import check_files, examine_files, spread
from classify.doctor.finding import Severity
from classify.run import Run
from tests.conftest import write_image


def test_files_as_they_were_are_no_finding(run: Run, photos: Path) -> None:
    with FeatureFile(run.features_path) as features:
        check = check_files(features, photos)
    assert check.n_looked_at == 90
    assert list(examine_files(check)) == []


def test_changed_and_missing_files_are_named(run: Run, photos: Path) -> None:
    write_image(photos / "red/004.png", seed=12345)
    (photos / "blue/007.png").unlink()
    with FeatureFile(run.features_path) as features:
        check = check_files(features, photos)
    assert (check.changed, check.gone) == (["red/004.png"], ["blue/007.png"])
    [finding] = examine_files(check)
    assert (finding.code, finding.severity) == ("files-changed", Severity.WARNING)
    assert finding.evidence[1:] == (
        "1 changed: red/004.png.",
        "1 gone or not to be read: blue/007.png.",
    )
    assert [photo.path for photo in finding.photos] == [photos / "red/004.png"]


def test_another_folder_is_told_from_changed_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with FeatureFile(run.features_path) as features:
        check = check_files(features, tmp_path / "empty")
    [finding] = examine_files(check)
    assert (finding.code, finding.severity) == ("not-checked", Severity.NOTE)


@pytest.mark.parametrize(
    ("n", "most", "expected"), [(3, 10, [0, 1, 2]), (9, 3, [0, 4, 8]), (1, 5, [0]), (9, 0, [])]
)
def test_rows_are_spread_evenly_from_the_first_to_the_last(
    n: int, most: int, expected: list[int]
) -> None:
    assert np.array_equal(spread(n, most), expected)
