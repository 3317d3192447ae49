from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.examine import examine_features
from classify.doctor.finding import Examination, Severity
from classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite
from tests.test_light import heavy_modules


def examined(run: Run, data: Path | None, weights: str | None = None) -> Examination:
    with FeatureFile(run.features_path) as features:
        return examine_features(features, data, weights, lambda _: None)


def test_a_sound_run_says_what_was_looked_at(run: Run, photos: Path) -> None:
    line, findings = examined(run, photos)
    assert findings == []
    assert "90 images, 3 columns by mean-color at 16 px." in line
    n = line.split(" images went")[0].split(" ")[-1]
    assert f"the file holds what it gives for {n} of them." in line


def test_without_the_folder_lengths_are_still_compared(run: Run) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[5] *= 1000
        return rows

    rewrite(run, "embeddings", change)
    _, [finding] = examined(run, None)
    assert (finding.code, finding.severity) == ("norms-off-range", Severity.WARNING)


def test_another_folder_is_a_note(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, [finding] = examined(run, tmp_path / "other")
    assert (finding.code, finding.severity) == ("not-checked", Severity.NOTE)


def test_weights_that_are_gone_are_a_note_with_the_way_out(
    network_run: Run, network_photos: Path
) -> None:
    _, findings = examined(network_run, network_photos, "gone.weights.h5")
    [note] = [each for each in findings if each.code == "not-checked"]
    assert "--weights PATH" in note.evidence[0]


def test_a_damaged_file_is_one_severe_finding(run: Run, photos: Path) -> None:
    raw = bytearray(run.features_path.read_bytes())
    with FeatureFile(run.features_path) as features:
        start = raw.index(features.read(np.array([4])).tobytes())
    raw[start] ^= 255
    run.features_path.write_bytes(raw)
    _, [finding, note] = examined(run, photos)
    assert (finding.code, finding.severity) == ("file-damaged", Severity.SEVERE)
    assert note.code == "not-checked"


@pytest.mark.parametrize("with_folder", [True, False])
def test_mean_colours_are_examined_without_tensorflow(
    run: Run, photos: Path, tmp_path: Path, with_folder: bool
) -> None:
    targets = [run.folder, photos] if with_folder else [run.folder]
    probe = heavy_modules("classify", "doctor", *targets, "--out", tmp_path / "page")
    assert probe == "HEAVY []"
