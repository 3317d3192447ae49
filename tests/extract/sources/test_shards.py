import pickle
from pathlib import Path

import pytest

from headbench.extract.errors import DataError
from headbench.extract.sources.folder import Folder
from headbench.extract.sources.open import open_source
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.sources.shards import Shards, expand_braces, splits_of
from headbench.extract.stage import extract_features


def names(data: str) -> list[str]:
    source = open_source(data, Path("runs/x/features.h5"))
    assert isinstance(source, Shards)
    return list(source.shards)


def test_shards_are_named_from_the_folder_that_they_share() -> None:
    assert names("a/b/{0..1}.tar") == ["0.tar", "1.tar"]
    assert names("a/b/0.tar") == ["0.tar"]
    assert names("a/0.tar::b/0.tar") == ["a/0.tar", "b/0.tar"]
    assert names("../a/0.tar::b/c/0.tar::b/1.tar")[1:] != names("b/c/0.tar::b/1.tar")
    assert names("s3://one/a/{0,1}.tar") == ["0.tar", "1.tar"]
    assert names("s3://one/a/0.tar::s3://two/a/0.tar") == ["one/a/0.tar", "two/a/0.tar"]


def test_what_else_ends_in_tar_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "photos.tar").mkdir()
    assert open_source(tmp_path / "photos.tar") == Folder(tmp_path / "photos.tar")
    for address in ("tar://::photos.tar", "tar::photos.tar", "zip://x::s3://one/0.tar"):
        assert open_source(address) == RemoteFolder(address)
    assert names("simplecache::s3://one/0.tar") == ["0.tar"]


@pytest.mark.parametrize("name", ["a.tar.gz", "{0..9}.tgz", "s3://b/a.TAR.GZ", "b.tar::a.tar.zst"])
def test_a_compressed_shard_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(DataError, match="from the start of the file"):
        open_source(name)


@pytest.mark.parametrize(
    ("urls", "splits"),
    [
        (["x/train-0.tar", "x/val-0.tar", "x/test-0.tar"], ["train", "val", "test"]),
        (["imagenet-train-00.tar", "imagenet-validation-00.tar"], ["train", "val"]),
        (["train/0.tar", "valid/0.tar"], ["train", "val"]),
        (["s3://bucket/train/0.tar", "s3://bucket/TEST/train-test.tar"], ["train", "test"]),
        (["train/0.tar", "0.tar"], [None, None]),
        (["val/0.tar", "test/0.tar"], [None, None]),
        (["training-0.tar", "latest-0.tar"], [None, None]),
        (["train/x/0.tar", "train/x/1.tar"], [None, None]),
    ],
)
def test_splits_are_those_that_all_names_say(urls: list[str], splits: list[str | None]) -> None:
    assert splits_of(urls) == splits


def test_a_shard_that_is_not_there_is_named(tmp_path: Path, settings) -> None:
    (tmp_path / "1.tar").touch()
    with pytest.raises(
        DataError, match=r"expected 8 shards, found 1\. Missing: .*/0\.tar, .*\.\.\."
    ):
        extract_features(f"{tmp_path}/{{0..7}}.tar", tmp_path / "f.h5", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["1.tar"]


@pytest.mark.parametrize("data", ["", "/*.tar"])
def test_whoever_names_shards_in_another_way_is_told_the_right_one(
    tmp_path: Path, settings, data: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.tar").touch()
    with pytest.raises(DataError, match=r'headbench features "shards/\{000\.\.099\}\.tar"\.$'):
        extract_features(f"{tmp_path}/a{data}", tmp_path / "f.h5", settings)


def test_no_path_leads_out_of_the_shards(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").touch()
    source = open_source(f"{tmp_path}/a.tar", tmp_path / "f.h5")
    for path in ("secret.jpg", "../secret.jpg", "/etc/passwd", "b.tar/x.jpg"):
        with pytest.raises(DataError, match="holds no such image"):
            source.file(path)
    with pytest.raises(DataError, match=r"expected the index of .*a\.tar.* found none"):
        source.file("a.tar/../../secret.jpg")
    assert not source.is_there


def test_what_goes_to_other_processes_is_small() -> None:
    source = open_source("shards/{0000..9999}.tar", Path("f.h5"))
    assert len(source.shards) == 10_000
    assert len(pickle.dumps(source)) < 1000
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301, our own


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{000..002}.tar", ["000.tar", "001.tar", "002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..0}", ["0"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{a}.tar", ["{a}.tar"]),
        ("{a..b}", ["a..b"]),
        ("", [""]),
    ],
)
def test_names_are_those_that_a_shell_would_give(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


def test_a_slip_of_the_finger_does_not_fill_the_memory() -> None:
    with pytest.raises(DataError, match="more than 100000 files"):
        expand_braces("{0..99999999999}.tar")
    with pytest.raises(DataError, match="more than 100000 files"):
        expand_braces("{0..999}{0..999}.tar")
