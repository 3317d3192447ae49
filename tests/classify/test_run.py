import json
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.run import Record, Run, Trained, rank, saving
from headbench.classify.train_heads import train_heads


def record_of(name: str) -> Record:
    return Record(
        name=name,
        chosen={},
        settings={},
        history={},
        fit_seconds=1.0,
        predict_seconds=0.001,
        seed=0,
        classes=("a", "b"),
        dim=3,
        features_digest="digest",
    )


RECORD = record_of("logreg")
HALF = np.full((4, 2), 0.5, dtype=np.float32)


def trained(name: str, n_right: int, confidence: float) -> Trained:
    """Right on the first `n_right` of 4 images of class 0."""
    of_truth = np.where(np.arange(4) < n_right, confidence, 1 - confidence)
    proba = np.stack([of_truth, 1 - of_truth], axis=1).astype(np.float32)
    return Trained(Path(name), record_of(name), proba, proba)


def test_the_bytes_of_a_model_are_all_its_files_without_record_and_probabilities(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "vote"
    with saving(folder, RECORD, HALF, HALF) as new:
        (new / "weights.json").write_bytes(b"12345")
        (new / "0").mkdir()
        (new / "0/model.txt").write_bytes(b"1234567")
        # Of a member, and so a part of the model.
        (new / "0/proba.npz").write_bytes(b"1")
    assert Trained(folder, RECORD, HALF, HALF).n_bytes == 5 + 7 + 1


def test_a_run_is_its_folder_or_the_file_in_it() -> None:
    assert Run(Path("runs/food")).features_path == Path("runs/food/features.h5")
    assert Run(Path("runs/food/features.h5")).folder == Path("runs/food")
    assert Run(Path("runs/food")).name == "food"


def test_all_that_was_trained_is_named_whether_or_not_it_can_be_loaded(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.names == []
    for name in ("ridge", "logreg", "finetuned"):
        with saving(run.trained_folder(name), record_of(name), HALF, HALF):
            pass
    (tmp_path / "heads/ridge/record.json").write_text("not JSON")
    assert run.names == ["logreg", "ridge", "finetuned"]


def test_the_best_has_most_right_on_val_then_the_smaller_log_loss() -> None:
    y_val = np.zeros(4, dtype=np.int32)
    timid, bold = trained("timid", 3, 0.55), trained("bold", 3, 0.7)
    worse = trained("worse", 2, 0.9)
    ranked = rank([worse, timid, bold], y_val)
    assert [each.record.name for each in ranked] == ["bold", "timid", "worse"]


def test_a_head_that_never_predicts_the_rare_class_is_not_first() -> None:
    y_val = np.array([0] * 18 + [1] * 2, dtype=np.int32)

    def giving(name: str, predicted: np.ndarray) -> Trained:
        proba = np.where(np.eye(2)[predicted] > 0, 0.9, 0.1).astype(np.float32)
        return Trained(Path(name), record_of(name), proba, proba)

    one_class = giving("one class", np.zeros(20, dtype=int))  # 90 % right, balanced 50 %
    both = giving("both", np.array([1] * 4 + [0] * 14 + [1] * 2))  # 80 % right, balanced 89 %
    assert [each.record.name for each in rank([one_class, both], y_val)] == ["both", "one class"]


def test_an_interrupted_save_keeps_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "logreg"
    with saving(folder, RECORD, HALF, HALF) as new:
        (new / "model").write_text("first")

    def save_and_stop() -> None:
        with saving(folder, RECORD, HALF, HALF) as new:
            (new / "model").write_text("second")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_and_stop()
    assert (folder / "model").read_text() == "first"


def test_an_interrupted_save_leaves_nothing_behind(run: Run) -> None:
    def save_and_stop() -> None:
        with saving(run.trained_folder("logreg"), RECORD, HALF, HALF):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_and_stop()
    assert list((run.folder / "heads").iterdir()) == []


def test_what_a_killed_save_leaves_behind_is_not_taken_for_trained(run: Run) -> None:
    with saving(run.trained_folder("logreg"), RECORD, HALF, HALF):
        pass
    run.trained_folder("logreg").rename(run.folder / "heads/.logreg.new")
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match="expected trained heads, found none"),
    ):
        run.trained(features)


def test_damaged_probabilities_are_named(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    path = run.trained_folder("logreg") / "proba.npz"
    path.write_bytes(path.read_bytes()[:100])
    with FeatureFile(run.features_path) as features, pytest.raises(RunError) as caught:
        run.trained(features)
    assert str(path) in str(caught.value)


def test_nothing_trained_names_the_command(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        with pytest.raises(RunError, match=r"Run 'headbench heads .*' first"):
            run.trained(features)
        with pytest.raises(RunError, match="'knn' is not trained here"):
            run.find("knn", features)
        with pytest.raises(RunError, match="headbench finetune"):
            run.find("finetuned", features)


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"version": 99}, "expected record version 3, found 99"),
        ({"version": 2}, "expected record version 3, found 2. Train again"),
        ({"surprise": 1}, "cannot be loaded"),
        (None, "cannot be loaded"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(
    run: Run, change: dict[str, int] | None, phrase: str
) -> None:
    folder = run.trained_folder("logreg")
    with saving(folder, RECORD, HALF, HALF):
        pass
    path = folder / "record.json"
    text = "{" if change is None else json.dumps(json.loads(path.read_text()) | change)
    path.write_text(text)
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match=phrase) as caught,
    ):
        run.find("logreg", features)
    assert str(path) in str(caught.value)
