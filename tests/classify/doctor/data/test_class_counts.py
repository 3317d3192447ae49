"""Small, uneven and contradictory classes, with the numbers counted by hand."""

import shutil
from pathlib import Path

from headbench.classify.doctor.finding import Severity
from tests.classify.doctor.data.pictures import findings_of, write_pictures


def test_copies_do_not_make_a_class_large_enough(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(25))
    write_pictures(tmp_path / "b", range(100, 102))
    for number in range(23):
        shutil.copyfile(tmp_path / "b/0100.png", tmp_path / f"b/copy{number}.png")
    few = findings_of(tmp_path)["few-images"]
    assert few.severity is Severity.SEVERE
    assert few.what == "Classes with fewer than 3 different images: 1 of 2."
    assert few.grid is not None
    assert few.grid.rows == (("b", "2"),)


def test_three_different_images_are_few_and_20_are_not(tmp_path: Path) -> None:
    for name, n in (("a", 3), ("b", 19), ("c", 20)):
        write_pictures(tmp_path / name, range(100 * ord(name), 100 * ord(name) + n))
    few = findings_of(tmp_path)["few-images"]
    assert few.severity is Severity.WARNING
    assert few.grid is not None
    assert few.grid.rows == (("a", "3"), ("b", "19"))


def test_imbalance_says_what_naming_the_largest_class_gives(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(60))
    write_pictures(tmp_path / "b", range(100, 120))
    uneven = findings_of(tmp_path)["imbalance"]
    assert uneven.severity is Severity.NOTE
    assert uneven.evidence[0] == "60 and 20 of 80 images."
    assert uneven.evidence[1] == "Always answering 'a' gives 75.0 % accuracy: compare with that."


def test_imbalance_is_that_of_train_where_the_folder_names_it(tmp_path: Path) -> None:
    for split, n_a, n_b in (("train", 20, 20), ("test", 40, 4)):
        write_pictures(tmp_path / split / "a", range(1000 * n_a, 1000 * n_a + n_a))
        write_pictures(tmp_path / split / "b", range(1000 * n_b + 500, 1000 * n_b + 500 + n_b))
    assert "imbalance" not in findings_of(tmp_path)


def test_one_image_under_two_labels_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    shutil.copyfile(tmp_path / "a/0003.png", tmp_path / "b/other.png")
    twofold = findings_of(tmp_path)["one-image-two-labels"]
    # 2 of 41 files: 1.3 to 16.1 %.
    assert twofold.severity is Severity.SEVERE
    assert twofold.evidence[0].startswith("2 of 41 files")
    assert [photo.path.relative_to(tmp_path).as_posix() for photo in twofold.photos] == [
        "a/0003.png", "b/other.png",
    ]  # fmt: skip


def test_copies_within_a_class_are_no_contradiction(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    shutil.copyfile(tmp_path / "a/0003.png", tmp_path / "a/other.png")
    assert set(findings_of(tmp_path)) == {"copies"}
