"""The facts about each file are those of the file."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from headbench.classify.doctor.data.scan import look_at
from headbench.extract.images.decode import decode
from tests.classify.doctor.data.pictures import picture, scan_folder, write_pictures
from tests.conftest import needs_posix

ORIENTATION = 0x0112


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(1, 80, 40).save(path)
    facts = look_at(path)
    assert facts.content == hashlib.sha256(path.read_bytes()).digest()
    assert (facts.reason, facts.width, facts.height, facts.orientation) == ("", 80, 40, 1)
    assert not facts.is_grey
    grey = decode(path.read_bytes(), 28).mean(axis=2)
    # Its first pixel is the mean of the four first of the picture at 28 px.
    assert facts.thumbnail[0] == round(grey[:2, :2].mean())


def test_grey_is_told_by_the_pixels_and_not_by_the_mode(tmp_path: Path) -> None:
    grey = picture(1).convert("L")
    grey.save(tmp_path / "l.png")
    grey.convert("RGB").save(tmp_path / "rgb.jpg", quality=75)
    pixels = np.asarray(grey.convert("RGB")).copy()
    pixels[..., 0] = pixels[..., 0] // 2 + 100
    Image.fromarray(pixels).save(tmp_path / "tinted.png")
    assert [look_at(tmp_path / name).is_grey for name in ("l.png", "rgb.jpg", "tinted.png")] == [
        True, True, False,
    ]  # fmt: skip


def test_sides_are_as_stored_and_pixels_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    # To be turned by 90 degrees against the clock.
    picture(1, 80, 40).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "t.png", exif=exif)
    picture(1, 80, 40).save(tmp_path / "u.png")
    turned, upright = look_at(tmp_path / "t.png"), look_at(tmp_path / "u.png")
    assert (turned.orientation, turned.width, turned.height) == (8, 40, 80)
    assert (upright.orientation, upright.width, upright.height) == (1, 80, 40)
    assert turned.picture_hash == upright.picture_hash


def test_an_orientation_that_is_none_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    picture(1).save(tmp_path / "a.jpg", exif=exif)
    assert look_at(tmp_path / "a.jpg").orientation == 1


@needs_posix
def test_what_extraction_refuses_is_refused_for_the_same_reason(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(2))
    write_pictures(tmp_path / "b", range(2, 4))
    whole = (tmp_path / "a/0000.png").read_bytes()
    (tmp_path / "a/0000.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b/0003.png").unlink()
    (tmp_path / "b/0003.png").symlink_to(tmp_path / "nowhere.png")
    found = scan_folder(tmp_path)
    assert found.reasons == (
        "truncated: the file ends before the image does", "", "", "a link to nothing",
    )  # fmt: skip
    assert found.usable.tolist() == [1, 2]
    assert found.contents[0] == hashlib.sha256(whole[: len(whole) // 2]).digest()
    assert found.contents[3] == b""
    assert found.sides.tolist() == [[0, 0], [48, 48], [48, 48], [0, 0]]


def test_equal_bytes_have_one_number(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", range(2))
    write_pictures(tmp_path / "b", range(1, 3))
    found = scan_folder(tmp_path)
    assert found.content_numbers.tolist() == [0, 1, 1, 2]
    assert found.counts(found.usable).tolist() == [2, 2]
