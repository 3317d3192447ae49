import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import pytest
from PIL import Image

from headbench.cache.disk import one_writer
from headbench.cache.errors import FeatureFileError, StorageError
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file, repair_file
from headbench.cache.writer import Parts
from headbench.extract import stage
from headbench.extract.errors import DataError
from headbench.extract.images import kinds, stream
from headbench.extract.images.decode import decode
from headbench.extract.networks import backbone as backbones
from headbench.extract.networks.backbone import create_backbone
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.cache.tables import flip
from tests.conftest import Bar, listen, needs_posix, write_class_folders, write_image


class Extraction:
    """Runs stage one and counts the images that went through the backbone."""

    def __init__(self, photos: Path, settings: ExtractSettings, embedded: list[int]) -> None:
        self.photos, self.settings, self.embedded = photos, settings, embedded
        self.out = photos.parent / "runs/photos/features.h5"
        self.said = listen()

    def __call__(self, **changes: object) -> int:
        """Images that went through the backbone in this run."""
        self.embedded.clear()
        self.said.clear()
        settings = replace(self.settings, **changes)
        extract_features(self.photos, self.out, settings)
        self.check()
        return sum(self.embedded)

    def check(self) -> None:
        """Row i is image i: every embedding is computed again by hand."""
        with FeatureFile(self.out) as features:
            X = np.concatenate([features.load(split)[0] for split in ("train", "val", "test")])
            rows = np.concatenate([features.rows(split) for split in ("train", "val", "test")])
            for row, embedding in zip(rows, X, strict=True):
                path = self.photos / features.table.paths[row]
                pixels = decode(path.read_bytes(), self.settings.size_px)
                np.testing.assert_allclose(embedding, pixels.mean(axis=(0, 1)), rtol=1e-6)
                assert features.classes[features.table.labels[row]] == path.parent.name


@pytest.fixture
def extract(photos: Path, settings: ExtractSettings, embedded: list[int]) -> Extraction:
    return Extraction(photos, settings, embedded)


