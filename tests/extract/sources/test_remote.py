import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract import stage
from headbench.extract.errors import DataError
from headbench.extract.images import stream
from headbench.extract.images.stream import N_READERS
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources import tar, urls
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.stage import describe_plan, extract_features
from headbench.extract.workers.machines import Machines
from tests.conftest import listen, write_class_folders, write_image
from tests.extract.sources.tars import write_shards
from tests.extract.sources.web_server import web_server
from tests.object_store import BUCKET, CUT_OFF, HANG, ObjectStore

HERE = Machines()
N_PER_CLASS = 12
N_IMAGES = 3 * N_PER_CLASS
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "hidden"}
# The library's own tries come before ours, and have long pauses.
ENVIRONMENT = {**KEYS, "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def whole_store() -> Iterator[ObjectStore]:
    s3fs = pytest.importorskip("s3fs")
    with ObjectStore() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": store.url}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield store
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries, which are not made."""
    made: list[float] = []
    monkeypatch.setattr(urls, "pause", made.append)
    return made


@pytest.fixture
def store(whole_store: ObjectStore, pauses: list[float]) -> ObjectStore:
    pauses.clear()
    whole_store.layer.reset()
    return whole_store


class Extraction:
    """Extracts a folder of the store, and says what was read and embedded."""

    def __init__(self, store: ObjectStore, prefix: str, out: Path, embedded: list[int]) -> None:
        self.store, self.prefix, self.out, self.embedded = store, prefix, out, embedded
        self.url = f"s3://{BUCKET}/{prefix}"
        self.settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)
        self.said = listen()

    def __call__(self, machines: Machines = HERE) -> tuple[dict[str, int], int]:
        """Objects read and how often, and the number of images embedded."""
        self.store.layer.gets.clear()
        self.embedded.clear()
        extract_features(self.url, self.out, self.settings, machines)
        read = {key: n for key, n in self.store.layer.gets.items() if key}
        return {key.removeprefix(f"{self.prefix}/"): n for key, n in read.items()}, sum(
            self.embedded
        )

    @property
    def rejected(self) -> dict[str, str]:
        with FeatureFile(self.out) as features:
            return {path: reason for path, reason, _ in features.table.rejected}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "photos", N_PER_CLASS)


@pytest.fixture
def in_store(store: ObjectStore, photos: Path, tmp_path: Path, embedded: list[int]) -> Extraction:
    """The folder `photos`, in the store."""
    store.put_folder(photos, f"{tmp_path.name}/")
    return Extraction(store, tmp_path.name, tmp_path / "far/features.h5", embedded)


def same_as_local(photos: Path, far: Any, out: Path) -> None:
    """Everything but the name of the folder is that of a local extraction, bit for bit."""
    extract_features(photos, out, far.settings)
    with FeatureFile(out) as ours, FeatureFile(far.out) as theirs:
        assert theirs.table.paths == ours.table.paths
        assert theirs.table.classes == ours.table.classes
        assert theirs.table.rejected == ours.table.rejected
        for name in ("labels", "splits", "content_sha256"):
            np.testing.assert_array_equal(getattr(theirs.table, name), getattr(ours.table, name))
        for split in ("train", "val", "test"):
            np.testing.assert_array_equal(theirs.load(split)[0], ours.load(split)[0])
        assert theirs.config.data["folder"] == far.url
        assert theirs.config.data["layout"] == ours.config.data["layout"]


def spoil(photos: Path) -> None:
    """Add what is found in real folders."""
    (photos / "red/notes.txt").write_text("text")
    (photos / "red/.hidden.png").write_bytes(b"")
    (photos / ".git").mkdir()
    (photos / ".git/1.png").write_bytes(b"")
    (photos / "blue/broken.png").write_bytes(b"no image")
    (photos / "top.png").write_bytes(b"")
    write_image(photos / "green/album.png/inside.png", 5000, (30, 200, 40))
    write_image(photos / "green/ein Ölbild #1 100%.png", 5001, (30, 200, 40))


def test_class_folders_in_a_bucket_give_what_a_folder_gives(
    photos: Path, store: ObjectStore, tmp_path: Path
) -> None:
    spoil(photos)
    store.put_folder(photos, "classes/")
    store.put("classes/red/", b"")  # as consoles mark a folder
    far = Extraction(store, "classes", tmp_path / "far.h5", [])
    far()
    same_as_local(photos, far, tmp_path / "near.h5")


def test_food101_in_a_bucket_gives_what_a_folder_gives(store: ObjectStore, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "food/images", n_per_class=8)
    for split, numbers in (("train", range(6)), ("test", range(6, 8))):
        lines = [f"{name}/{n:03}\n" for name in ("blue", "green", "red") for n in numbers]
        path = tmp_path / f"food/meta/{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(lines))
    for image in sorted((tmp_path / "food/images").glob("*/*.png")):
        image.rename(image.with_suffix(".jpg"))
    store.put_folder(tmp_path / "food", "food/")
    far = Extraction(store, "food", tmp_path / "far.h5", [])
    far()
    same_as_local(tmp_path / "food", far, tmp_path / "near.h5")


def test_only_what_changed_is_read_and_only_what_is_new_is_embedded(
    in_store: Extraction, photos: Path, tmp_path: Path
) -> None:
    store, prefix = in_store.store, in_store.prefix
    read, n_embedded = in_store()
    assert (set(read.values()), len(read), n_embedded) == ({1}, N_IMAGES, N_IMAGES)
    assert store.layer.n_others == 0  # nor is anything asked about an object before it is read
    assert in_store() == ({}, 0)
    write_image(photos / "red/003.png", 7777, (210, 30, 30))
    store.put(f"{prefix}/red/003.png", (photos / "red/003.png").read_bytes())
    assert in_store() == ({"red/003.png": 1}, 1)
    (photos / "blue/004.png").rename(photos / "blue/moved.png")
    store.delete(f"{prefix}/blue/004.png")
    store.put(f"{prefix}/blue/moved.png", (photos / "blue/moved.png").read_bytes())
    assert in_store() == ({"blue/moved.png": 1}, 0)
    same_as_local(photos, in_store, tmp_path / "near.h5")


def test_many_are_read_at_a_time(in_store: Extraction) -> None:
    in_store.store.layer.seconds = 0.2
    in_store()
    assert in_store.store.layer.most_at_once > 12


def test_what_a_user_configured_for_the_library_holds() -> None:
    configured = {"s3": {"config_kwargs": {"max_pool_connections": 3, "region_name": "here"}}}
    options = urls._options(f"s3://{BUCKET}", configured)
    assert options["config_kwargs"] == configured["s3"]["config_kwargs"]
    assert urls._options("gs://bucket", configured) == {}


def test_what_fails_for_a_while_is_tried_again(in_store: Extraction, pauses: list[float]) -> None:
    troubles = {"red/001.png": [500, 503, 500], "blue/002.png": [CUT_OFF]}
    for path, found in troubles.items():
        in_store.store.layer.troubles[f"{in_store.prefix}/{path}"] = found.copy()
    read, n_embedded = in_store()
    assert (n_embedded, in_store.rejected) == (N_IMAGES, {})
    assert {path: read[path] for path in troubles} == {
        "red/001.png": 4,
        "blue/002.png": 2,
    }
    assert pauses[:1] == [urls.PAUSE_SECONDS]


def test_a_connection_that_hangs_is_given_up(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "READ_SECONDS", 0.5)
    store.put("hanging/a.png", b"content")
    file = RemoteFolder(f"s3://{BUCKET}/hanging").file("a.png")
    store.layer.troubles["hanging/a.png"] = [HANG]
    assert file.read(file.path, 100) == b"content"
    monkeypatch.setattr(urls, "READ_SECONDS", 0.1)
    store.layer.troubles["hanging/a.png"] = [HANG] * urls.N_TRIES
    with pytest.raises(urls.UnansweredError, match=r"^cannot be read: no answer$"):
        file.read(file.path, 100)


def test_what_goes_on_failing_is_listed_and_tried_again_by_the_next_run(
    in_store: Extraction, photos: Path, tmp_path: Path
) -> None:
    store, prefix = in_store.store, in_store.prefix
    store.layer.troubles = {
        f"{prefix}/red/001.png": [500] * urls.N_TRIES,
        f"{prefix}/red/002.png": [403],
    }
    _, n_embedded = in_store()
    assert n_embedded == N_IMAGES - 2
    assert in_store.rejected == {
        "red/001.png": "cannot be read: [Errno 121] We had an internal error.",
        "red/002.png": "no permission to read it",
    }
    assert in_store() == ({"red/001.png": 1, "red/002.png": 1}, 2)
    same_as_local(photos, in_store, tmp_path / "near.h5")


def test_what_is_gone_when_it_is_read_is_listed(in_store: Extraction) -> None:
    in_store.store.layer.troubles[f"{in_store.prefix}/red/001.png"] = [404]
    _, n_embedded = in_store()
    assert (n_embedded, in_store.rejected) == (N_IMAGES - 1, {"red/001.png": "no such file"})


def test_a_store_that_answers_no_more_ends_the_run_and_nothing_is_read_twice(
    in_store: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "MOST_UNANSWERED", 5)
    monkeypatch.setattr(stage, "PART_IMAGES", 8)
    monkeypatch.setattr(stream, "N_AHEAD", 4)
    layer = in_store.store.layer
    for path in [f"{in_store.prefix}/red/{number:03}.png" for number in range(N_PER_CLASS)]:
        layer.troubles[path] = [500] * urls.N_TRIES
    with pytest.raises(DataError, match=r"no answer for 5 files in a row.*red/0"):
        in_store()
    layer.troubles.clear()
    read, n_embedded = in_store()
    assert {f"red/{number:03}.png" for number in range(N_PER_CLASS)} <= set(read)
    assert not any(path.startswith("blue") for path in read)
    assert n_embedded < 2 * N_PER_CLASS
    assert in_store.rejected == {}


def test_a_dry_run_reads_nothing(in_store: Extraction) -> None:
    describe_plan(in_store.url, in_store.out, in_store.settings)
    assert set(in_store.store.layer.gets) == {""}  # listings
    assert f"{N_IMAGES} of {N_IMAGES} files are new or changed" in in_store.said[-1]


def test_other_processes_read_for_themselves(
    in_store: Extraction, photos: Path, tmp_path: Path
) -> None:
    read, _ = in_store(Machines(n_jobs=2, backend="processes"))
    assert len(read) == N_IMAGES
    same_as_local(photos, in_store, tmp_path / "near.h5")


def test_to_other_processes_go_neither_listing_nor_connections(in_store: Extraction) -> None:
    source = RemoteFolder(in_store.url)
    path = source.find().found[0].path
    expected = source.file(path).read(path, 10**6)
    sent = pickle.dumps([source.file(path), source])
    assert len(sent) < 500
    file, there = pickle.loads(sent)  # noqa: S301, our own
    assert file.read(path, 10**6) == expected
    assert there == source
    assert there.stamps([path]).tolist() == [[-1] * 4]


def test_a_listing_sees_changes_in_the_same_process(store: ObjectStore) -> None:
    source = RemoteFolder(f"s3://{BUCKET}/changing")
    store.put("changing/a/1.png", b"one")
    assert [each.path for each in source.find().found] == ["a/1.png"]
    before = source.stamps(["a/1.png"])
    store.put("changing/a/1.png", b"two")
    store.put("changing/a/2.png", b"new")
    assert [each.path for each in source.find().found] == ["a/1.png", "a/2.png"]
    assert (source.stamps(["a/1.png"]) != before).any()


@pytest.mark.parametrize("n_files", [1005, pytest.param(20_000, marks=pytest.mark.long)])
def test_folders_of_more_than_a_page_are_listed_whole(store: ObjectStore, n_files: int) -> None:
    names = [f"a/{number:05}.png" for number in range(n_files)]
    for name in names:
        store.put(f"large-{n_files}/{name}", b"")
    found = RemoteFolder(f"s3://{BUCKET}/large-{n_files}").find().found
    assert [each.path for each in found] == names


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://nobody-has-this/photos", "expected a folder of images, found nothing"),
        (f"s3://{BUCKET}/nothing-here", "expected a folder of images, found nothing"),
        (f"s3://{BUCKET}/lonely.png", "expected a folder of images, found a file"),
        ("s3://", "expected a bucket and a folder in it, found neither"),
        (f"s3://{BUCKET}/empty-part", "names with an empty part cannot be read"),
        ("nobody://knows/this", "cannot be opened"),
        ("zip://all.zip", "Write an archive after '::'"),
        ("zip://::/nowhere/all.zip", "cannot be opened (no such file: /nowhere/all.zip)."),
        ("zip://::memory://all.zip", "cannot be opened (no such file: /all.zip)."),
        ("zip://::http://127.0.0.1:1/all.zip", "cannot be opened (Cannot connect to host"),
        ("http://127.0.0.1:1/photos", "Write a list of their URLs"),
        ("https://me:hidden@example.org/photos", "https://...@example.org/photos: expected a URL"),
        ("https://example.org/photos?X-Amz-Signature=hidden", "photos?...: expected a URL"),
    ],
)
def test_what_cannot_be_listed_is_one_line_without_secrets(
    url: str, expected: str, store: ObjectStore, tmp_path: Path
) -> None:
    store.put("lonely.png", b"")
    store.put("empty-part//a.png", b"")
    with pytest.raises(DataError) as caught:
        extract_features(url, tmp_path / "f.h5", ExtractSettings(backbone="mean-color"))
    said = str(caught.value)
    assert expected in said
    assert "\n" not in said
    assert "hidden" not in said


def test_credentials_that_are_refused_are_said_and_not_shown(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.layer.troubles[""] = [403]
    settings = ExtractSettings(backbone="mean-color")
    with pytest.raises(DataError) as caught:
        extract_features(f"s3://{BUCKET}/any", tmp_path / "f.h5", settings)
    said = str(caught.value)
    assert f"s3://{BUCKET}/any: cannot be listed (Access Denied)." in said
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in said


def test_a_shard_in_a_bucket_goes_on_where_its_connection_broke(
    store: ObjectStore, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "BLOCK_BYTES", 1 << 14)
    store.put_folder(write_shards(photos, tmp_path / "shards", 1), "shards/")
    store.layer.troubles["shards/000.tar"] = [0, CUT_OFF, 500]
    far, near = tmp_path / "far.h5", tmp_path / "near.h5"
    settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)
    extract_features(f"s3://{BUCKET}/shards/000.tar", far, settings)
    extract_features(tmp_path / "shards/000.tar", near, settings)
    assert store.layer.gets["shards/000.tar"] > 5
    with FeatureFile(near) as ours, FeatureFile(far) as theirs:
        assert theirs.table.digest() == ours.table.digest()


@pytest.fixture
def archive(photos: Path) -> Path:
    path = photos.parent / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(photos.rglob("*")):
            archive.write(file, f"photos/{file.relative_to(photos)}")
    return path


def far_folder(url: str, photos: Path) -> None:
    settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)
    far = SimpleNamespace(url=url, out=photos.parent / "far.h5", settings=settings)
    extract_features(url, far.out, far.settings)
    same_as_local(photos, far, photos.parent / "near.h5")


def test_an_archive_gives_what_a_folder_gives(photos: Path, archive: Path) -> None:
    far_folder(f"zip://photos::{archive}", photos)


def test_a_folder_in_memory_gives_what_a_folder_gives(photos: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(photos), "/far", recursive=True)
    far_folder("memory://far", photos)
    memory.rm("/far", recursive=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_an_archive_are_refused(photos: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.write(photos / "red/001.png", "photos/red/000.png")
    tar_path = archive.with_suffix(".tar")
    with tarfile.open(tar_path, "w") as packed:
        packed.add(photos, "photos")
        packed.add(photos / "red/001.png", "photos/red/000.png")
    for url in (f"zip://photos::{archive}", f"tar://photos::{tar_path}"):
        with pytest.raises(DataError, match=r"two files are named photos/red/000\.png.*Pack"):
            RemoteFolder(url).find()


def test_an_archive_that_a_web_server_does_not_have_is_said(tmp_path: Path) -> None:
    with (
        web_server(tmp_path) as url,
        pytest.raises(DataError, match=r"opened \(404, message='File"),
    ):
        RemoteFolder(f"zip://::{url}/all.zip").find()


def test_many_threads_read_an_archive_that_none_has_listed(photos: Path, archive: Path) -> None:
    paths = [path.relative_to(photos).as_posix() for path in sorted(photos.glob("*/[0-9]*"))] * 10
    source = RemoteFolder(f"zip://photos::{archive}")
    files = [source.file(path) for path in paths]
    with ThreadPoolExecutor(N_READERS) as pool:
        found = list(pool.map(lambda file: file.read(file.path, 10**6), files))
    assert found == [(photos / path).read_bytes() for path in paths]


def test_members_of_an_archive_are_told_apart_by_content(archive: Path) -> None:
    source = RemoteFolder(f"zip://photos::{archive}")
    source.find()
    first = source.stamps(["red/000.png", "red/001.png", "red/nothing.png"])
    assert (first[:2, 0] > 0).all()
    assert first[0, 3] != first[1, 3]
    assert first[2].tolist() == [-1] * 4
