"""Runs on lists of images, here and behind URLs."""

import hashlib
import os
import pickle
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from headbench.cache.format import SPLITS, Identity, Table, group_number
from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.plan import plan_table
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.folder import Folder
from headbench.extract.sources.manifest import ALLOWED, Manifest
from headbench.extract.stage import extract_features
from tests.conftest import listen, write_class_folders
from tests.extract.sources.manifests import listed, write_csv, write_parquet
from tests.extract.sources.web_server import Files, web_server


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """fsspec's store in memory, empty; lists may name files in it, and anywhere on this machine."""
    monkeypatch.setenv(ALLOWED, "memory,file")
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/", recursive=True)


def rows_of(photos: Path) -> list[tuple[str, str]]:
    """Path below the folder and class of each picture."""
    return [
        (path.relative_to(photos).as_posix(), path.parent.name)
        for path in sorted(photos.rglob("*.png"))
    ]


def extract(data: Path | str, settings: ExtractSettings, out: Path) -> Table:
    return extract_features(data, out, settings)


def test_a_list_gives_what_its_folder_gives(
    photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    lines = [f"{path},{label}" for path, label in rows_of(photos)]
    write_csv(photos / "list.csv", "path,label", *reversed(lines))
    folder = extract(photos, settings, tmp_path / "folder.h5")
    listed = extract(photos / "list.csv", settings, tmp_path / "list.h5")
    assert listed.digest() == folder.digest()
    assert listed.paths == folder.paths
    assert listed.groups is None
    assert listed.weights is None
    assert listed.config.data["layout"] == "manifest"


@pytest.fixture
def mixed(photos: Path, memory: Any) -> Path:
    """A list of pictures beside it, elsewhere on this machine, and behind URLs."""
    lines = []
    for number, (path, label) in enumerate(rows_of(photos)):
        data = (photos / path).read_bytes()
        memory.pipe_file(f"/far/{path}", data)
        listed = (f"photos/{path}", f"memory://far/{path}", f"file://{photos}/{path}")[number % 3]
        lines.append(f"{listed},{label},{label}{number // 2},{1 + number % 2}")
    return write_csv(photos.parent / "list.csv", "path,label,group,weight", *lines)


def test_files_here_and_behind_urls_stand_in_one_list(
    mixed: Path, photos: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    said = listen()
    out = tmp_path / "features.h5"
    table = extract(mixed, settings, out)
    # file:// URLs of files beside the list are called what they are called there.
    assert sum(path.startswith("photos/") for path in table.paths) == 60
    assert sum(path.startswith("memory://far/") for path in table.paths) == 30
    below = [path.removeprefix("memory://far/").removeprefix("photos/") for path in table.paths]
    contents = [hashlib.sha256((photos / path).read_bytes()).digest() for path in below]
    assert table.contents() == contents
    numbers = {path: number for number, (path, _) in enumerate(rows_of(photos))}
    assert table.weights is not None
    assert table.groups is not None
    assert table.weights.tolist() == [1 + numbers[path] % 2 for path in below]
    assert table.groups.tolist() == [
        group_number(f"{path.partition('/')[0]}{numbers[path] // 2}") for path in below
    ]
    assert "by group" in table.config.data["split"]
    extract(mixed, settings, out)
    assert said[-1].endswith("up to date, nothing to do")


def test_a_change_of_weight_or_group_alone_is_written_and_nothing_extracted(
    mixed: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    before = extract(mixed, settings, out)
    assert before.weights is not None
    lines = mixed.read_text("utf-8").splitlines()
    path, *others, weight = lines[-1].split(",")
    write_csv(mixed, *lines[:-1], ",".join([path, *others, str(int(weight) + 5)]))
    said = listen()
    after = extract(mixed, settings, out)
    assert any(": 0 extracted" in line for line in said)
    assert after.digest() != before.digest()
    assert after.weights is not None
    assert after.weights.sum() == before.weights.sum() + 5
    with FeatureFile(out) as features:
        assert features.table.equals(after)


def test_a_list_behind_a_url_lists_what_lies_beside_it(
    photos: Path, memory: Any, settings: ExtractSettings, tmp_path: Path
) -> None:
    rows = rows_of(photos)
    for path, _ in rows:
        memory.pipe_file(f"/far/{path}", (photos / path).read_bytes())
    names, labels = zip(*rows, strict=True)
    write_parquet(tmp_path / "list.parquet", path=names, label=labels)
    memory.pipe_file("/far/list.parquet", (tmp_path / "list.parquet").read_bytes())
    table = extract("memory://far/list.parquet", settings, tmp_path / "list.h5")
    assert table.digest() == extract(photos, settings, tmp_path / "folder.h5").digest()
    assert table.config.data["folder"] == "memory://far/list.parquet"
    assert Manifest("memory://far/list.parquet").file(names[0]).path == f"memory://far/{names[0]}"


def test_files_that_are_not_there_are_rejected_and_named(
    mixed: Path, settings: ExtractSettings, tmp_path: Path
) -> None:
    lines = mixed.read_text("utf-8").splitlines()
    extra = ["photos/none.png,red,,1", "memory://far/none.png,red,,1", "/nowhere.png,red,,1"]
    table = extract(write_csv(mixed, *lines, *extra), settings, tmp_path / "features.h5")
    assert {each.path: each.reason for each in table.rejected} == {
        "photos/none.png": "cannot be read: No such file or directory",
        "file:///nowhere.png": "cannot be read: No such file or directory",
        "memory://far/none.png": "no such file",
    }


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\xff\xd8\xff")])
def test_a_named_split_of_which_nothing_can_be_used_is_not_drawn_anew(
    photos: Path, settings: ExtractSettings, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    rows, val = rows_of(photos), "red/000.png"
    lines = [f"{path},{label},{'val' if path == val else 'train'}" for path, label in rows]
    path = write_csv(photos / "list.csv", "path,label,split", *lines)
    damage(photos / val)
    with pytest.raises(
        DataError, match=rf"none of the 1 images for val .*: {val}: .* run this aga"
    ):
        extract(path, settings, tmp_path / "features.h5")
    assert not (tmp_path / "features.h5").exists()


def test_what_a_list_of_files_here_needs_is_read_here_and_its_stamps_are_those_of_a_folder(
    photos: Path,
) -> None:
    write_csv(photos / "list.csv", "path,label", "red/000.png,red", "blue/000.png,blue")
    source, paths = Manifest(str(photos / "list.csv")), ["red/000.png", "none.png"]
    source.find()
    assert source.is_near
    np.testing.assert_array_equal(source.stamps(paths), Folder(photos).stamps(paths))
    assert source.stamps(paths)[1].tolist() == [-1] * 4


def test_stamps_of_urls_change_with_the_file_and_are_unknown_where_it_is_missing(
    photos: Path, memory: Any
) -> None:
    memory.pipe_file("/a.png", b"1")
    lines = ["memory://a.png,red", "red/000.png,blue", "memory://b.png,red"]
    source = Manifest(str(write_csv(photos / "list.csv", "path,label", *lines)))
    source.find()
    assert not source.is_near
    paths = ["memory://a.png", "red/000.png", "memory://b.png"]
    before = source.stamps(paths)
    assert before[2].tolist() == [-1] * 4
    assert before[1, 0] == os.stat(photos / "red/000.png").st_size
    memory.pipe_file("/a.png", b"2")
    after = source.stamps(paths)
    np.testing.assert_array_equal(before[1:], after[1:])
    assert before[0].tolist() != after[0].tolist()


@pytest.mark.parametrize("path", ["/etc/passwd", "//etc/passwd", "../a.png", "http://h/../a.png"])
def test_a_path_of_a_file_of_embeddings_that_no_list_could_hold_is_not_opened(path: str) -> None:
    with pytest.raises(DataError, match="is not opened"):
        Manifest("photos/list.csv").file(path)


def test_a_url_in_a_file_of_embeddings_is_opened_only_where_a_list_was_its_source(
    memory: Any, tmp_path: Path
) -> None:
    memory.pipe_file("/a.png", b"secret")
    file = Manifest(str(tmp_path / "list.csv")).file("memory://a.png")
    elsewhere = pickle.loads(pickle.dumps(file))  # noqa: S301, our own: as workers get it
    assert elsewhere.read(elsewhere.path, 100) == b"secret"
    with pytest.raises(DataError, match="is not opened"):
        Folder(tmp_path).file("memory://a.png")


class Silent(Files):
    """Says nothing of versions."""

    def send_header(self, name: str, value: str) -> None:
        if name != "Last-Modified":
            super().send_header(name, value)


@pytest.fixture
def web_photos(tmp_path: Path) -> Path:
    """A few pictures beside a list of them."""
    root = write_class_folders(tmp_path / "photos", n_per_class=4)
    (root / "red").rename(root / "red one")
    lines = [f"{path},{label}" for path, label in rows_of(root)]
    write_csv(root / "list.csv", "path,label", *lines)
    return root


def test_a_run_with_nothing_to_do_reads_no_file_of_a_web_server(
    web_photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "headbench.extract.hashes.TICK_NS", -(10**12)
    )  # so new, they might change else
    out = web_photos.parent / "far.h5"
    with web_server(web_photos) as url:
        extract(f"{url}/list.csv", settings, out)
        assert len(Files.read) == 1 + 12  # the list, and each picture once
        extract(f"{url}/list.csv", settings, out)
        assert Files.read[13:] == ["/list.csv"]
        os.utime(web_photos / "red one/001.png", (1, 1))
        extract(f"{url}/list.csv", settings, out)
        assert Files.read[14:] == ["/list.csv", "/red%20one/001.png"]


def test_a_web_server_that_knows_nothing_of_versions_is_read_again(
    web_photos: Path, settings: ExtractSettings
) -> None:
    with web_server(web_photos, Silent) as url:
        for _ in range(2):
            extract(f"{url}/list.csv", settings, web_photos.parent / "far.h5")
    assert len(Files.read) == 2 * (1 + 12)


def random_lines(rng: random.Random) -> list[str]:
    """Groups of a few pictures, of several classes; some pictures named for a split, some not."""
    n_groups = rng.randint(2, 60)
    given = [rng.choice(("", "train", "val", "test")) for _ in range(n_groups)]
    lines = []
    for number in range(200):
        group = rng.randrange(n_groups) if rng.random() < 0.9 else None
        split = given[group] if group is not None and rng.random() < 0.2 else ""
        label = rng.choice("abc")
        lines.append(f"{number},{label},{'' if group is None else f'g{group}'},{split}")
    return lines


def test_groups_never_straddle_splits(tmp_path: Path) -> None:
    identity = Identity("mean-color", "none", "none", 16, "crop", "avg", "float32")
    for seed in range(100):
        rng = random.Random(seed)  # noqa: S311, no secret
        lines = random_lines(rng)
        dataset = listed(write_csv(tmp_path / "list.csv", "path,label,group,split", *lines))
        # Some are copies of each other, and some cannot be read: perhaps those that name a split.
        hashes = [
            UnusableImageError("broken")
            if rng.random() < 0.1
            else hashlib.sha256(b"%d" % rng.randrange(150)).digest()
            for _ in dataset.images
        ]
        table = plan_table(dataset, hashes, identity, ExtractSettings(seed=seed))
        split_of = dict(zip(table.paths, table.splits.tolist(), strict=True))
        splits_of: dict[str, set[int]] = {}
        named: dict[str, str] = {}
        for path, _, group, split in (line.split(",") for line in lines):
            if group and path in split_of:
                splits_of.setdefault(group, set()).add(split_of[path])
            if group and split:
                named[group] = split
        assert all(len(splits) == 1 for splits in splits_of.values())
        for group, split in named.items():
            if split != "train":  # which val and test may be carved from
                assert splits_of.get(group, {SPLITS.index(split)}) == {SPLITS.index(split)}


def test_columns_that_are_not_used_are_named_and_the_line_of_a_mistake(
    photos: Path, tmp_path: Path, settings: ExtractSettings
) -> None:
    lines = [f"{path},{label},x" for path, label in rows_of(photos)]
    path = write_csv(photos / "list.csv", "path,label,note", *lines)
    out, said = tmp_path / "features.h5", listen()
    assert len(extract_features(path, out, settings).paths) == 90
    assert f"note: {path}: columns not used: note" in said
    write_csv(path, "path,label,note", *lines, "x.png,,x")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}, line 92: label is empty"):
        extract_features(path, out, settings)


def test_content_and_not_the_name_says_what_is_an_image(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", "path,label", "a,red", "b.txt,blue")
    assert [image.path for image in listed(path).images] == ["a", "b.txt"]


@pytest.mark.parametrize("split", ["", "val"])
def test_paths_without_their_ending_are_told_so(
    photos: Path, settings: ExtractSettings, split: str
) -> None:
    """A column of ids, such as those of the dog breeds of Kaggle."""
    rows = [(path.removesuffix(".png"), label) for path, label in rows_of(photos)]
    named = [(f"{path}.png", label, "train") for path, label in rows[::2]] if split else []
    lacking = [(path, label, split) for path, label in (rows[1::2] if split else rows)]
    lines = [",".join(row) for row in [*named, *lacking]]
    ids = write_csv(photos / "ids.csv", "path,label,split", *lines)
    with pytest.raises(DataError, match="None of these names ends like an image file"):
        extract_features(ids, photos.parent / "features.h5", settings)


def test_paths_with_an_ending_are_only_missing(photos: Path, settings: ExtractSettings) -> None:
    lines = [f"x{path},{label}" for path, label in rows_of(photos)]
    wrong = write_csv(photos / "wrong.csv", "path,label", *lines)
    with pytest.raises(DataError, match="cannot be used") as caught:
        extract_features(wrong, photos.parent / "features.h5", settings)
    assert "ending of an image file" not in str(caught.value)
