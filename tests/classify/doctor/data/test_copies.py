"""Copies across splits and labels, counted by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from classify.doctor.data import hamming
from classify.doctor.data.copies import outweighs_chance
from classify.doctor.finding import Finding, Severity
from classify.doctor.script import GENERATOR, ScriptSettings
from tests.classify.doctor.data.folders import findings_of, picture, write_pictures


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
        "1 of 41 images of test (2.4 %) are in train or val too, with the same bytes (SHA-256)."
    )
    assert paths(found, root) == ["test/a/copy.png", "train/a/0003.png"]


def test_copies_that_outweigh_chance_are_severe(root: Path) -> None:
    for number in range(20):
        copy(root, f"train/a/{number:04}.png", f"val/a/copy{number}.png")
    found = findings_of(root)["copies-across-splits"]
    assert found.severity is Severity.SEVERE
    assert found.evidence[0].startswith("20 of 60 images of val (33.3 %) are in train too")


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
    assert near.evidence[0].startswith("1 of 42 images of val (2.4 %) are in train too, or nearly")
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
    assert found["not-checked"].evidence[0].startswith("2 of 122 images are all but one grey")


def test_a_search_that_was_given_up_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "MOST_PAIRS", 3)
    for number in range(4):
        picture(3, 40 + number, 40).save(root / f"train/a/again{number}.png")
    assert "the search was given up" in findings_of(root)["not-checked"].evidence[0]
