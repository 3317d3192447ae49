import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.errors import RunError
from headbench.classify.heads import cores
from headbench.classify.heads.registry import create_head
from headbench.classify.report.words import describe_folds
from headbench.classify.run import Run
from headbench.classify.studies.folds import (
    cross_validate,
    held_out_proba,
    inseparable_units,
    overall,
    unit_folds,
)
from headbench.classify.studies.held_out import HeldOut
from headbench.classify.wording import END_OF_RANGE
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import listen
from tests.extract.sources.manifests import write_csv


def folds_of(run: Run, n_folds: int) -> list[dict]:
    heads = {name: create_head(name, 0) for name in ("centroid", "logreg")}
    with FeatureFile(run.features_path) as features:
        return cross_validate(run.folder, features, heads, n_folds, 0, 2)


def test_copies_of_one_image_are_in_one_fold_and_classes_are_spread() -> None:
    rng = np.random.default_rng(0)
    content = rng.integers(0, 256, (60, 32), dtype=np.uint8)
    copies = np.concatenate([content, content[:30]])
    y = np.concatenate([np.arange(60) % 3, np.arange(30) % 3])
    fold_of = unit_folds(y, inseparable_units(copies, None), 5, seed=0)
    np.testing.assert_array_equal(fold_of[:30], fold_of[60:])
    counts = np.array([np.bincount(y[fold_of == fold], minlength=3) for fold in range(5)])
    assert counts.min() >= 3


def test_no_group_is_in_two_folds(run: Run, settings: ExtractSettings, tmp_path: Path) -> None:
    photos = run.folder.parents[1] / "photos"
    names = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    lines = [f"{name},{name.parent},{name.parent}{n // 3}" for n, name in enumerate(names)]
    write_csv(photos / "list.csv", "path,label,group", *lines)
    listed = Run(tmp_path / "listed/features.h5")
    extract_features(photos / "list.csv", listed.features_path, settings)
    points = folds_of(listed, 4)
    with FeatureFile(listed.features_path) as features:
        groups = features.table.groups
    seen: set[int] = set()
    for point in points[:4]:
        rows = load_arrays(listed.folder / "folds" / point.proba_file)["rows"]
        in_fold = set(groups[rows].tolist())
        assert in_fold
        assert not in_fold & seen
        seen |= in_fold
    message = r"class '\w+' has \d groups of images in train and val for 12 folds"
    with pytest.raises(RunError, match=message):
        folds_of(listed, 12)


def test_every_image_of_train_and_val_is_measured_once(run: Run) -> None:
    said = listen()
    points = folds_of(run, 4)
    assert [(point.head, point.fold) for point in points] == [
        (name, fold) for name in ("centroid", "logreg") for fold in range(4)
    ]
    with FeatureFile(run.features_path) as features:
        n_images = len(features.rows("train")) + len(features.rows("val"))
    total = overall(points[4:])
    assert total.n == n_images
    assert total.value > 0.9
    assert f"n = {n_images})" in describe_folds(points)
    assert folds_of(run, 4) == points
    assert said[-1] == "folds: 0 fits, 8 reused"


def test_folds_that_a_limit_ended_are_counted(run: Run) -> None:
    def folds(max_rounds: int) -> str:
        heads = {"lightgbm": create_head("lightgbm", 0)}
        heads["lightgbm"].set_params(max_rounds=max_rounds, projection="none")
        with FeatureFile(run.features_path) as features:
            return describe_folds(cross_validate(run.folder, features, heads, 3, 0, 1))

    assert folds(1).endswith(f"; {END_OF_RANGE} in 3 of 3")
    assert END_OF_RANGE not in folds(500)


def test_where_memory_is_short_fewer_fits_run_at_a_time_and_that_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = folds_of(run, 4)
    shutil.rmtree(run.folder / "folds")
    (run.folder / "folds.json").unlink()
    monkeypatch.setattr(cores, "free_memory", lambda: 0)
    said = listen()
    assert folds_of(run, 4) == expected
    assert said[1].startswith("folds: 1 fit at a time instead of 2: each needs ")


def test_other_folds_are_other_results(run: Run) -> None:
    said = listen()
    folds_of(run, 4)
    assert {point.n_folds for point in folds_of(run, 3)} == {3}
    assert said[-1] == "folds: 6 fits, 0 reused"


def test_too_few_folds_and_too_small_classes_are_refused(run: Run) -> None:
    with pytest.raises(RunError, match="--folds 2: expected at least 3"):
        folds_of(run, 2)
    with pytest.raises(
        RunError, match=r"class '\w+' has \d+ different images in train and val for 40"
    ):
        folds_of(run, 40)
    with pytest.raises(RunError, match=r"class 'blue' has .*class 'green' .*class 'red'"):
        folds_of(run, 40)


def held_out_of(run: Run, head: str) -> HeldOut | None:
    with FeatureFile(run.features_path) as features:
        return held_out_proba(run.folder, features, head)


def proba_files(run: Run) -> list[Path]:
    return sorted((run.folder / "folds").iterdir())


