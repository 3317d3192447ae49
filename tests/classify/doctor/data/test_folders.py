"""Folders that are not what they seem."""

from pathlib import Path

from classify.doctor.data.folders import class_parents, subfolders
from classify.doctor.finding import Severity
from extract.sources.open import find_images
from tests.classify.doctor.data.folders import findings_of, write_pictures


def test_train_comes_first_whatever_it_is_called(tmp_path: Path) -> None:
    for split in ("Train", "test", "valid"):
        write_pictures(tmp_path / split / "a", range(1))
        write_pictures(tmp_path / split / "b", range(1))
    assert list(class_parents(find_images(tmp_path))) == ["Train", "test", "valid"]


def test_class_folders_are_sorted_as_keras_sorts_them(tmp_path: Path) -> None:
    for name in ("b", "B", "a b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert subfolders(tmp_path) == ["B", "a", "a b", "b"]


def test_splits_beside_another_folder_are_named(tmp_path: Path) -> None:
    for number, path in enumerate(("train/a", "train/b", "val/a", "val/b", "notes")):
        write_pictures(tmp_path / path, range(100 * number, 100 * number + 20))
    found = findings_of(tmp_path)["splits-as-classes"]
    assert found.severity is Severity.SEVERE
    assert found.evidence == (
        "train/ has folders inside: a, b.",
        "val/ has folders inside: a, b.",
        "Beside them: notes.",
    )


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "bus", range(20))
    write_pictures(tmp_path / "train", range(100, 120))
    assert findings_of(tmp_path) == {}


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    (tmp_path / "c").mkdir()
    found = findings_of(tmp_path)["empty-class-folders"]
    assert found.severity is Severity.WARNING
    assert found.evidence == ("c.",)
