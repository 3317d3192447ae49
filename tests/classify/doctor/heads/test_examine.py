from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.finding import Examination, Severity
from classify.doctor.heads.examine import examine_heads
from classify.run import Run
from classify.train import train_heads
from extract.settings import ExtractSettings
from extract.stage import extract_features
from tests.classify.doctor.zoo.good_run import rewrite
from tests.conftest import write_class_folders


def examined(run: Run, are_wrong: bool = False) -> Examination:
    with FeatureFile(run.features_path) as features:
        return examine_heads(run, features, lambda _: None, are_wrong)


@pytest.fixture
def many(tmp_path: Path, settings: ExtractSettings) -> Run:
    """450 pictures of three colours under shuffled labels: enough to see that they are."""
    photos = write_class_folders(tmp_path / "many", n_per_class=150)
    run = Run(tmp_path / "runs/many")
    extract_features(photos, run.features_path, settings, lambda _: None)
    rewrite(run, "labels", np.random.default_rng(0).permutation)
    train(run, "prior", "centroid", "ridge", "logreg")
    return run


def train(run: Run, *names: str) -> None:
    train_heads(run, names, seed=0, say=lambda _: None)


def test_a_run_without_heads_is_said_and_is_no_finding(run: Run) -> None:
    line, findings = examined(run)
    assert line.endswith("no heads; 'make heads' trains some.")
    assert findings == []


def test_sound_heads_are_no_finding(run: Run) -> None:
    train(run, "prior", "centroid", "knn", "ridge", "logreg")
    line, findings = examined(run)
    assert findings == []
    assert "5 heads on" in line


def test_heads_of_other_features_are_named_with_what_to_do(run: Run) -> None:
    train(run, "ridge")
    rewrite(run, "labels", lambda labels: labels[::-1])
    line, [finding] = examined(run)
    assert (finding.code, finding.severity) == ("heads-outdated", Severity.WARNING)
    assert "1 head on" in line


def test_shuffled_labels_are_one_finding_and_not_one_for_each_head(many: Run) -> None:
    _, [finding] = examined(many)
    assert finding.code == "labels-look-shuffled"
    # Mean colours know little: the backbone may be to blame.
    assert finding.severity is Severity.WARNING


def test_labels_are_not_blamed_for_wrong_embeddings(many: Run) -> None:
    _, findings = examined(many, are_wrong=True)
    # What is left is what the heads get right: 68 images of three classes leave it open.
    assert [each.code for each in findings] == ["val-too-small"]


def test_damaged_embeddings_leave_heads_unchecked(run: Run) -> None:
    train(run, "ridge")

    def change(rows: np.ndarray) -> np.ndarray:
        rows[:, 0] = np.nan
        return rows

    rewrite(run, "embeddings", change)
    _, [note] = examined(run)
    assert (note.code, note.severity) == ("not-checked", Severity.NOTE)
