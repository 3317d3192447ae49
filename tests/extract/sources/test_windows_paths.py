"""Paths as Windows writes them, on any system: what is stored is POSIX all the same."""

import ntpath
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from headbench.cache import format as layout
from headbench.extract.errors import DataError
from headbench.extract.sources import folder, manifest, shards, urls

LIST = "C:\\data\\list.csv"


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the modules that make or check stored paths the `os` of Windows."""
    found = SimpleNamespace(sep="\\", path=ntpath, environ=os.environ)
    for module in (layout, manifest, shards, urls):
        monkeypatch.setattr(module, "os", found)


@pytest.mark.parametrize("path", ["cats/1.png", "cats\\1.png", "..cats/1.png", "1.png"])
def test_a_path_inside_the_folder_is_opened(path: str) -> None:
    assert layout.leads_inside(path)
    folder.image_path(Path("photos"), path)


@pytest.mark.parametrize(
    "path", ["..\\1.png", "cats\\..\\..\\1.png", "C:\\1.png", "C:/1.png", "C:1.png", "\\\\host\\1"]
)
def test_no_backslash_or_drive_leads_out_of_the_folder(path: str) -> None:
    assert not layout.leads_inside(path)
    with pytest.raises(DataError, match="is not opened"):
        folder.image_path(Path("photos"), path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cats\\1.png", "cats/1.png"),
        (".\\cats/1.png", "cats/1.png"),
        ("dogs\\..\\cats\\1.png", "cats/1.png"),
        ("C:\\data\\cats\\1.png", "cats/1.png"),
        ("file:///C:/data/cats/1.png", "cats/1.png"),
        ("..\\1.png", "file:///C:/1.png"),
        ("D:\\photos\\1.png", "file:///D:/photos/1.png"),
        ("file:///D:/photos/1.png", "file:///D:/photos/1.png"),
        ("s3://bucket/1.png", "s3://bucket/1.png"),
    ],
)
def test_a_list_has_one_name_for_a_file(path: str, expected: str) -> None:
    assert manifest.address(LIST, path) == expected
    assert manifest.address(LIST, expected) == expected


def test_a_drive_in_a_url_is_where_the_file_is_read() -> None:
    assert manifest.place(LIST, "file:///D:/photos/1.png") == Path("D:/photos/1.png")


def test_paths_beside_a_list_behind_a_url_stay_posix() -> None:
    assert manifest.address("s3://bucket/list.csv", "dogs/../cats/1.png") == "cats/1.png"


def test_shards_are_named_without_their_folder() -> None:
    places = [shards.absolute(f"C:\\data\\{name}.tar") for name in ("train-0", "train-1")]
    assert places == ["C:/data/train-0.tar", "C:/data/train-1.tar"]
    assert shards.names_of(places) == ["train-0.tar", "train-1.tar"]


def test_files_of_a_folder_are_listed_with_slashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train/cats").mkdir(parents=True)
    (tmp_path / "train/cats/1.png").touch()
    path = SimpleNamespace(
        join=os.path.join,
        realpath=os.path.realpath,
        splitext=os.path.splitext,
        relpath=lambda *paths: os.path.relpath(*paths).replace("/", "\\"),
    )
    monkeypatch.setattr(folder, "os", SimpleNamespace(sep="\\", path=path, walk=os.walk))
    assert list(folder.files_below(tmp_path)) == ["train/cats/1.png"]
