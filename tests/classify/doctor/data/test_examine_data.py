"""A folder is examined in whole; class folders and class indices that are not what they seem."""

import json
from pathlib import Path

import pytest

from headbench.classify.doctor.data.examine_data import (
    class_parents,
    examine_data,
    examine_indices,
    read_class_indices,
    subfolders,
)
from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.errors import RunError
from headbench.extract.sources.open import find_images
from tests.classify.doctor.data.pictures import findings_of, write_pictures
from tests.conftest import listen


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


@pytest.mark.parametrize(
    "names", [("train", "test1"), ("fold1/a", "fold1/b", "fold2/a", "fold2/b")]
)
def test_what_looks_like_splits_is_named_in_place_of_a_data_set(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for number, name in enumerate(names):
        write_pictures(tmp_path / name, range(10 * number, 10 * number + 3))
    (found,) = examine_data(tmp_path, ScriptSettings()).findings
    assert (found.code, found.severity) == ("splits-as-classes", Severity.SEVERE)
    assert names[0].split("/")[0] in found.what
    assert "Keep only train/, val/ and test/" in found.remedy


def test_a_split_without_labels_is_named(tmp_path: Path) -> None:
    for number, path in enumerate(("train/a", "train/b", "test")):
        write_pictures(tmp_path / path, range(100 * number, 100 * number + 20))
    found = findings_of(tmp_path)["unlabelled-split"]
    assert found.severity is Severity.NOTE
    assert "20 images are in no class folder" in found.evidence[0]


def test_nested_splits_are_looked_into_and_an_empty_folder_beside_is_no_split(
    tmp_path: Path,
) -> None:
    for path in ("seg_test/seg_test/a", "seg_train/seg_train/a", "seg_train/seg_train/b"):
        write_pictures(tmp_path / path, range(1))
    (tmp_path / "empty").mkdir()
    assert class_parents(find_images(tmp_path)) == {
        "seg_train": tmp_path / "seg_train/seg_train",
        "seg_test": tmp_path / "seg_test/seg_test",
    }


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


def test_a_class_missing_in_val_moves_the_others() -> None:
    (found,) = examine_indices({"train": ["a", "b", "c"], "val": ["a", "c"]}, None)
    assert found.code == "classes-differ-between-splits"
    assert found.severity is Severity.SEVERE
    assert found.evidence[1] == "Only in train: b."
    assert "1 of 2 classes of val" in found.evidence[2]
    assert "'c' in val counts as 'b'" in found.evidence[2]
    assert found.grid is not None
    assert found.grid.rows == (("b", "1", "-"), ("c", "2", "1"))


@pytest.mark.parametrize("val", [["a", "b"], ["a", "b", "c", "d"]])
def test_a_last_class_more_or_less_moves_none(val: list[str]) -> None:
    (found,) = examine_indices({"train": ["a", "b", "c"], "val": val}, None)
    assert found.severity is Severity.WARNING


def test_a_renamed_class_counts_as_the_one_in_its_place() -> None:
    (found,) = examine_indices({"train": ["a", "b"], "test": ["a", "x"]}, None)
    assert found.severity is Severity.SEVERE
    assert "'x' in test counts as 'b'" in found.evidence[3]


def test_the_same_classes_are_no_finding() -> None:
    folders = {"train": ["a", "b"], "val": ["a", "b"]}
    assert list(examine_indices(folders, {"a": 0, "b": 1})) == []


def test_a_permuted_file_is_severe() -> None:
    (found,) = examine_indices({"photos": ["a", "b", "c"]}, {"a": 0, "b": 2, "c": 1})
    assert found.code == "class-indices-differ"
    assert found.severity is Severity.SEVERE
    assert found.grid is not None
    assert found.grid.rows == (("b", "2", "1"), ("c", "1", "2"))


@pytest.mark.parametrize(
    ("given", "place", "said"),
    [
        ({"a": 0}, 1, "Not in the file: b."),
        ({"a": 0, "b": 0}, -1, "Several classes have the same index in the file."),
    ],
)
def test_one_class_too_few_and_one_index_for_two_are_said(
    given: dict[str, int], place: int, said: str
) -> None:
    (found,) = examine_indices({"photos": ["a", "b"]}, given)
    assert found.severity is (Severity.SEVERE if "b" in given else Severity.WARNING)
    assert found.evidence[place] == said


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 0, "b": 1}',
        '{"0": "a", "1": "b"}',
        '["a", "b"]',
        '{"0": ["n01", "a"], "1": ["n02", "b"]}',
        '\ufeff{"a": 0, "b": 1}',
    ],
)
def test_every_usual_way_of_writing_them_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.json").write_text(text, "utf-8")
    assert read_class_indices(tmp_path / "classes.json") == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b"3", b"null", b'{"a": 0.5}', b'{"a": true}', b'{"a": null}',
        b'{"x": "a"}', b"[[0]]", b'{"a": 0, "b": {}}', b"\xff\xfe\x00", b"[" * 100_000,
        b'{"' + b"9" * 5000 + b'": "a"}',
    ],
)  # fmt: skip
def test_any_other_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "classes.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"classes\.json: expected JSON of class names"):
        read_class_indices(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        read_class_indices(tmp_path / "classes.json")


def test_what_was_examined_is_said_with_its_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    (tmp_path / "b/x.png").write_bytes(b"")
    said = listen()
    examined, _ = examine_data(tmp_path, ScriptSettings())
    assert examined == (
        f"{tmp_path}: 41 image files in 2 classes (class folders), 40 of them usable."
    )
    assert said == [f"{tmp_path}: reading 41 images of 2 classes"]


@pytest.mark.parametrize("names", [[], ["dataset/a", "dataset/b"]], ids=["empty", "one folder"])
def test_a_folder_that_is_no_data_set_is_one_severe_finding(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        write_pictures(tmp_path / name, range(3))
    (found,) = examine_data(tmp_path, ScriptSettings()).findings
    assert (found.code, found.severity) == ("no-data-set", Severity.SEVERE)
    assert str(tmp_path) in found.evidence[0]


def test_a_saved_hugging_face_data_set_is_no_folder_of_files(tmp_path: Path) -> None:
    for name in ("dataset_info.json", "state.json", "data-00000-of-00001.arrow"):
        (tmp_path / name).touch()
    (found,) = examine_data(tmp_path, ScriptSettings()).findings
    assert found.code == "no-data-set"


@pytest.mark.parametrize(("first", "agrees"), [(0, True), (1, False)])
def test_class_indices_are_said_to_be_right_or_to_count_from_1(
    tmp_path: Path, first: int, agrees: bool
) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / "photos" / name, range(1))
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"a": first, "b": first + 1}))
    found = examine_data(tmp_path / "photos", ScriptSettings(class_indices=path))
    assert (f"{path} has the same class indices" in found.examined) is agrees
    lines = [line for each in found.findings for line in each.evidence]
    assert ("The file counts from 1. Keras counts from 0: subtract 1." in lines) is not agrees


def test_a_bad_file_of_class_indices_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    script = ScriptSettings(class_indices=tmp_path / "classes.json")
    said = listen()
    with pytest.raises(RunError):
        examine_data(tmp_path, script)
    assert said == []
