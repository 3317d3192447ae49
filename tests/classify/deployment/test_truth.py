from pathlib import Path

import pytest

from classify.deployment.truth import true_classes
from tests.conftest import write_image

CLASSES = ("blue", "green", "red")


def make(folder: Path, *names: str) -> Path:
    for name in names:
        write_image(folder / name, seed=1)
    return folder


def labels(folder: Path, *more: str) -> tuple[dict[str, str], str]:
    said: list[str] = []
    found = true_classes([str(folder), *more], CLASSES, said.append)
    named = {path.relative_to(folder).as_posix(): name for path, name in found.items()}
    return named, "\n".join(said)


def test_labels_come_from_folders_and_not_from_a_data_set_saved_there(tmp_path: Path) -> None:
    folder = make(tmp_path, "red/1.png")
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert labels(folder)[0] == {"red/1.png": "red"}


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("red/1.png", "blue/2.png"), "class folders"),
        (("red/deep/1.png",), "class folders"),
        (("train/red/1.png", "val/red/1.png", "test/blue/2.png"), "split folders"),
        (("images/red/1.png", "images/blue/2.png"), "food101"),
    ],
)
def test_class_folders_are_true_classes_in_every_layout(
    tmp_path: Path, names: tuple[str, ...], layout: str
) -> None:
    folder = make(tmp_path, *names)
    if layout == "food101":
        (folder / "meta").mkdir()
        (folder / "meta/train.txt").write_text("red/1\n")
        (folder / "meta/test.txt").write_text("blue/2\n")
    found, said = labels(folder)
    assert found == {name: "red" if "red" in name else "blue" for name in names}
    assert said == f"{folder}: true classes are taken from the names of its folders ({layout})"


def test_folders_that_are_no_class_are_named_and_keep_their_name(tmp_path: Path) -> None:
    found, said = labels(make(tmp_path, "red/1.png", "mauve/2.png", "stray.png"))
    assert found == {"red/1.png": "red", "mauve/2.png": "mauve"}
    assert said.splitlines()[1] == "1 folder names no class of the model: mauve"


def test_a_folder_without_folders_says_nothing(tmp_path: Path) -> None:
    assert labels(make(tmp_path, "1.png")) == ({}, "")


@pytest.mark.parametrize(
    ("names", "found"),
    [(("Red Ones/1.png", "ochre/2.png"), "Red Ones, ochre"), (("a/red/1.png",), "a")],
)
def test_where_no_folder_is_a_class_it_is_said_what_was_found_and_expected(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    assert labels(make(tmp_path, *names)) == (
        {},
        f"{tmp_path}: accuracy is not known: no folder in it is named after a class (found "
        f"{found}; expected blue, green, red)",
    )


def test_a_folder_that_is_named_after_a_class_holds_that_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "red", "1.png", "deep/2.png")
    said = f"{folder}: the true class is the name of the folder itself"
    assert labels(folder) == ({"1.png": "red", "deep/2.png": "red"}, said)
    monkeypatch.chdir(folder)
    assert labels(Path()) == labels(Path(".")) != ({}, "")


def test_many_folders_that_are_named_after_classes_are_said_in_one_line(tmp_path: Path) -> None:
    make(tmp_path, "red/1.png", "blue/2.png")
    said: list[str] = []
    named = [str(tmp_path / name) for name in ("red", "blue")]
    assert sorted(true_classes(named, CLASSES, said.append).values()) == ["blue", "red"]
    assert said == [f"{', '.join(named)}: the true class is the name of the folder itself"]


def test_a_class_inside_another_is_ambiguous(tmp_path: Path) -> None:
    found, said = labels(make(tmp_path, "red/1.png", "blue/red/2.png"))
    assert found == {}
    assert said == (
        f"{tmp_path}: no labels are taken from it: blue/red/2.png is in folders of two classes."
    )


def test_a_class_inside_a_folder_that_was_named_for_another_is_ambiguous(tmp_path: Path) -> None:
    found, said = labels(make(tmp_path / "blue", "red/2.png"))
    assert found == {}
    assert said.endswith(
        "blue: no labels are taken from it: red/2.png is in folders of two classes."
    )


def test_files_patterns_and_lists_have_no_labels(tmp_path: Path) -> None:
    folder = make(tmp_path, "red/1.png")
    said: list[str] = []
    named = [str(folder / "red/1.png"), str(folder / "*/*.png"), "-"]
    assert true_classes(named, CLASSES, said.append) == {}
    assert said == []
