"""Tiny, grey and turned images, counted by hand."""

from pathlib import Path

import pytest
from PIL import Image

from classify.doctor.data.looks import stand_out
from classify.doctor.finding import Severity
from classify.doctor.script import ScriptSettings
from tests.classify.doctor.data.folders import findings_of, picture, scan_folder, write_pictures

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
    assert turned.photos[0].caption == "orientation 6: lies on its left side as stored"
