"""A folder is examined as a whole."""

from pathlib import Path

import pytest

from headbench.classify.doctor.data.examine_data import examine_data
from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.errors import RunError
from tests.classify.doctor.data.pictures import write_pictures
from tests.conftest import listen


def test_what_was_examined_is_said_with_its_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    (tmp_path / "b/x.png").write_bytes(b"")
    said = listen()
    examined, _ = examine_data(tmp_path, ScriptSettings())
    assert examined == (
        f"{tmp_path}: 41 image files of 2 classes (class folders), 40 of them usable."
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


def test_a_bad_file_of_class_indices_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    script = ScriptSettings(class_indices=tmp_path / "classes.json")
    said = listen()
    with pytest.raises(RunError):
        examine_data(tmp_path, script)
    assert said == []
