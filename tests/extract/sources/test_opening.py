from pathlib import Path

from extract.sources.folder import Folder
from extract.sources.huggingface import HuggingFace
from extract.sources.manifest import Manifest
from extract.sources.opening import open_source
from extract.sources.remote import RemoteFolder


def test_a_source_is_known_by_its_name_and_by_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/dataset_dict.json").touch()
    for name, expected in {
        "photos": Folder,
        "photos.csv": Folder,
        "list.CSV": Manifest,
        "list.tsv": Manifest,
        "list.parquet": Manifest,
        "saved": HuggingFace,
    }.items():
        assert type(open_source(tmp_path / name)) is expected
        assert type(open_source(str(tmp_path / name))) is expected
        assert open_source(tmp_path / name).name == str(tmp_path / name)
    assert type(open_source("s3://bucket/photos")) is RemoteFolder
    assert type(open_source("s3://bucket/list.csv")) is Manifest
    assert type(open_source("zip://list.csv::s3://bucket/photos.zip")) is Manifest