def test_a_second_run_extracts_nothing_and_leaves_the_file_alone(extract: Extraction) -> None:
    assert extract() == 90
    before = extract.out.stat()
    assert extract() == 0
    assert (extract.out.stat().st_ino, extract.out.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert extract.said[-1] == f"{extract.out}: up to date, nothing to do"
    assert {path.name for path in extract.out.parent.iterdir()} == {
        "features.h5",
        "features.h5.hashes",
    }


def test_touched_renamed_moved_and_relabelled_images_are_not_extracted_again(
    extract: Extraction,
) -> None:
    extract()
    os.utime(extract.photos / "red/000.png", (1, 1))
    (extract.photos / "red/001.png").rename(extract.photos / "red/zzz.png")
    (extract.photos / "blue/002.png").rename(extract.photos / "green/relabelled.png")
    (extract.photos / "green").rename(extract.photos / "grün")
    extract.photos = extract.photos.rename(extract.photos.with_name("moved"))
    assert extract() == 0
    with FeatureFile(extract.out) as features:
        assert features.classes == ("blue", "grün", "red")
        assert "grün/relabelled.png" in features.table.paths


def test_each_file_is_read_once(
    photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.extract.hashes.TICK_NS", -(10**12))
    n_reads: Counter[Path] = Counter()
    open_regular = stream.open_regular

    def counting(path: Path) -> BinaryIO:
        n_reads[path] += 1
        return open_regular(path)

    monkeypatch.setattr(stream, "open_regular", counting)
    out = photos.parent / "features.h5"
    extract_features(photos, out, settings)
    assert n_reads == Counter(photos.glob("*/*.png"))
    extract_features(photos, out, settings)
    assert n_reads.total() == 90
    # With another network each is read once more: its hash is known, its embedding is not.
    extract_features(photos, out, replace(settings, size_px=20, overwrite=True))
    assert set(n_reads.values()) == {2}


def test_copies_cost_one_pass_and_stand_in_one_split(extract: Extraction) -> None:
    shutil.copy(extract.photos / "red/000.png", extract.photos / "red/copy.png")
    assert extract() == 90
    with FeatureFile(extract.out) as features:
        table = features.table
        rows = [table.paths.index(name) for name in ("red/000.png", "red/copy.png")]
        assert table.splits[rows[0]] == table.splits[rows[1]]


def test_an_unusable_image_is_listed_and_its_neighbours_are_unharmed(extract: Extraction) -> None:
    (extract.photos / "red/010.png").write_bytes(b"not an image")
    (extract.photos / "red/011.png").write_bytes(b"")
    whole = (extract.photos / "red/012.png").read_bytes()
    (extract.photos / "red/012.png").write_bytes(whole[: len(whole) // 2])
    (extract.photos / "red/notes.txt").write_bytes(b"hello")
    assert extract() == 87
    with FeatureFile(extract.out) as features:
        reasons = {each.path: each.reason for each in features.rejected}
        assert features.n_images == 87
    assert reasons["red/010.png"] == "text, not an image"
    assert reasons["red/011.png"] == "empty file"
    assert reasons["red/012.png"].startswith("truncated")
    assert reasons["red/notes.txt"].startswith("does not end in")
    assert any("4 files cannot be used" in line for line in extract.said)
    # Nothing to do is nothing to do, bad images or not.
    assert extract() == 0
    assert extract.said[-1].endswith("nothing to do")


def test_a_file_that_is_too_large_is_listed_until_it_may_be_larger(extract: Extraction) -> None:
    with (extract.photos / "red/000.png").open("ab") as file:
        file.truncate(2_000_000)
    with (extract.photos / "red/001.png").open("r+b") as file:
        file.truncate(40_000_000_000)
    assert extract(max_file_mb=1) == 88
    with FeatureFile(extract.out) as features:
        found = [(each.path, each.reason.split(" (")[0]) for each in features.table.rejected]
    assert found == [("red/000.png", "larger than 1 MB"), ("red/001.png", "larger than 1 MB")]
    assert extract() == 1


def test_photos_of_iphones_come_back_once_their_package_is_there(
    extract: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pillow_heif

    picture = Image.fromarray(np.full((40, 60, 3), 90, dtype=np.uint8))
    pillow_heif.from_pillow(picture).save(extract.photos / "red/phone.heic", quality=90)
    with monkeypatch.context() as without:
        without.delitem(Image.OPEN, "HEIF", raising=False)
        without.setitem(sys.modules, "pillow_heif", None)
        without.setattr(kinds, "find_spec", lambda _: None)
        assert extract() == 90
        with FeatureFile(extract.out) as features:
            [refused] = features.rejected
        assert refused.reason == 'HEIC needs another package: pip install "headbench[heic]"'
        assert extract() == 0
    assert extract() == 1
    with FeatureFile(extract.out) as features:
        assert features.rejected == ()


@needs_posix
@pytest.mark.parametrize("n_bad", [45, 46])
def test_more_than_half_of_the_images_bad_stops_the_run_with_the_first_reasons(
    extract: Extraction, n_bad: int
) -> None:
    paths = sorted(extract.photos.glob("*/*.png"), key=lambda path: path.name)
    for number, path in enumerate(paths[:n_bad]):
        # Half are found when they are hashed, half when they are decoded.
        path.unlink()
        if number % 2:
            path.symlink_to("nowhere")
        else:
            path.write_bytes(b"text %d" % number)
    if n_bad == 45:
        assert extract() == 45
        return
    with pytest.raises(DataError, match=r"46 of 90 .* more than half") as stop:
        extract()
    assert "blue/000.png: text, not an image; " in str(stop.value)
    assert not extract.out.exists()
    path.unlink()  # with one bad image less it goes on, and what was finished is not done again
    write_image(path, seed=4000)
    assert 0 < extract() <= 45


def test_another_fingerprint_never_mixes_in(extract: Extraction) -> None:
    extract()
    before = extract.out.read_bytes()
    with pytest.raises(FeatureFileError) as caught:
        extract(size_px=20)
    for phrase in (str(extract.out), "size_px 16 -> 20", "--name", "--overwrite"):
        assert phrase in str(caught.value)
    assert extract.out.read_bytes() == before
    extract.settings = replace(extract.settings, size_px=20)
    assert extract(overwrite=True) == 90
    assert extract(overwrite=True) == 0


def test_a_batch_of_another_size_changes_nothing(extract: Extraction) -> None:
    extract(batch_size=7)
    before = extract.out.read_bytes()
    assert extract(batch_size=64) == 0
    assert extract.out.read_bytes() == before


def test_a_class_with_too_few_usable_images_stops_before_anything_is_written(
    photos: Path, settings: ExtractSettings
) -> None:
    write_image(photos / "rare/1.png", seed=1)
    write_image(photos / "rare/2.png", seed=2)
    out = photos.parent / "features.h5"
    with pytest.raises(DataError, match=r"class 'rare' has too few images to split"):
        extract_features(photos, out, settings)
    # Not even a part: nobody waits for hours to be told.
    assert {path.name for path in out.parent.iterdir()} == {"photos"}


def test_a_share_of_val_that_cannot_be_is_refused_before_anything_is_read(
    extract: Extraction,
) -> None:
    with pytest.raises(DataError, match="--val-share 1"):
        extract(val_share=1.0)
    assert extract.embedded == []


def test_an_infinite_embedding_is_refused_with_its_image(
    photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = backbones.embed_mean_color

    def broken(batches) -> Iterator:
        for embedded in embed(batches):
            embedded.embeddings[0, 1] = np.inf
            yield embedded

    monkeypatch.setattr(backbones, "embed_mean_color", broken)
    with pytest.raises(DataError, match=r"blue/000\.png: its embedding is not finite"):
        extract_features(photos, photos.parent / "features.h5", settings)


def test_a_file_of_another_program_is_not_replaced(photos: Path, settings: ExtractSettings) -> None:
    out = photos.parent / "features.h5"
    out.write_bytes(b"precious")
    with pytest.raises(FeatureFileError, match="not a readable HDF5 file"):
        extract_features(photos, out, settings)
    assert out.read_bytes() == b"precious"


def test_split_folders_keep_their_splits(tmp_path: Path, settings: ExtractSettings) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        write_class_folders(tmp_path / "photos" / split, n_per_class=4, first_seed=100 * seed)
    table = extract_features(tmp_path / "photos", tmp_path / "features.h5", settings)
    for path, split in zip(table.paths, table.splits, strict=True):
        assert path.split("/")[0] == ("train", "val", "test")[split]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(extract: Extraction) -> None:
    extract()
    before = {path: path.read_bytes() for path in extract.out.parent.iterdir()}
    for number in range(3):
        write_image(extract.photos / f"red/new{number}.png", seed=8000 + number)
    write_image(extract.photos / "red/005.png", seed=9000)
    (extract.photos / "blue/000.png").unlink()
    (extract.photos / "blue/001.png").rename(extract.photos / "green/relabelled.png")
    said = listen()
    stage.describe_plan(extract.photos, extract.out, extract.settings)
    assert said == [
        f"{extract.photos}: 3 new, 1 changed, 1 removed, 1 moved or relabelled: 4 to extract"
    ]
    assert {path: path.read_bytes() for path in extract.out.parent.iterdir()} == before
    assert extract() == 4


def test_a_first_dry_run_makes_no_folder(photos: Path, settings: ExtractSettings) -> None:
    said = listen()
    stage.describe_plan(photos, photos.parent / "runs/x/features.h5", settings)
    assert said[0].endswith(": 90 new: 90 to extract")
    assert not (photos.parent / "runs").exists()


def test_float16_keeps_half_and_never_silently_replaces_float32(extract: Extraction) -> None:
    extract()
    extract.check = lambda: None  # type: ignore[method-assign]
    assert extract(store="float16") == 0
    assert "3 columns in float16" in extract.said[-1]
    before = extract.out.read_bytes()
    with pytest.raises(FeatureFileError, match="store 'float16' -> 'float32'"):
        extract()
    assert extract.out.read_bytes() == before
    assert extract(overwrite=True) == 90


def test_a_disk_too_small_is_said_before_anything_is_extracted(
    extract: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 7))
    with pytest.raises(StorageError, match=r"expected [\d,]+ bytes of free space .* found 7"):
        extract()
    assert extract.embedded == []


def test_a_file_that_left_its_embeddings_in_parts_is_made_anew_from_them(
    extract: Extraction,
) -> None:
    extract()
    parts = Parts(extract.out, create_backbone("mean-color", "none", 16).identity.fingerprint)
    with FeatureFile(extract.out) as features:
        contents, rows = features.table.contents(), np.arange(features.n_images)
        parts.add(contents[:60], features.read(rows[:60]))
        parts.add(contents[60:85], features.read(rows[60:85]))
    with h5py.File(extract.out, "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(FeatureFileError, match=r"found version 2.*--overwrite"):
        extract()
    assert parts.directory.exists()
    assert extract(overwrite=True) == 5
    assert not parts.directory.exists()


def test_a_second_writer_is_told_and_a_reader_is_not_kept_waiting(extract: Extraction) -> None:
    extract()
    with one_writer(extract.out):
        with pytest.raises(FeatureFileError, match="is being written by process"):
            extract()
        extract.check()


def test_damage_in_the_old_file_is_repaired_and_costs_just_its_rows(
    extract: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.cache.blocks.MOST_ROWS", 10)
    extract()
    flip(extract.out, "embeddings", row=25)
    write_image(extract.photos / "red/new.png", seed=777)
    with pytest.raises(FeatureFileError, match=r"/embeddings rows 20 to 29 .*headbench verify"):
        extract()
    repair_file(extract.out)
    assert extract() == 10  # the new one was finished by the run that failed


def test_parts_of_other_settings_are_kept_for_the_run_that_they_belong_to(
    extract: Extraction,
) -> None:
    other = replace(extract.settings, size_px=20)
    parts = Parts(extract.out, create_backbone("mean-color", "none", 20).identity.fingerprint)
    content = hashlib.sha256((extract.photos / "red/000.png").read_bytes()).digest()
    parts.add([content], np.zeros((1, 3), dtype=np.float32))
    assert extract() == 90
    assert any(line.startswith("note: ") and str(parts.directory) in line for line in extract.said)
    extract.embedded.clear()
    extract_features(extract.photos, extract.out, replace(other, overwrite=True))
    assert sum(extract.embedded) == 89
    assert not parts.directory.parent.exists()


def test_writing_and_verifying_the_file_are_counted(
    photos: Path, settings: ExtractSettings, bars: list[Bar]
) -> None:
    out = photos.parent / "features.h5"
    n_images = len(extract_features(photos, out, settings).paths)
    assert [(bar.n, bar.total, bar.unit) for bar in bars if bar.desc == "write"] == [
        (n_images, n_images, "images")
    ]
    found = inspect_file(out)
    [shown] = [bar for bar in bars if bar.desc == "verify"]
    assert shown.n == shown.total > 0
    assert shown.is_closed
    assert shown.unit == "blocks"
    assert shown.n <= found.n_blocks
