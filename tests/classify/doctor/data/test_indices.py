"""Class indices that differ between folders, or from a file."""

from pathlib import Path

import pytest

from classify.doctor.data.indices import examine_indices, read_class_indices
from classify.doctor.finding import Severity
from classify.errors import RunError


def test_a_class_missing_in_val_moves_the_others() -> None:
    (found,) = examine_indices({"train": ["a", "b", "c"], "val": ["a", "c"]}, None)
    assert found.code == "classes-differ-between-splits"
    assert found.severity is Severity.SEVERE
    assert found.evidence[1] == "Only in train: b."
    assert "1 of 2 classes of val" in found.evidence[2]
    assert "what is 'c' in val counts as 'b'" in found.evidence[2]
    assert found.grid is not None
    assert found.grid.rows == (("b", "1", "-"), ("c", "2", "1"))


@pytest.mark.parametrize("val", [["a", "b"], ["a", "b", "c", "d"]])
def test_a_last_class_more_or_less_moves_none(val: list[str]) -> None:
    (found,) = examine_indices({"train": ["a", "b", "c"], "val": val}, None)
    assert found.severity is Severity.WARNING


def test_a_renamed_class_counts_as_the_one_in_its_place() -> None:
    (found,) = examine_indices({"train": ["a", "b"], "test": ["a", "x"]}, None)
    assert found.severity is Severity.SEVERE
    assert "what is 'x' in test counts as 'b'" in found.evidence[3]


def test_the_same_classes_are_no_finding() -> None:
    folders = {"train": ["a", "b"], "val": ["a", "b"]}
    assert list(examine_indices(folders, {"a": 0, "b": 1})) == []


def test_a_permuted_file_is_severe() -> None:
    (found,) = examine_indices({"photos": ["a", "b", "c"]}, {"a": 0, "b": 2, "c": 1})
    assert found.code == "class-indices-differ"
    assert found.severity is Severity.SEVERE
    assert found.grid is not None
    assert found.grid.rows == (("b", "2", "1"), ("c", "1", "2"))


def test_a_file_with_one_class_too_few_is_a_warning() -> None:
    (found,) = examine_indices({"photos": ["a", "b"]}, {"a": 0})
    assert found.severity is Severity.WARNING
    assert found.evidence[1] == "Not in the file: b."


def test_one_index_for_two_classes_is_said() -> None:
    (found,) = examine_indices({"photos": ["a", "b"]}, {"a": 0, "b": 0})
    assert found.evidence[-1] == "In the file several classes have the same index."


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
