"""Where each content lies, and what is near it."""

from pathlib import Path

from classify.doctor.data.kinds import sort_by_kind
from classify.doctor.data.splits import partition
from classify.doctor.script import ScriptSettings
from tests.classify.doctor.data.folders import picture, scan_folder, write_pictures


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
