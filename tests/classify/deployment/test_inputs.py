import os
from pathlib import Path

import pytest

from classify.deployment.inputs import expand
from classify.errors import RunError
from tests.conftest import write_image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.jpg", "in/c.jpg", "in/deep/d.jpg", "in/deep/e.png", "[x].jpg"):
        write_image(tmp_path / name, seed=1)
    (tmp_path / "note.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*named: str, text: bytes | None = None, is_null_separated: bool = False) -> list[str]:
    def read() -> bytes:
        assert text is not None
        return text

    return [each.as_posix() for each in expand(named, is_null_separated, read)]


@pytest.mark.usefixtures("folder")
def test_files_folders_patterns_and_lists_come_in_the_order_given() -> None:
    found = names("b.jpg", "in", "*.jpg", "-", "b.jpg", text=b"z.jpg\na.jpg\n")
    in_folder = ["in/c.jpg", "in/deep/d.jpg", "in/deep/e.png"]
    matched = ["[x].jpg", "a.jpg", "b.jpg"]
    assert found == ["b.jpg", *in_folder, *matched, "z.jpg", "a.jpg", "b.jpg"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/**/*.jpg", ["in/c.jpg", "in/deep/d.jpg"]),
        ("in/*", ["in/c.jpg"]),
        ("?.jpg", ["a.jpg", "b.jpg"]),
        ("*.txt", ["note.txt"]),
        ("[x].jpg", ["[x].jpg"]),  # a file that is called so
    ],
)
def test_a_pattern_stands_for_the_files_that_it_matches(pattern: str, found: list[str]) -> None:
    assert names(pattern) == found


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("pattern", ["*.gif", "nowhere/**/*.jpg", "i?"])
def test_a_pattern_that_matches_no_file_is_an_error(pattern: str) -> None:
    with pytest.raises(RunError, match="expected files that match this pattern, found none"):
        names(pattern)


def test_a_list_is_taken_as_it_is() -> None:
    odd = os.fsencode("a b.jpg\nin\n*.jpg\n\n") + b"\xff.jpg"
    assert names("-", text=odd) == ["a b.jpg", "in", "*.jpg", "\udcff.jpg"]


def test_nul_ends_paths_that_hold_line_ends() -> None:
    assert names("-", text=b"a\nb.jpg\0c.jpg\0", is_null_separated=True) == ["a\nb.jpg", "c.jpg"]


def test_lines_end_as_on_windows_too_and_blank_ones_are_none() -> None:
    assert names("-", text=b"a b.jpg\r\n\r\n  \nc.jpg\r\n") == ["a b.jpg", "c.jpg"]


def test_nul_leaves_paths_as_they_are() -> None:
    assert names("-", text=b"a\r\0 \0", is_null_separated=True) == ["a\r", " "]


@pytest.mark.parametrize("text", [b"\n", b"\r\n \r\n"])
def test_an_empty_list_is_an_error(text: bytes) -> None:
    with pytest.raises(RunError, match="on standard input, one a line, found none"):
        names("-", text=text)


@pytest.mark.usefixtures("folder")
def test_an_empty_name_is_refused_and_is_not_the_current_folder() -> None:
    with pytest.raises(RunError, match=r"expected a file, .* found an empty name"):
        names("a.jpg", "")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected image files in this folder, found none"):
        names(str(tmp_path))
