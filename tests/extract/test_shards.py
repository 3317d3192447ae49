import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from headbench.cache.blocks import write_array
from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.extract import shard_contents as shards
from headbench.extract import stage
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images import stream
from headbench.extract.networks import backbone as backbones
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources import tar
from headbench.extract.sources.open import open_source
from headbench.extract.sources.tar import Place, Stream
from headbench.extract.stage import describe_plan, extract_features
from headbench.extract.workers.machines import Machines
from tests.conftest import listen, needs_posix
from tests.extract.sources.tars import write_shards, write_tar

N_IMAGES, N_SHARDS = 90, 3


def held(features: Path) -> dict[bytes, tuple[str, int, tuple[float, ...]]]:
    """Class, split and embedding of each image, by content."""
    with FeatureFile(features) as file:
        table = file.table
        X = np.empty((len(table.paths), 3), dtype=np.float32)
        for split in SPLITS:
            X[file.rows(split)] = file.load(split)[0]
    rows = zip(table.contents(), table.labels, table.splits, X.tolist(), strict=True)
    return {
        content: (table.classes[label], int(split), tuple(embedding))
        for content, label, split, embedding in rows
    }


class Extraction:
    """Runs stage one on shards, and counts what it reads and embeds."""

    def __init__(self, folder: Path, settings: ExtractSettings, embedded: list[int]) -> None:
        self.folder, self.settings, self.embedded = folder, settings, embedded
        self.data = f"{folder}/{{000..{N_SHARDS - 1:03}}}.tar"
        self.out = folder.parent / "runs/shards/features.h5"
        self.read: list[str] = []
        self.said = listen()

    def __call__(self, **changes: object) -> tuple[list[str], int]:
        """Shards that were read, and how many images went through the backbone."""
        self.read = []
        self.embedded.clear()
        self.said.clear()
        settings = replace(self.settings, **changes)
        extract_features(self.data, self.out, settings)
        return self.read, sum(self.embedded)

    def rejected(self) -> list[tuple[str, str]]:
        with FeatureFile(self.out) as features:
            return [(each.path, each.reason) for each in features.table.rejected]


@pytest.fixture
def extract(
    photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch, embedded: list[int]
) -> Extraction:
    folder = write_shards(photos, photos.parent / "shards", N_SHARDS)
    extraction, open_stream = Extraction(folder, settings, embedded), shards.Stream

    def noting(place: Place, n_bytes: int) -> Stream:
        extraction.read.append(Path(place.url).name)
        return open_stream(place, n_bytes)

    monkeypatch.setattr(shards, "Stream", noting)
    monkeypatch.setattr(shards, "TICK_NS", 0)
    return extraction


ALL = ["000.tar", "001.tar", "002.tar"]


def test_shards_hold_what_the_same_images_in_class_folders_do(
    extract: Extraction, photos: Path
) -> None:
    assert extract() == (ALL, N_IMAGES)
    beside = photos.parent / "runs/folders/features.h5"
    extract_features(photos, beside, extract.settings)
    assert len(held(extract.out)) == N_IMAGES
    assert held(extract.out) == held(beside)


def test_paths_name_the_shard_and_the_member_and_each_is_read_by_itself(
    extract: Extraction,
) -> None:
    extract()
    with FeatureFile(extract.out) as features:
        table, source = features.table, open_source(extract.data, extract.out)
    assert table.paths[0] == "000.tar/blue-000.png"
    for path, content in zip(table.paths, table.contents(), strict=True):
        assert hashlib.sha256(source.file(path).read(path, 10**6)).digest() == content


