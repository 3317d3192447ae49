"""Images by what the user names: files, folders, patterns, a list, and runs."""

from pathlib import Path

import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import expand, name_images, place_of
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.errors import DataError
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


@pytest.mark.parametrize(
    ("text", "is_null_separated", "found"),
    [
        (b"a b.jpg\nin\n*.jpg\n\n\xff.jpg", False, ["a b.jpg", "in", "*.jpg", "\udcff.jpg"]),
        (b"a b.jpg\r\n\r\n  \nc.jpg\r\n", False, ["a b.jpg", "c.jpg"]),
        (b"a\nb.jpg\0c.jpg\0", True, ["a\nb.jpg", "c.jpg"]),
        (b"a\r\0 \0", True, ["a\r", " "]),
    ],
)
def test_a_list_is_taken_as_it_is_and_lines_end_as_on_unix_or_windows(
    text: bytes, is_null_separated: bool, found: list[str]
) -> None:
    assert names("-", text=text, is_null_separated=is_null_separated) == found


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


def test_a_folder_is_the_images_in_it_now_with_its_run_as_store(run: Run, photos: Path) -> None:
    (photos / "red/000.png").unlink()
    named = name_images([str(photos)], {str(photos): run.features_path}.get)
    assert (len(named.paths), named.contents, named.stores) == (89, {}, [run.features_path])


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "file:///etc/passwd"])
def test_a_path_that_leaves_the_folder_of_a_run_is_not_opened(run: Run, path: str) -> None:
    with FeatureFile(run.features_path) as features:
        config = features.config
    with pytest.raises(DataError, match=r"is not opened|only if you allow it"):
        place_of(config, path)
