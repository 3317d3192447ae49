import errno
import os
from pathlib import Path

import pytest

from headbench.cache.format import Rejected
from headbench.extract.errors import DataError
from headbench.extract.sources.folder import (
    CLASS_FOLDERS,
    IMAGE_EXTENSIONS,
    image_files,
    image_path,
)
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import LabelledImage
from tests.conftest import needs_posix, write_class_folders, write_image


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_one_folder_per_class(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.jpeg", "a b/x.PNG", "寿司/deep/er/1.JpG", "crème/é.png")
    found = find_images(tmp_path)
    assert found.layout == "class folders"
    assert found.classes == ("a b", "b", "crème", "寿司")
    assert found.images == (
        LabelledImage("a b/x.PNG", "a b", None),
        LabelledImage("b/1.jpeg", "b", None),
        LabelledImage("b/2.JPG", "b", None),
        LabelledImage("crème/é.png", "crème", None),
        LabelledImage("寿司/deep/er/1.JpG", "寿司", None),
    )


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for number in (3, 1, 2, 10):
        touch(tmp_path, f"b/{number}.png", f"a/{number}.png")
    paths = [image.path for image in find_images(tmp_path).images]
    assert paths == sorted(paths)


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders(tmp_path: Path, val: str) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", f"{val}/a/3.jpg", "test/b/4.jpg")
    found = find_images(tmp_path)
    assert found.layout == "split folders"
    assert found.classes == ("a", "b")
    assert {(image.path, image.class_name, image.given_split) for image in found.images} == {
        ("train/a/1.jpg", "a", "train"),
        ("train/b/2.jpg", "b", "train"),
        (f"{val}/a/3.jpg", "a", "val"),
        ("test/b/4.jpg", "b", "test"),
    }


def test_classes_called_train_and_bus_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "bus/1.jpg")
    assert find_images(tmp_path).classes == ("bus", "train")
    touch(tmp_path, "train/cat/1.jpg")
    assert find_images(tmp_path).layout == CLASS_FOLDERS


def test_food101(tmp_path: Path) -> None:
    touch(
        tmp_path, "images/pie/1.jpg", "images/pie/2.jpg", "images/tart/3.jpg", "images/tart/9.jpg"
    )
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/train.txt").write_text("pie/1\ntart/3\ntart/4\n")
    (tmp_path / "meta/test.txt").write_text("pie/2\n")
    found = find_images(tmp_path)
    assert found.layout == "food101"
    assert found.images == (
        LabelledImage("images/pie/1.jpg", "pie", "train"),
        LabelledImage("images/pie/2.jpg", "pie", "test"),
        LabelledImage("images/tart/3.jpg", "tart", "train"),
    )
    assert found.rejected == (
        Rejected("images/tart/4.jpg", "listed in meta/train.txt, no such file"),
        Rejected("images/tart/9.jpg", "not listed in meta/train.txt or meta/test.txt"),
    )