def test_large_images_are_the_same_in_shards(
    extract: Extraction, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (shards, stream, tar):
        monkeypatch.setattr(room, "LARGE_BYTES", 100)
    assert extract() == (ALL, N_IMAGES)
    beside = photos.parent / "runs/folders/features.h5"
    extract_features(photos, beside, extract.settings)
    assert held(extract.out) == held(beside)


def test_an_image_that_was_too_large_is_read_once_it_may_be_larger(extract: Extraction) -> None:
    image = Path(extract.folder.parent / "photos/red/000.png").read_bytes()
    members = [("large.png", image + bytes(2_000_000)), ("large.cls", b"red")]
    write_tar(extract.folder / "000.tar", members)
    assert extract(max_file_mb=1) == (ALL, 60)
    assert dict(extract.rejected())["000.tar/large.png"].startswith("larger than 1 MB")
    assert extract(max_file_mb=1) == ([], 0)
    assert extract(max_file_mb=3) == (["000.tar"], 1)
    assert extract.rejected() == []


def test_nothing_is_read_again_that_has_not_changed(extract: Extraction) -> None:
    extract()
    before = extract.out.stat().st_mtime_ns
    assert extract() == ([], 0)
    assert extract.out.stat().st_mtime_ns == before
    assert extract.said[-1].endswith("up to date, nothing to do")


def test_of_a_changed_shard_only_new_images_are_embedded(extract: Extraction) -> None:
    extract()
    path = extract.folder / "001.tar"
    before = held(extract.out)
    write_tar(path, [("new.png", Path(extract.folder.parent / "photos/red/001.png").read_bytes())])
    # A member without a class: rejected, and the rest of the shard is gone.
    assert extract() == (["001.tar"], 0)
    assert len(held(extract.out)) == N_IMAGES - 30
    assert held(extract.out).items() < before.items()
    assert extract.rejected()[0][0] == "001.tar/new.png"


def test_a_renamed_shard_is_read_and_not_embedded(extract: Extraction) -> None:
    extract()
    before = held(extract.out)
    (extract.folder / "002.tar").rename(extract.folder / "last.tar")
    extract.data = f"{extract.folder}/{{000,001,last}}.tar"
    assert extract() == (["last.tar"], 0)
    assert held(extract.out) == before
    indexes = sorted(path.name for path in extract.out.parent.glob("features.h5.shards/*"))
    assert indexes == ["000.tar.h5", "001.tar.h5", "last.tar.h5"]


def test_another_network_reads_each_shard_once_more(extract: Extraction) -> None:
    extract()
    assert extract(size_px=8, overwrite=True) == (ALL, N_IMAGES)
    assert extract(size_px=8) == ([], 0)


def test_a_shard_that_may_still_be_changing_is_read_again(
    extract: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "TICK_NS", 10**12)
    extract()
    assert extract() == (ALL, 0)


@pytest.mark.parametrize("damage", [b"", b"nothing like HDF5"])
def test_without_its_index_a_shard_is_read_again(extract: Extraction, damage: bytes) -> None:
    extract()
    index = extract.out.parent / "features.h5.shards/001.tar.h5"
    index.write_bytes(damage)
    assert extract() == (["001.tar"], 0)


@pytest.mark.parametrize("name", ["created_by", "stamp", "paths", "content_sha256", "places"])
def test_with_an_index_of_which_one_column_does_not_fit_a_shard_is_read_again(
    extract: Extraction, name: str
) -> None:
    extract()
    with h5py.File(extract.out.parent / "features.h5.shards/001.tar.h5", "a") as file:
        values = file[name][:]
        del file[name], file[f"checksums/{name}"]
        write_array(file, name, np.stack([values, values]))
    assert extract() == (["001.tar"], 0)


@needs_posix
def test_a_pipe_in_place_of_a_shard_is_not_waited_for(extract: Extraction) -> None:
    (extract.folder / "001.tar").unlink()
    os.mkfifo(extract.folder / "001.tar")
    extract()
    assert extract.rejected() == [("001.tar", "not a tar file (empty file)")]
    with pytest.raises(UnusableImageError, match="cannot be read: a pipe, not a file"):
        Place(str(extract.folder / "001.tar")).read(0, 10)


def test_an_image_that_cannot_be_decoded_is_listed_and_not_read_again(
    extract: Extraction,
) -> None:
    path = extract.folder / "001.tar"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"IDAT", b"ITAD", 1))  # of the first image in it
    assert extract() == (ALL, N_IMAGES - 1)
    [(rejected, reason)] = extract.rejected()
    assert rejected == "001.tar/blue-001.png"
    assert reason
    assert extract() == ([], 0)
    extract.out.unlink()
    assert extract()[0] == ALL  # embeddings are gone; the reason is in the index
    assert extract.rejected() == [(rejected, reason)]


def test_a_shard_that_is_cut_off_is_listed_and_used_up_to_there(extract: Extraction) -> None:
    path = extract.folder / "002.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    _, n_embedded = extract()
    assert 60 < n_embedded < 80
    # The image before the cut has lost its class.
    assert [path for path, _ in extract.rejected()] == ["002.tar", "002.tar/green-017.png"]
    assert extract() == ([], 0)
    path.write_bytes(whole)
    assert extract() == (["002.tar"], N_IMAGES - n_embedded)
    assert extract.rejected() == []


def test_of_two_members_of_one_name_the_first_is_kept_and_the_second_is_listed(
    extract: Extraction, photos: Path
) -> None:
    first, *others = sorted((photos / "red").glob("*.png"))
    members = []
    for name, path in [("0", first), *((path.stem, path) for path in others), ("0", others[0])]:
        members += [(f"{name}.png", path.read_bytes()), (f"{name}.cls", b"red")]
    write_tar(extract.folder / "001.tar", members)
    extract()
    before = held(extract.out)
    [(path, reason)] = extract.rejected()
    assert path == "001.tar/0.png"
    assert "the second member" in reason
    assert before[hashlib.sha256(first.read_bytes()).digest()][0] == "red"
    assert extract() == ([], 0)
    assert held(extract.out) == before


