import h5py
import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.errors import RunError
from classify.heads.registry import HEADS, load_head
from classify.run import Run
from classify.train import class_proba, train_heads
from tests.cache.test_reader import rewrite


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("name", HEADS)
def test_kept_probabilities_are_the_heads_own_in_the_order_of_the_file(run: Run, name: str) -> None:
    train_heads(run, [name], seed=0, say=quiet)
    with FeatureFile(run.features_path) as features:
        trained = run.find(name, features)
        assert trained.record.classes == features.classes == ("blue", "green", "red")
        head = load_head(name, trained.folder, features.dim)
        for split, kept in (("val", trained.val), ("test", trained.test)):
            X, y = features.load(split)
            np.testing.assert_allclose(class_proba(head, X, 3), kept, atol=1e-6)
            assert (kept.argmax(axis=1) == y).mean() > 0.9


def test_a_class_that_a_head_has_not_seen_has_a_column_of_zeros(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        X, y = features.load("train")
    seen = y != 1
    head = HEADS["logreg"]().fit(X[seen], y[seen])
    proba = class_proba(head, X, 3)
    assert (proba[:, 1] == 0).all()
    np.testing.assert_allclose(proba[:, [0, 2]], head.predict_proba(X))


def test_each_head_is_announced_with_its_val_accuracy_and_n(run: Run) -> None:
    said: list[str] = []
    train_heads(run, ["logreg"], seed=0, say=said.append)
    with FeatureFile(run.features_path) as features:
        n_val = len(features.rows("val"))
    assert f"(n={n_val})" in said[1]
    assert "test top-1" not in " ".join(said)


def test_the_seed_reaches_the_heads_and_the_record(run: Run) -> None:
    train_heads(run, ["lightgbm"], seed=5, say=quiet)
    with FeatureFile(run.features_path) as features:
        record = run.find("lightgbm", features).record
    assert record.seed == record.settings["seed"] == 5


def test_an_unknown_head_trains_nothing(run: Run) -> None:
    with pytest.raises(RunError, match="unknown head 'svm'"):
        train_heads(run, ["logreg", "svm"], seed=0, say=quiet)
    assert not (run.folder / "heads").exists()


def test_a_head_of_other_features_is_not_taken_for_one_of_these(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0, say=quiet)
    with h5py.File(run.features_path, "a") as file:
        labels = file["labels"][:]
        labels[0] = 1 - labels[0]
        rewrite(file, "labels", labels)
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match=r"another version of .*make heads"),
    ):
        run.trained(features)


@pytest.mark.parametrize(("split", "phrase"), [(1, "the val split is empty"), (2, "test split")])
def test_an_empty_split_is_refused(run: Run, split: int, phrase: str) -> None:
    with h5py.File(run.features_path, "a") as file:
        splits = file["splits"][:]
        rewrite(file, "splits", np.where(splits == split, 0, splits).astype(np.uint8))
    with pytest.raises(RunError, match=phrase):
        train_heads(run, ["logreg"], seed=0, say=quiet)


def test_a_class_without_train_images_is_refused(run: Run) -> None:
    with h5py.File(run.features_path, "a") as file:
        splits = np.where(file["labels"][:] == 2, 1, file["splits"][:])
        rewrite(file, "splits", splits.astype(np.uint8))
    with pytest.raises(RunError, match="class 'red' has val images and none in train"):
        train_heads(run, ["logreg"], seed=0, say=quiet)


def test_training_again_replaces_a_head_whole(run: Run) -> None:
    for seed in (0, 1):
        train_heads(run, ["logreg"], seed=seed, say=quiet)
    assert sorted(path.name for path in (run.folder / "heads").iterdir()) == ["logreg"]
    with FeatureFile(run.features_path) as features:
        trained = run.find("logreg", features)
        assert trained.record.seed == 1
