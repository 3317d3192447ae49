"""Unusable, tiny, grey and rotated images, and classes of them, counted by hand."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headbench.classify.doctor.data.image_files import stand_out
from headbench.classify.doctor.examine import examine, sort_targets
from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.extract.settings import CROP, SQUASH, ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.doctor.data.pictures import findings_of, picture, scan_folder, write_pictures


def sound(root: Path) -> None:
    write_pictures(root / "a", range(20))
    write_pictures(root / "b", range(100, 140))


def test_each_reason_is_given_with_its_files(tmp_path: Path) -> None:
    sound(tmp_path)
    (tmp_path / "a/x.png").write_bytes(b"")
    (tmp_path / "a/y.png").write_bytes(b"")
    (tmp_path / "b/z.png").write_text("<html>")
    corrupt = findings_of(tmp_path)["corrupt-files"]
    assert corrupt.severity is Severity.WARNING
    assert corrupt.evidence == (
        "3 of 63 files: 4.8 %.",
        "2 files, empty file: a/x.png, a/y.png.",
        "1 file, an HTML page, not an image: b/z.png.",
    )
    assert [photo.path.name for photo in corrupt.photos] == ["x.png", "y.png", "z.png"]


def test_half_of_a_class_lost_is_severe(tmp_path: Path) -> None:
    sound(tmp_path)
    for number in range(10):
        (tmp_path / f"a/{number:04}.png").write_bytes(b"")
    corrupt = findings_of(tmp_path)["corrupt-files"]
    assert corrupt.severity is Severity.SEVERE
    assert corrupt.evidence[-1] == "Classes that lose at least half of their images: a."


def test_a_folder_of_nothing_but_damage_is_examined_to_the_end(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    assert set(findings_of(tmp_path)) == {"corrupt-files", "few-images"}


def test_other_files_are_a_note(tmp_path: Path) -> None:
    sound(tmp_path)
    (tmp_path / "labels.csv").write_text("x")
    left_out = findings_of(tmp_path)["files-left-out"]
    assert left_out.severity is Severity.NOTE
    assert left_out.evidence == ("1 file, not inside a class folder: labels.csv.",)


ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "a", range(20))
    write_pictures(tmp_path / "b", range(100, 120))
    return tmp_path


def test_small_is_less_than_half_of_the_scripts_size(root: Path) -> None:
    # 48 px are half of 96.
    assert "tiny-images" not in findings_of(root, ScriptSettings(size=96))
    tiny = findings_of(root, ScriptSettings(size=98))["tiny-images"]
    assert tiny.severity is Severity.WARNING
    assert tiny.evidence[0].startswith("The shorter side of 40 of 40 images (100.0 %) is below 49")


def test_one_tiny_image_is_a_note(root: Path) -> None:
    picture(1, 60, 10).save(root / "a/0001.png")
    tiny = findings_of(root)["tiny-images"]
    assert tiny.severity is Severity.NOTE
    assert [photo.caption for photo in tiny.photos] == ["60 x 10 px"]


def test_a_grey_class_among_coloured_ones_is_a_warning(root: Path) -> None:
    for seed in range(20):
        picture(seed).convert("L").save(root / f"a/{seed:04}.png")
    grey = findings_of(root)["grey-images"]
    assert grey.severity is Severity.WARNING
    assert grey.evidence[1].startswith("a: 20 of 20; all other classes: 0 of 20.")


def test_a_class_of_three_grey_images_proves_nothing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "b", range(100, 120))
    (tmp_path / "a").mkdir()
    for seed in range(3):
        picture(seed).convert("L").save(tmp_path / f"a/{seed}.png")
    found = scan_folder(tmp_path)
    # 3 of 3 may be a share of 44 % by Wilson's interval.
    assert stand_out(found, found.is_grey) == []
    assert findings_of(tmp_path)["grey-images"].severity is Severity.NOTE


def test_all_classes_grey_give_nothing_away(root: Path) -> None:
    for path in root.glob("*/*.png"):
        Image.open(path).convert("L").save(path)
    assert findings_of(root)["grey-images"].severity is Severity.NOTE


@pytest.mark.parametrize(("n", "severity"), [(1, Severity.NOTE), (2, Severity.WARNING)])
def test_turned_images_are_a_warning_from_5_percent_on(
    root: Path, n: int, severity: Severity
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for seed in range(n):
        picture(seed).save(root / f"a/{seed:04}.png", exif=exif)
    turned = findings_of(root)["exif-rotated"]
    assert turned.severity is severity
    assert turned.evidence[0] == f"{n} of 40 images ({100 * n / 40:.1f} %)."
    assert turned.photos[0].caption == "orientation 6: rotated to the left as stored"


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
    assert uneven.evidence[1] == "Always predicting 'a' gives 75.0 % accuracy: compare with that."


def test_imbalance_is_that_of_train_where_the_folder_names_it(tmp_path: Path) -> None:
    for split, n_a, n_b in (("train", 20, 20), ("test", 40, 4)):
        write_pictures(tmp_path / split / "a", range(1000 * n_a, 1000 * n_a + n_a))
        write_pictures(tmp_path / split / "b", range(1000 * n_b + 500, 1000 * n_b + 500 + n_b))
    assert "imbalance" not in findings_of(tmp_path)


def test_one_image_under_two_labels_is_named(root: Path) -> None:
    shutil.copyfile(root / "a/0003.png", root / "b/other.png")
    twofold = findings_of(root)["one-image-two-labels"]
    # 2 of 41 files: 1.3 to 16.1 %.
    assert twofold.severity is Severity.SEVERE
    assert twofold.evidence[0].startswith("2 of 41 files")
    assert [photo.path.relative_to(root).as_posix() for photo in twofold.photos] == [
        "a/0003.png", "b/other.png",
    ]  # fmt: skip


def test_copies_within_a_class_are_no_contradiction(root: Path) -> None:
    shutil.copyfile(root / "a/0003.png", root / "a/other.png")
    assert set(findings_of(root)) == {"copies"}


def wide(root: Path, name: str, n: int, width: int) -> None:
    for seed in range(n):
        picture(seed, width, 32).save(root / f"{name}/{seed:04}.png")


def test_a_class_of_long_images_loses_most_to_the_crop(root: Path) -> None:
    wide(root, "a", 20, 128)
    cut = findings_of(root)["crop-cuts-off"]
    assert cut.severity is Severity.NOTE
    assert cut.what.endswith("most images of 1 of 2 classes.")
    # 32 of 37 px of the shorter side, and a quarter of that of the longer one.
    assert cut.grid is not None
    assert cut.grid.rows == (("a", "81.3 %", "20"),)
    assert "longest image: 81.3 %; square images: 25.2 %. n = 40" in cut.evidence[0]
    assert cut.photos[0].caption == "128 x 32 px: 81.3 % cut off"


def test_images_of_three_to_two_lose_less_than_half(root: Path) -> None:
    wide(root, "a", 20, 48)
    assert "crop-cuts-off" not in findings_of(root, ScriptSettings(size=224))


def test_three_long_images_of_a_class_prove_nothing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(3))
    write_pictures(tmp_path / "b", range(100, 120))
    wide(tmp_path, "a", 3, 128)
    assert "crop-cuts-off" not in findings_of(tmp_path)


def test_a_run_that_does_not_crop_is_not_told_about_the_crop(
    tmp_path: Path, settings: ExtractSettings
) -> None:
    for name in "ab":
        write_pictures(tmp_path / "photos" / name, range(20))
    wide(tmp_path / "photos", "a", 20, 128)
    for rule, is_told in ((CROP, True), (SQUASH, False)):
        out = tmp_path / rule / "features.h5"
        extract_features(tmp_path / "photos", out, replace(settings, resize=rule))
        found = examine(sort_targets([out.parent]), ScriptSettings()).findings
        assert ("crop-cuts-off" in {each.code for each in found}) is is_told
