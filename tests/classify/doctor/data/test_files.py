"""Files that cannot be used are named with their reason."""

from pathlib import Path

from classify.doctor.finding import Severity
from tests.classify.doctor.data.folders import findings_of, write_pictures


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
    assert corrupt.evidence[-1] == "Classes that lose half of their images or more: a."


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