def test_held_out_probabilities_are_of_a_head_without_the_image(run: Run) -> None:
    points = folds_of(run, 4)
    found = held_out_of(run, "logreg")
    assert found is not None
    assert (found.rows.dtype, found.proba.dtype) == (np.intp, np.float32)
    with FeatureFile(run.features_path) as features:
        rows = np.sort(np.concatenate([features.rows("train"), features.rows("val")]))
        X, y = features.read(rows), features.table.labels[rows]
        unit = inseparable_units(features.table.content_sha256[rows], None)
        fold_of = unit_folds(y, unit, 4, seed=0)
    np.testing.assert_array_equal(found.rows, rows)
    for fold in range(4):
        is_test, is_val = fold_of == fold, fold_of == (fold + 1) % 4
        is_train = ~(is_test | is_val)
        head = create_head("logreg", 0).fit(X[is_train], y[is_train], X[is_val], y[is_val])
        expected = head.predict_proba(X[is_test])
        np.testing.assert_allclose(found.proba[is_test], expected, rtol=1e-3, atol=1e-6)
    n_right = (found.proba.argmax(axis=1) == y).sum()
    assert n_right == sum(point.n_right for point in points if point.head == "logreg")


def test_there_are_none_of_heads_or_features_that_were_not_cross_validated(
    run: Run, photos: Path, settings: ExtractSettings
) -> None:
    assert held_out_of(run, "logreg") is None
    folds_of(run, 4)
    assert held_out_of(run, "logreg") is not None
    assert held_out_of(run, "ridge") is None
    (photos / "red/000.png").unlink()
    extract_features(photos, run.features_path, settings)
    assert held_out_of(run, "logreg") is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(load_arrays(path)["proba"].tobytes())] ^= 1
    path.write_bytes(content)


def put_a_pickle(path: Path) -> None:
    objects = np.array([{}], dtype=object)
    with path.open("wb") as file:
        np.savez(file, rows=objects, proba=objects)


def drop_a_column(path: Path) -> None:
    arrays = load_arrays(path)
    save_arrays(path, {"rows": arrays["rows"], "proba": arrays["proba"][:, 1:]})


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip_a_bit, put_a_pickle, drop_a_column])
def test_a_fold_whose_file_is_not_whole_is_an_error_until_it_is_fitted_again(
    run: Run, damage: Callable[[Path], None]
) -> None:
    said = listen()
    points = folds_of(run, 4)
    before = held_out_of(run, "logreg")
    path = run.folder / "folds" / points[-1].proba_file
    damage(path)
    with pytest.raises(RunError, match=rf"{path}: .*'headbench heads --heads logreg --folds 4'"):
        held_out_of(run, "logreg")
    assert folds_of(run, 4) == points
    assert said[-1] == "folds: 1 fits, 7 reused"
    after = held_out_of(run, "logreg")
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.proba, before.proba)


def test_a_file_of_another_fold_is_not_taken_for_this_one(run: Run) -> None:
    said = listen()
    paths = [run.folder / "folds" / point.proba_file for point in folds_of(run, 4)]
    paths[-1].write_bytes(paths[-2].read_bytes())
    with pytest.raises(RunError, match="of other images"):
        held_out_of(run, "logreg")
    folds_of(run, 4)
    assert said[-1] == "folds: 1 fits, 7 reused"


def test_other_seeds_and_settings_have_files_of_their_own(run: Run) -> None:
    def validate(seed: int, **settings: Any) -> set[str]:
        head = create_head("ridge", 0).set_params(**settings)
        with FeatureFile(run.features_path) as features:
            points = cross_validate(run.folder, features, {"ridge": head}, 3, seed, 1)
        return {point.proba_file for point in points}

    names = [validate(0), validate(1), validate(0, class_weight="balanced")]
    assert len(set.union(*names)) == 9
    assert {path.name for path in proba_files(run)} == set.union(*names)
    assert validate(0) == names[0]
    assert len(proba_files(run)) == 9


def test_files_that_no_result_names_are_removed(
    run: Run, photos: Path, settings: ExtractSettings
) -> None:
    folds_of(run, 4)
    before = proba_files(run)
    (run.folder / "folds/.left-by-a-killed-run.npz.tmp").write_bytes(b"")
    (run.folder / "folds/unknown.npz").write_bytes(b"")
    folds_of(run, 4)
    assert proba_files(run) == before
    (photos / "red/000.png").unlink()
    extract_features(photos, run.features_path, settings)
    folds_of(run, 4)
    assert len(proba_files(run)) == 8
    assert not set(before) & set(proba_files(run))


def same(numbers: np.ndarray) -> list[list[int]]:
    """Rows that belong together, by the first of them."""
    return [np.flatnonzero(numbers == number).tolist() for number in dict.fromkeys(numbers)]


def hashes(*contents: int) -> np.ndarray:
    return np.repeat(np.array(contents, dtype=np.uint8)[:, None], 32, axis=1)


def test_copies_belong_together() -> None:
    assert same(inseparable_units(hashes(7, 8, 7, 9), None)) == [[0, 2], [1], [3]]


def test_groups_belong_together_and_copies_join_them() -> None:
    groups = np.array([5, 5, -1, -1, 3, 2], dtype=np.int64)
    assert same(inseparable_units(hashes(1, 2, 3, 4, 5, 6), groups)) == [[0, 1], [2, 3], [4], [5]]
    assert same(inseparable_units(hashes(1, 2, 2, 4, 5, 4), groups)) == [[0, 1, 2, 3, 5], [4]]
