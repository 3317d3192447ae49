from pathlib import Path

import pytest

from headbench.extract.errors import DataError
from headbench.extract.sources.folder import Folder
from headbench.extract.sources.manifest import Manifest
from headbench.extract.sources.open import open_source
from headbench.extract.sources.remote import RemoteFolder


@pytest.mark.parametrize("data", ["photos", Path("photos"), "file://photos"])
def test_a_folder_of_this_machine_is_near_whatever_it_is_called(data: str | Path) -> None:
    assert open_source(data) == Folder(Path("photos"))
    assert open_source(data).name == "photos"


@pytest.mark.parametrize("url", ["s3://bucket/photos", "zip::all.zip", "memory://photos"])
def test_an_address_is_far_away_and_nobody_is_asked(url: str) -> None:
    source = open_source(url)
    assert source == RemoteFolder(url)
    assert (source.name, source.is_near, source.is_there) == (url, False, True)


@pytest.mark.parametrize("path", ["photos", "list.csv", "{0..9}.tar", "all.tar.gz"])
def test_no_password_gets_into_a_source_or_an_error(path: str) -> None:
    with pytest.raises(DataError, match=r"^https://\.\.\.@host/.* without password"):
        open_source(f"https://me:hidden@host/{path}")


def test_lists_are_known_by_their_names_and_by_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").mkdir()
    for name, expected in {
        "photos": Folder,
        "photos.csv": Folder,
        "list.CSV": Manifest,
        "list.tsv": Manifest,
        "list.parquet": Manifest,
    }.items():
        path = tmp_path / name
        for data in (path, str(path), f"file://{path}"):
            assert type(open_source(data)) is expected
            assert open_source(data).name == str(path)
    for url in ("s3://bucket/list.csv", "zip://list.csv::s3://bucket/photos.zip"):
        assert open_source(url) == Manifest(url)


@pytest.mark.parametrize("files", [["dataset_dict.json"], ["dataset_info.json", "state.json"]])
def test_a_data_set_that_hugging_face_saved_is_told_where_its_lines_are(
    tmp_path: Path, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).touch()
    message = r"found a data set saved by Hugging Face's.*extract_dataset \(docs/sources.md"
    with pytest.raises(DataError, match=message):
        open_source(tmp_path)
