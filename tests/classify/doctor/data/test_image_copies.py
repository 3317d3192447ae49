"""Duplicates and near-duplicates across splits and labels, counted by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headbench.classify.doctor.data import alike
from headbench.classify.doctor.data.image_copies import outweighs_chance, sort_by_kind
from headbench.classify.doctor.data.script_split import partition
from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.script import GENERATOR, ScriptSettings
from tests.classify.doctor.data.pictures import findings_of, picture, scan_folder, write_pictures


def test_each_content_knows_its_images_and_those_near_it(tmp_path: Path) -> None:
    write_pictures(tmp_path / "test/a", range(1))
    write_pictures(tmp_path / "train/a", range(2))
    write_pictures(tmp_path / "train/b", range(5, 6))
    (tmp_path / "train/b/broken.png").write_bytes(b"")
    picture(1, 40, 40).save(tmp_path / "test/a/smaller.png")
    # Rows: test/a/0000, test/a/smaller, train/a/0000, train/a/0001, train/b/0005, train/b/broken.
    found = scan_folder(tmp_path)
    kinds = sort_by_kind(found, partition(found.images, ScriptSettings()))
    assert kinds.of_image.tolist() == [0, 1, 0, 2, 3, -1]
    assert kinds.first.tolist() == [0, 1, 3, 4]
    assert kinds.in_split.tolist() == [[2, -1, 0], [-1, -1, 1], [3, -1, -1], [4, -1, -1]]
    assert kinds.near_in_split.tolist() == [
        [-1, -1, -1], [3, -1, -1], [-1, -1, 1], [-1, -1, -1],
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """20 pictures of each of two classes in train, 20 in val, 20 in test."""
    for number, split in enumerate(("train", "val", "test")):
        for label, name in enumerate("ab"):
            first = 1000 * number + 100 * label
            write_pictures(tmp_path / split / name, range(first, first + 20))
    return tmp_path


def copy(root: Path, source: str, target: str) -> None:
    shutil.copyfile(root / source, root / target)


def paths(found: Finding, root: Path) -> list[str]:
    return [photo.path.relative_to(root).as_posix() for photo in found.photos]


def test_splits_without_copies_are_no_finding(root: Path) -> None:
    assert findings_of(root) == {}


def test_a_copy_of_train_in_test_is_named_with_its_original(root: Path) -> None:
    copy(root, "train/a/0003.png", "test/a/copy.png")
    found = findings_of(root)["copies-across-splits"]
    assert found.severity is Severity.WARNING
    assert found.evidence[0] == (
        "1 of 41 images of test (2.4 %) have a duplicate (same SHA-256) in train or val."
    )
    assert paths(found, root) == ["test/a/copy.png", "train/a/0003.png"]


def test_copies_that_outweigh_chance_are_severe(root: Path) -> None:
    for number in range(20):
        copy(root, f"train/a/{number:04}.png", f"val/a/copy{number}.png")
    found = findings_of(root)["copies-across-splits"]
    assert found.severity is Severity.SEVERE
    assert found.evidence[0].startswith("20 of 60 images of val (33.3 %) have a duplicate")


def test_chance_is_the_interval_of_an_accuracy_of_a_half() -> None:
    # 400 images: 45.1 to 54.9 %, half of it is 4.9 %.
    assert not outweighs_chance(19, 400)
    assert outweighs_chance(20, 400)
    assert not outweighs_chance(1, 3)


def test_a_copy_within_a_split_is_a_note(root: Path) -> None:
    copy(root, "val/a/1003.png", "val/a/copy.png")
    found = findings_of(root)
    assert set(found) == {"copies"}
    assert found["copies"].severity is Severity.NOTE
    assert paths(found["copies"], root) == ["val/a/copy.png"]


def test_a_smaller_copy_across_is_near_and_an_exact_one_is_not_counted_twice(root: Path) -> None:
    picture(3, 40, 40).save(root / "val/a/smaller.png")
    copy(root, "train/a/0004.png", "val/a/copy.png")
    found = findings_of(root)
    near, exact = found["near-copies-across-splits"], found["copies-across-splits"]
    assert near.severity is Severity.WARNING
    assert near.evidence[0] == "1 of 42 images of val (2.4 %) have a near-duplicate in train."
    assert paths(near, root) == ["val/a/smaller.png", "train/a/0003.png"]
    assert paths(exact, root) == ["val/a/copy.png", "train/a/0004.png"]


def test_a_mirrored_copy_across_is_near(root: Path) -> None:
    ImageOps.mirror(picture(3)).save(root / "test/a/mirrored.png")
    assert paths(findings_of(root)["near-copies-across-splits"], root) == [
        "test/a/mirrored.png", "train/a/0003.png",
    ]  # fmt: skip


def test_near_copies_under_two_labels_are_named_but_not_mirrored_ones(root: Path) -> None:
    picture(3, 40, 40).save(root / "train/b/smaller.png")
    ImageOps.mirror(picture(5)).save(root / "train/b/mirrored.png")
    found = findings_of(root)
    assert set(found) == {"near-copies-two-labels"}
    assert paths(found["near-copies-two-labels"], root) == [
        "train/a/0003.png", "train/b/smaller.png",
    ]  # fmt: skip


def test_the_scripts_own_split_is_looked_at(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    # ImageDataGenerator takes the first ones, and so the copy and not its original.
    copy(tmp_path, "a/0019.png", "a/0.png")
    script = ScriptSettings(size=32, validation_split=0.2, loader=GENERATOR)
    found = findings_of(tmp_path, script)["copies-across-splits"]
    assert paths(found, tmp_path) == ["a/0.png", "a/0019.png"]
    assert "Splits: ImageDataGenerator takes the first 20 % of each class" in found.evidence[1]


def test_near_copies_where_nobody_splits_are_a_warning_from_5_percent_on(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(39))
    write_pictures(tmp_path / "b", range(100, 140))
    picture(3, 40, 40).save(tmp_path / "a/x.png")
    # 2 of 80 different images, then 4 of 81.
    assert findings_of(tmp_path)["near-copies"].severity is Severity.NOTE
    picture(4, 40, 40).save(tmp_path / "a/y.png")
    picture(5, 40, 40).save(tmp_path / "a/z.png")
    found = findings_of(tmp_path)["near-copies"]
    assert found.severity is Severity.WARNING
    assert found.evidence[0] == "6 of 82 different images (7.3 %), in 3 pairs."


def test_images_of_one_grey_are_said_not_to_be_compared(root: Path) -> None:
    for number in range(2):
        flat = np.full((48, 48, 3), 100 + number, dtype=np.uint8)
        Image.fromarray(flat).save(root / f"train/a/flat{number}.png")
    found = findings_of(root)
    assert set(found) == {"not-checked", "grey-images"}
    assert found["not-checked"].evidence[0].startswith("2 of 122 images are nearly uniform")


def test_a_search_that_was_given_up_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MOST_PAIRS", 3)
    for number in range(4):
        picture(3, 40 + number, 40).save(root / f"train/a/again{number}.png")
    assert "the search stopped early" in findings_of(root)["not-checked"].evidence[0]
