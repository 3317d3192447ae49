import subprocess
from collections.abc import Callable
from pathlib import Path

from classify.doctor.data.examine import examine_data
from classify.doctor.data.scan import scan
from classify.doctor.finding import Finding, Severity
from classify.doctor.script import ScriptSettings
from extract.dataset import find_images
from tests.conftest import write_image


def examine(root: Path) -> dict[str, Finding]:
    found = examine_data(root, ScriptSettings(), lambda _: None).findings
    return {finding.code: finding for finding in found}


def test_facts_of_each_file_are_those_of_the_file(photos: Path) -> None:
    (photos / "red/broken.png").write_bytes(b"text")
    dataset = find_images(photos)
    found = scan(photos, dataset.images, dataset.classes)
    assert len(found.images) == 91
    assert found.is_usable.sum() == 90
    assert (found.sides[found.usable] == (32, 24)).all()
    [broken] = [row for row, reason in enumerate(found.reasons) if reason]
    assert found.images[broken].path == "red/broken.png"
    assert found.class_of(broken) == "red"


def test_counts_and_files_are_named(photos: Path) -> None:
    (photos / "red/broken.png").write_bytes(b"text")
    copied = (photos / "red/000.png").read_bytes()
    (photos / "blue/copied.png").write_bytes(copied)
    found = examine(photos)
    assert "1 of 92 files" in found["corrupt-files"].evidence[0]
    assert "red/broken.png" in found["corrupt-files"].evidence[1]
    assert found["one-image-two-labels"].severity is Severity.WARNING
    assert "2 of 91 files" in found["one-image-two-labels"].evidence[0]
    assert {each.path.name for each in found["one-image-two-labels"].photos} == {
        "000.png",
        "copied.png",
    }


def test_a_class_of_two_images_cannot_be_split(photos: Path) -> None:
    for number in range(2):
        write_image(photos / f"few/{number}.png", 9000 + number)
    found = examine(photos)["few-images"]
    assert found.severity is Severity.SEVERE
    assert found.grid
    assert found.grid.rows == (("few", "2"),)


def test_a_folder_of_one_class_is_no_data_set(tmp_path: Path) -> None:
    write_image(tmp_path / "photos/only/1.png", 1)
    found = examine(tmp_path / "photos")
    assert found.keys() == {"no-data-set"}
    assert found["no-data-set"].severity is Severity.SEVERE


def test_an_empty_class_folder_is_named(photos: Path) -> None:
    (photos / "violet").mkdir()
    assert "violet" in examine(photos)["empty-class-folders"].evidence[0]


def test_tensorflow_is_not_imported(
    photos: Path, command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    code = (
        "import sys; from classify.__main__ import main; "
        f"main(['doctor', {str(photos)!r}, '--out', {str(tmp_path)!r}]); "
        "assert 'tensorflow' not in sys.modules; assert 'keras' not in sys.modules"
    )
    done = command("timeit", "-n", "1", "-r", "1", code)
    assert done.returncode == 0, done.stderr
