import json
from pathlib import Path
from typing import Any

import pytest

from classify.doctor.data.indices import examine_indices, read_class_indices
from classify.doctor.finding import Severity
from classify.errors import RunError

NAMES = ["a", "b", "c"]


def write(folder: Path, content: Any) -> Path:
    path = folder / "indices.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"a": 0, "b": 1, "c": 2},
        {"0": "a", "1": "b", "2": "c"},
        ["a", "b", "c"],
        {"0": ["n1", "a"], "1": ["n2", "b"], "2": ["n3", "c"]},
    ],
)
def test_the_usual_ways_to_write_a_map_are_read(tmp_path: Path, content: Any) -> None:
    assert read_class_indices(write(tmp_path, content)) == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize("content", ["", "{", "3", "[]", '{"a": null}', '{"a": 1.5}', "[" * 100000])
def test_what_is_no_map_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(RunError, match="expected JSON of class names"):
        read_class_indices(write(tmp_path, content))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        read_class_indices(tmp_path / "nothing.json")


def test_the_same_map_gets_no_finding() -> None:
    given = {"a": 0, "b": 1, "c": 2}
    assert list(examine_indices({"train": NAMES, "val": NAMES}, given)) == []


def test_a_map_in_another_order_is_severe() -> None:
    [finding] = examine_indices({"photos": NAMES}, {"a": 0, "b": 2, "c": 1})
    assert (finding.code, finding.severity) == ("class-indices-differ", Severity.SEVERE)
    assert finding.grid
    assert finding.grid.rows == (("b", "2", "1"), ("c", "1", "2"))


def test_a_class_that_val_lacks_moves_the_indices_after_it() -> None:
    [finding] = examine_indices({"train": NAMES, "val": ["b", "c"]}, None)
    assert finding.code == "classes-differ-between-splits"
    assert finding.severity is Severity.SEVERE
    assert finding.grid
    assert finding.grid.rows == (("a", "0", "-"), ("b", "1", "0"), ("c", "2", "1"))


def test_a_last_class_that_val_lacks_moves_none() -> None:
    [finding] = examine_indices({"train": NAMES, "val": ["a", "b"]}, None)
    assert finding.severity is Severity.WARNING
