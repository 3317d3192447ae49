import pickle
from pathlib import Path

import pytest

from extract.errors import DataError, UnusableImageError
from extract.sources.folder import Folder
from extract.sources.opening import open_source
from extract.sources.place import Place, Stream
from extract.sources.remote import RemoteFolder
from extract.sources.shards import Shards, splits_of
from extract.stage import extract_features


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
    with pytest.raises(DataError, match="from its beginning for every image"):
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
        DataError, match=r"expected 8 shards, found 1\. Not there: .*/0\.tar, .*\.\.\."
    ):
        extract_features(f"{tmp_path}/{{0..7}}.tar", tmp_path / "f.h5", settings, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["1.tar"]


@pytest.mark.parametrize("data", ["", "/*.tar"])
def test_whoever_names_shards_in_another_way_is_told_the_right_one(
    tmp_path: Path, settings, data: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.tar").touch()
    with pytest.raises(DataError, match=r'DATA="shards/\{000\.\.099\}\.tar"\.$'):
        extract_features(f"{tmp_path}/a{data}", tmp_path / "f.h5", settings, lambda _: None)


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


class Breaking(Place):
    """A file whose first connection breaks after some bytes."""

    n_opened = 0
    can_seek = True

    def open(self) -> object:
        type(self).n_opened += 1
        file = BreakingFile(Path(self.url).read_bytes(), self.can_seek)
        file.breaks = self.n_opened == 1
        return file


class BreakingFile:
    def __init__(self, data: bytes, can_seek: bool) -> None:
        self.data, self.can_seek, self.position, self.n_reads = data, can_seek, 0, 0
        self.breaks = False

    def seek(self, position: int) -> None:
        if not self.can_seek:
            raise ValueError("cannot seek streaming HTTP file")
        self.position = position

    def read(self, n_bytes: int) -> bytes:
        self.n_reads += 1
        if self.breaks and self.n_reads == 4:
            raise ConnectionError("broken")
        piece = self.data[self.position : self.position + min(n_bytes, 7)]
        self.position += len(piece)
        return piece

    def close(self) -> None:
        pass


@pytest.mark.parametrize("can_seek", [True, False])
def test_a_stream_goes_on_at_the_byte_where_its_connection_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_seek: bool
) -> None:
    monkeypatch.setattr("extract.sources.patience.PAUSE_SECONDS", 0)
    monkeypatch.setattr(Breaking, "can_seek", can_seek)
    monkeypatch.setattr(Breaking, "n_opened", 0)
    data = bytes(range(20))
    (tmp_path / "file").write_bytes(data)
    stream = Stream(Breaking(str(tmp_path / "file")), len(data))
    assert b"".join(iter(lambda: stream.read(7), b"")) == data
    assert stream.tell() == 20
    assert Breaking.n_opened == 2


def test_a_connection_that_ends_early_is_no_end_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extract.sources.patience.PAUSE_SECONDS", 0)
    (tmp_path / "file").write_bytes(b"0123456789")
    stream = Stream(Place(str(tmp_path / "file")), 20)
    assert stream.read(10) == b"0123456789"
    with pytest.raises(DataError, match=r"read on from byte 10 \(it ended before its 20"):
        stream.read(10)


def test_bytes_of_a_shard_that_is_gone_are_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnusableImageError, match="its shard cannot be read: No such file"):
        Place(str(tmp_path / "gone.tar")).read(0, 1)
