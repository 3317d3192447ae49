"""Folders that say which images are train, val and test, however they are called and nested."""

import pytest

from headbench.cache.format import Rejected
from headbench.extract.errors import LayoutError
from headbench.extract.sources.folder import CLASS_FOLDERS, SPLIT_LAYOUT, label_paths
from headbench.extract.sources.source import LabelledImage, Listing
from headbench.extract.sources.split_folders import split_of


def listing(*names: str) -> Listing:
    """Folders that hold an image each; a name that ends in a slash is of such a folder."""
    paths = [f"{name}1.jpg" if name.endswith("/") else name for name in names]
    return label_paths(paths, "photos", lambda path: path.encode())


def splits(found: Listing) -> dict[str, tuple[str, str | None]]:
    return {
        each.path: (each.class_name, each.given_split)
        for each in found.found
        if isinstance(each, LabelledImage)
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("training_set", "train"),
        ("TrainData", "train"), ("seg_train", "train"), ("ILSVRC2012_img_train", "train"),
        ("train-images", "train"), ("test1", "test"), ("Testing", "test"), ("testset", "test"),
        ("dev", "val"), ("VALID", "val"), ("val2017", "val"), ("validation set", "val"),
        ("tests", None), ("contest", None), ("training_and_test", None), ("strain", None),
    ],
)  # fmt: skip
def test_the_split_that_a_name_says(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Testing", "test"),
        ("training_set", "test_set", "test"),
        ("train", "dev", "val"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("train/train", "test", "test"),
    ],
)
def test_split_folders_are_known_by_any_usual_name_and_one_level_further_down(
    train: str, other: str, split: str
) -> None:
    found = listing(f"{train}/a/", f"{train}/b/x/", f"{other}/a/", "readme.txt")
    assert found.layout == SPLIT_LAYOUT
    assert splits(found) == {
        f"{train}/a/1.jpg": ("a", "train"),
        f"{train}/b/x/1.jpg": ("b", "train"),
        f"{other}/a/1.jpg": ("a", split),
    }
    assert found.notes == []


@pytest.mark.parametrize("test", ["test", "test1", "test/test"])
def test_a_test_split_without_labels_is_listed_and_points_to_predict(test: str) -> None:
    found = listing("train/a/", "train/b/", f"{test}/", f"{test}/2.jpg")
    assert set(splits(found).values()) == {("a", "train"), ("b", "train")}
    assert [each for each in found.found if isinstance(each, Rejected)] == [
        Rejected(f"{test}/{number}.jpg", "not inside a class folder") for number in (1, 2)
    ]
    [note] = found.notes
    assert note.startswith(f"photos/{test}: 2 images are in no class folder")
    assert note.endswith(f"headbench predict --images photos/{test}")


@pytest.mark.parametrize(
    ("names", "evidence"),
    [
        (
            ("train/", "train/2.jpg", "test1/"),
            ("train/ has 2 images and no folders inside.",
             "test1/ has 1 images and no folders inside."),
        ),
        (
            ("train/a/", "train/b/", "val/a/", "val/b/", "notes/"),
            ("train/ has folders inside: a, b.", "val/ has folders inside: a, b.",
             "Beside them: notes."),
        ),
        (
            ("val/a/", "test/a/"),
            ("val/ has folders inside: a.", "test/ has folders inside: a.",
             "Beside them: no train/."),
        ),
        (
            ("train/a/", "train/b/", "train/c/", "holdout/a/", "holdout/b/", "other/"),
            ("holdout/ has folders inside: a, b.", "train/ has folders inside: a, b, c.",
             "Beside them: other."),
        ),
        (
            ("fold1/a/", "fold1/b/", "fold2/a/", "fold2/b/"),
            ("fold1/ has folders inside: a, b.", "fold2/ has folders inside: a, b.",
             "Beside them: no train/."),
        ),
        (
            ("archive/train/", "archive/test/", "other/"),
            ("archive/ has folders inside: test, train.", "Beside them: other."),
        ),
    ],
    ids=["flat", "beside", "no train", "unknown name", "folds", "further down"],
)  # fmt: skip
def test_what_looks_like_splits_and_would_be_classes_is_refused_with_the_way_out(
    names: tuple[str, ...], evidence: tuple[str, ...]
) -> None:
    with pytest.raises(LayoutError, match=r"would be read as classes.*Keep only train/") as caught:
        listing(*names)
    assert caught.value.evidence == evidence
    assert all(each in str(caught.value) for each in evidence)


@pytest.mark.parametrize(
    "names",
    [
        ("train/", "bus/"),
        ("train/steam/", "train/diesel/", "bus/city/", "bus/school/"),
        ("train/steam/", "train/", "bus/steam/"),
        ("COVID/images/", "Normal/images/"),
        ("apple/fresh/", "apple/rotten/", "pear/fresh/"),
        ("test tube/", "valid ticket/", "cup/"),
    ],
)
def test_classes_that_only_sound_like_splits_are_classes(names: tuple[str, ...]) -> None:
    found = listing(*names)
    assert found.layout == CLASS_FOLDERS
    assert {split for _, split in splits(found).values()} == {None}
