from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from headbench.classify.doctor import feature_findings
from headbench.classify.doctor.feature_findings import (
    check_damage,
    check_images,
    check_weights,
    compare_images,
    examine_features,
)
from headbench.classify.doctor.finding import Examination, Severity
from headbench.classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite
from tests.conftest import write_image


def examined(run: Run, data: Path | None) -> Examination:
    with FeatureFile(run.features_path) as features:
        return examine_features(features, data)


def test_a_sound_run_says_what_was_looked_at(run: Run, photos: Path) -> None:
    line, findings = examined(run, photos)
    assert findings == []
    assert line.endswith("90 images, 3 columns by mean-color at 16 px.")


def test_a_damaged_file_is_one_severe_finding(run: Run, photos: Path) -> None:
    raw = bytearray(run.features_path.read_bytes())
    with FeatureFile(run.features_path) as features:
        start = raw.index(features.read(np.array([4])).tobytes())
    raw[start] ^= 255
    run.features_path.write_bytes(raw)
    _, [finding] = examined(run, photos)
    assert (finding.code, finding.severity) == ("file-damaged", Severity.SEVERE)


def test_a_number_that_is_not_finite_is_damage(run: Run) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[8, 1] = float("nan")
        return rows

    rewrite(run, "embeddings", change)
    [finding] = check_damage(inspect_file(run.features_path))
    assert (finding.code, finding.severity) == ("file-damaged", Severity.SEVERE)
    assert finding.what.endswith("1 of 90 images cannot be used.")
    assert "/embeddings row 8: not finite" in finding.evidence


def test_random_weights_are_never_silent(random_run: Run) -> None:
    with FeatureFile(random_run.features_path) as features:
        [finding] = check_weights(features)
    assert (finding.code, finding.severity) == ("random-weights", Severity.WARNING)


def test_changed_and_missing_files_are_named(run: Run, photos: Path) -> None:
    write_image(photos / "red/004.png", seed=12345)
    (photos / "blue/007.png").unlink()
    with FeatureFile(run.features_path) as features:
        found = compare_images(features, photos)
    assert (found.n_compared, found.changed, found.gone) == (90, ["red/004.png"], ["blue/007.png"])
    [finding] = check_images(found)
    assert (finding.code, finding.severity) == ("files-changed", Severity.WARNING)
    assert finding.evidence[1:] == (
        "1 changed: red/004.png.",
        "1 missing or unreadable: blue/007.png.",
    )
    assert [photo.path for photo in finding.photos] == [photos / "red/004.png"]


def test_of_many_files_some_from_the_first_to_the_last_are_compared(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_findings, "MOST_READ", 3)
    with FeatureFile(run.features_path) as features:
        table = features.table
        (photos / table.paths[0]).unlink()
        (photos / table.paths[-1]).unlink()
        found = compare_images(features, photos)
    assert (found.n_compared, found.gone) == (3, [table.paths[0], table.paths[-1]])


def test_another_folder_is_a_note(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, [finding] = examined(run, tmp_path / "other")
    assert (finding.code, finding.severity) == ("not-checked", Severity.NOTE)