def test_splits_are_taken_from_the_names_of_shards(extract: Extraction) -> None:
    for split, name in zip(("train", "val", "test"), ALL, strict=True):
        (extract.folder / name).rename(extract.folder / f"colors-{split}-{name}")
    shards = ("train-000", "val-001", "test-002")
    extract.data = "::".join(f"{extract.folder}/colors-{name}.tar" for name in shards)
    extract()
    with FeatureFile(extract.out) as features:
        for split, name in zip(("train", "val", "test"), shards, strict=True):
            paths = {features.table.paths[row].split("/")[0] for row in features.rows(split)}
            assert paths == {f"colors-{name}.tar"}
        assert features.config.data["layout"] == "shards"


def test_without_classes_there_is_an_error_that_says_what_was_expected(
    extract: Extraction,
) -> None:
    for name in ALL:
        write_tar(extract.folder / name, [("a.jpg", b"x")])
    with pytest.raises(
        DataError, match=r"KEY\.jpg and KEY\.cls; found 3 other files, the first 00"
    ):
        extract()


def test_a_dry_run_says_how_many_shards_and_writes_nothing(extract: Extraction) -> None:
    describe_plan(extract.data, extract.out, extract.settings)
    assert extract.said == [f"{extract.data}: 3 of 3 shards to read"]
    assert extract.read == []
    assert not extract.out.parent.exists()
    extract()
    extract.said.clear()
    describe_plan(extract.data, extract.out, extract.settings)
    assert extract.said[0].endswith("no image changed: 0 to extract")


def test_two_processes_give_the_same_file(extract: Extraction, photos: Path) -> None:
    # The same image first in two shards, so that two parts begin alike.
    first = (photos / "red/000.png").read_bytes()
    for number, name in enumerate(("green", "blue")):
        members = [("0.png", first), ("0.cls", b"red")]
        for path in sorted((photos / name).glob("*.png")):
            members += [(path.name, path.read_bytes()), (f"{path.stem}.cls", name.encode())]
        write_tar(extract.folder / f"{number:03}.tar", members)
    extract()
    alone, two = held(extract.out), extract.out.with_name("two.h5")
    extract_features(extract.data, two, extract.settings, Machines(n_jobs=2))
    assert held(two) == alone
    assert extract.said[-2].endswith(", on 2 processes")
    extract_features(extract.data, two, extract.settings, Machines(n_jobs=2))
    assert extract.said[-1].endswith("up to date, nothing to do")


def test_an_interrupted_run_does_not_read_finished_shards_again(
    extract: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "PART_IMAGES", 8)
    monkeypatch.setattr(stream, "N_AHEAD", 4)
    monkeypatch.setattr(stream, "N_READERS", 2)
    embed = backbones.embed_mean_color

    def failing(batches) -> Iterator:
        for number, embedded in enumerate(embed(batches)):
            if number == 9:
                raise KeyboardInterrupt
            yield embedded

    with monkeypatch.context() as patch:
        patch.setattr(backbones, "embed_mean_color", failing)
        with pytest.raises(KeyboardInterrupt):
            extract()
    indexes = extract.out.with_name("features.h5.shards")
    finished = {path.name[:-3] for path in indexes.glob("*.h5")}
    assert finished == {"000.tar", "001.tar"}
    read, n_embedded = extract()
    assert read == ["002.tar"]
    assert n_embedded == N_IMAGES - 9 * 8
    assert sorted(path.name for path in extract.out.parent.iterdir()) == [
        "features.h5",
        "features.h5.shards",
    ]


def test_shards_behind_a_url_give_the_same_file(extract: Extraction) -> None:
    extract()
    here = held(extract.out)
    memory = fsspec.filesystem("memory")
    for name in ALL:
        memory.pipe(f"/bucket/{name}", (extract.folder / name).read_bytes())
    try:
        extract.data = "memory://bucket/{000..002}.tar"
        extract.out = extract.out.with_name("far.h5")
        assert extract() == (ALL, N_IMAGES)
        assert held(extract.out) == here
        assert extract() == ([], 0)
        source = open_source(extract.data, extract.out)
        assert hashlib.sha256(source.file("000.tar/blue-000.png").read("", 10**6)).digest() in here
        memory.rm("/bucket/001.tar")
        with pytest.raises(DataError, match=r"found 2\. Missing: memory://bucket/001\.tar"):
            extract()
    finally:
        memory.rm("/bucket", recursive=True)