def test_food101_lists_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/pie/1.jpg", "images/tart/2.jpg", "images/loose.jpg")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/train.txt").write_text("\ufeffpie/1\r\ntart/2\r\n", "utf-8")
    (tmp_path / "meta/test.txt").write_text("pie/1\n")
    with pytest.raises(DataError, match=r"test\.txt: pie/1 is listed in meta/train\.txt too"):
        find_images(tmp_path)
    (tmp_path / "meta/test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"test\.txt: expected UTF-8"):
        find_images(tmp_path)
    (tmp_path / "meta/test.txt").write_text("")
    found = find_images(tmp_path)
    assert len(found.images) == 2
    assert found.rejected == (Rejected("images/loose.jpg", "not inside a class folder"),)


def test_nothing_disappears_but_what_file_managers_leave_behind(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "a/notes.txt", "a/2.webp", "loose.jpg", "b/noextension")
    touch(tmp_path, "a/.DS_Store", "b/Thumbs.db", ".git/x.jpg", "desktop.ini")
    found = find_images(tmp_path)
    assert len(found.images) == 3
    no_image_name = f"does not end in {', '.join(IMAGE_EXTENSIONS)}"
    assert {rejected.path: rejected.reason for rejected in found.rejected} == {
        "a/notes.txt": no_image_name,
        "b/noextension": no_image_name,
        "loose.jpg": "not inside a class folder",
    }


def test_a_name_that_is_not_utf8_is_rejected_readably(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    try:
        (tmp_path / os.fsdecode(b"a/\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    [rejected] = find_images(tmp_path).rejected
    assert rejected.path == "a/\\xff.jpg"
    assert "UTF-8" in rejected.reason


@needs_posix
def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "data/b/2.jpg")
    data = tmp_path / "data"
    (data / "a").symlink_to(tmp_path / "elsewhere")
    (data / "b/3.jpg").symlink_to(data / "b/2.jpg")
    (data / "b/loop").symlink_to(data / "b")
    (data / "b/up").symlink_to(data)
    paths = [image.path for image in find_images(data).images]
    assert paths[0] == "a/1.jpg"
    assert {"b/2.jpg", "b/3.jpg"} <= set(paths)
    assert len(paths) < 10


@pytest.mark.parametrize(
    ("names", "phrase"),
    [
        ([], "found no files"),
        (["a/notes.txt"], "found 1 other files, the first a/notes.txt"),
        (["1.jpg", "2.jpg"], "not inside a class folder"),
        (["a/1.jpg", "a/2.jpg"], "only one class, 'a'"),
    ],
)
def test_a_folder_without_classes_says_what_was_found(
    tmp_path: Path, names: list[str], phrase: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=phrase):
        find_images(tmp_path)


@needs_posix
def test_a_pipe_in_place_of_a_list_of_food101_is_not_waited_for(tmp_path: Path) -> None:
    touch(tmp_path, "images/a/1.jpg", "meta/train.txt")
    os.mkfifo(tmp_path / "meta/test.txt")
    with pytest.raises(DataError, match="a pipe, not a file"):
        find_images(tmp_path)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        find_images(tmp_path / "nowhere")
    touch(tmp_path, "file")
    with pytest.raises(DataError, match="found a file"):
        find_images(tmp_path / "file")


def test_images_to_predict_are_found_at_any_depth(tmp_path: Path) -> None:
    write_class_folders(tmp_path, n_per_class=1)
    write_image(tmp_path / "top.png", seed=0)
    touch(tmp_path, "notes.txt")
    names = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert names == ["top.png", "blue/000.png", "green/000.png", "red/000.png"]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "//etc/passwd", "../secret.jpg", "a/../../secret.jpg", "s3://bucket/1.jpg"],
)
def test_a_path_from_a_file_never_leaves_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="leaves the data folder"):
        image_path(tmp_path, path)


def test_an_unlistable_folder_is_an_error_and_not_a_missing_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    scandir = os.scandir

    def locked(path: str):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    # Permissions themselves would not stop an administrator's test run.
    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(DataError, match="b: cannot be listed"):
        find_images(tmp_path)


@needs_posix
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_folder_called_like_an_image_is_listed_and_looked_into(
    tmp_path: Path, prefix: str
) -> None:
    touch(tmp_path, f"{prefix}a/x.jpg/1.jpg", f"{prefix}a.png/2.jpg")
    (tmp_path / f"{prefix}a/circle.gif").symlink_to("..")
    found = find_images(tmp_path)
    assert [image.path for image in found.images] == [
        f"{prefix}a.png/2.jpg",
        f"{prefix}a/x.jpg/1.jpg",
    ]
    reason = "a folder, not a file"
    assert found.rejected == (
        Rejected(f"{prefix}a/circle.gif", reason),
        Rejected(f"{prefix}a/x.jpg", reason),
    )


def test_a_folder_in_place_of_an_image_of_food101_is_listed_once(tmp_path: Path) -> None:
    touch(tmp_path, "images/pie/1.jpg", "images/tart/2.jpg", "images/tart/3.jpg/4.jpg")
    touch(tmp_path, "meta/test.txt")
    (tmp_path / "meta/train.txt").write_text("pie/1\ntart/2\ntart/3\n")
    (tmp_path / "meta/test.txt").write_text("")
    assert find_images(tmp_path).rejected == (
        Rejected("images/tart/3.jpg", "a folder, not a file"),
        Rejected("images/tart/3.jpg/4.jpg", "not listed in meta/train.txt or meta/test.txt"),
    )
