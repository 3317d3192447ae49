import pytest

from cache.format import Rejected
from extract.errors import DataError
from extract.sources.layouts import CLASS_FOLDERS, FOOD101, SPLIT_LAYOUT, label_paths
from extract.sources.source import LabelledImage, Listing

LISTS = {"meta/train.txt": b"pie/1\npie/2\n", "meta/test.txt": b"\xef\xbb\xbfpie/3\n"}


def label(*paths: str, lists: dict[str, bytes] = LISTS) -> Listing:
    return label_paths(sorted(paths), "photos", lists.__getitem__)


def reasons(listing: Listing) -> dict[str, str]:
    return {each.path: each.reason for each in listing.found if isinstance(each, Rejected)}


def test_class_folders_name_the_class_at_any_depth() -> None:
    listing = label("cat/1.jpg", "dog/more/2.PNG")
    assert listing.layout == CLASS_FOLDERS
    assert listing.found == [
        LabelledImage("cat/1.jpg", "cat", None),
        LabelledImage("dog/more/2.PNG", "dog", None),
    ]


def test_split_folders_name_the_split() -> None:
    listing = label("Train/cat/1.jpg", "validation/cat/2.jpg", "test/dog/3.jpg")
    assert listing.layout == SPLIT_LAYOUT
    assert listing.found == [
        LabelledImage("Train/cat/1.jpg", "cat", "train"),
        LabelledImage("test/dog/3.jpg", "dog", "test"),
        LabelledImage("validation/cat/2.jpg", "cat", "val"),
    ]


def test_a_class_called_train_is_a_class() -> None:
    assert label("train/1.jpg", "plane/2.jpg").layout == CLASS_FOLDERS
    assert label("train/cat/1.jpg", "plane/2.jpg").layout == CLASS_FOLDERS


def test_food101s_lists_name_the_splits_and_all_that_is_amiss_is_listed() -> None:
    listing = label("images/pie/1.jpg", "images/pie/3.jpg", "images/pie/4.jpg", *LISTS)
    assert listing.layout == FOOD101
    assert listing.found[:2] == [
        LabelledImage("images/pie/1.jpg", "pie", "train"),
        LabelledImage("images/pie/3.jpg", "pie", "test"),
    ]
    assert reasons(listing) == {
        "images/pie/4.jpg": "not listed in meta/train.txt or meta/test.txt",
        "images/pie/2.jpg": "listed in meta/train.txt, no such file",
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"pie/1\n", "pie/1 is listed in meta/train.txt too"), (b"\xff\xff", "expected UTF-8 text")],
)
def test_lists_that_contradict_each_other_or_are_no_text_are_refused(
    content: bytes, expected: str
) -> None:
    with pytest.raises(DataError, match=f"photos/meta/test.txt: {expected}"):
        label("images/pie/1.jpg", *LISTS, lists={**LISTS, "meta/test.txt": content})


def test_whatever_is_no_image_of_a_class_is_listed_with_the_reason() -> None:
    listing = label("1.jpg", "cat/notes.txt", "cat/album.jpg/", "cat/\udcff.jpg", "cat/1.jpg")
    found = reasons(listing)
    assert found.pop("cat/notes.txt").startswith("does not end in .avif, ")
    assert found == {
        "1.jpg": "not inside a class folder",
        "cat/album.jpg": "a folder, not a file",
        "cat/\\xff.jpg": "its name is not valid UTF-8: rename it",
    }
