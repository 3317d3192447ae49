"""Folders of photographs with one fault each, and sound ones."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tests.classify.doctor.zoo.photographs import (
    CLASSES,
    alter,
    cut_off,
    files_of,
    fill,
    grey,
    lay_on_their_sides,
    link,
    mirrored,
    photographs,
    save_changed,
    smaller,
    tiny,
)
from tests.classify.doctor.zoo.project import Case, Project

FIRST, SECOND, *_ = CLASSES


def class_folders(folder: Path, shared: Path, n: int = 24, script: Sequence[str] = ()) -> Case:
    fill(folder, shared, n)
    return Case([folder], list(script))


def split_folders(folder: Path, shared: Path) -> Case:
    for split, n, first in (("train", 24, 0), ("val", 12, 30), ("test", 12, 50)):
        fill(folder / split, shared, n, first)
    return Case([folder])


def class_of_two(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    link(photographs(shared, "beignets")[:2], folder / "beignets")
    return Case([folder])


def class_of_one_photograph_ten_times(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    (folder / "beignets").mkdir()
    for number in range(10):
        shutil.copyfile(photographs(shared, "beignets")[0], folder / f"beignets/{number}.jpg")
    return Case([folder])


def one_class_far_larger(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 12)
    link(photographs(shared, "beignets")[:130], folder / "beignets")
    return Case([folder])


def half_a_class_cut_off(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 40)
    cut_off(files_of(folder / FIRST)[:20])
    return Case([folder])


def pages_and_empty_files(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    for number in range(3):
        (folder / FIRST / f"{number}.jpg").write_text("<!DOCTYPE html><html>404</html>")
        (folder / SECOND / f"{number}.jpg").write_bytes(b"")
    return Case([folder])


def photographs_under_two_labels(folder: Path, shared: Path, n: int) -> Case:
    fill(folder, shared, 24)
    link(photographs(shared, FIRST)[:n], folder / SECOND)
    return Case([folder])


def saved_anew_under_another_label(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    save_changed(photographs(shared, FIRST)[:4], folder / SECOND, smaller, "")
    return Case([folder])


def train_holds_test_photographs(folder: Path, shared: Path) -> Case:
    split_folders(folder, shared)
    for class_name in CLASSES:
        link(photographs(shared, class_name)[50:58], folder / "train" / class_name)
    return Case([folder])


def changed_copies_in_val(folder: Path, shared: Path, change: str) -> Case:
    split_folders(folder, shared)
    alteration = {"smaller": smaller, "mirrored": mirrored, "grey": grey}[change]
    for class_name in CLASSES:
        files = photographs(shared, class_name)[:5]
        save_changed(files, folder / "val" / class_name, alteration, f"{change}_")
    return Case([folder])


def augmented_before_the_split(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 20)
    for class_name in CLASSES:
        save_changed(
            photographs(shared, class_name)[:20], folder / class_name, mirrored, "augmented_"
        )
    return Case([folder])


def copies_where_the_script_splits(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    for class_name in CLASSES:
        # The last ones by name, again under names that come first.
        for file in photographs(shared, class_name)[20:24]:
            shutil.copyfile(file, folder / class_name / f"0_{file.name}")
    return Case([folder], ["validation_split=0.2", "loader=ImageDataGenerator"])


def class_too_small_for_a_share(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    link(photographs(shared, "beignets")[:4], folder / "beignets")
    return Case([folder], ["validation_split=0.2", "loader=ImageDataGenerator"])


def class_missing_in_val(folder: Path, shared: Path) -> Case:
    split_folders(folder, shared)
    shutil.rmtree(folder / "val" / FIRST)
    return Case([folder])


def class_renamed_in_test(folder: Path, shared: Path) -> Case:
    split_folders(folder, shared)
    (folder / "test" / FIRST).rename(folder / "test" / FIRST.replace("_", " ").title())
    (folder / "test" / SECOND).rename(folder / "test" / f"a {SECOND}")
    return Case([folder])


def indices(folder: Path, shared: Path, found: object) -> Case:
    fill(folder / "photos", shared, 24)
    (folder / "classes.json").write_text(json.dumps(found))
    return Case([folder / "photos"], [f"class_indices={folder / 'classes.json'}"])


def tiny_photographs(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    for class_name in CLASSES:
        alter(files_of(folder / class_name), tiny)
    return Case([folder], ["size=224"])


def one_class_grey(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    alter(files_of(folder / FIRST), grey)
    return Case([folder])


def turned(folder: Path, shared: Path, n: int) -> Case:
    fill(folder, shared, 24)
    for class_name in CLASSES:
        lay_on_their_sides(files_of(folder / class_name)[:n])
    return Case([folder])


def folder_beside_the_splits(folder: Path, shared: Path) -> Case:
    split_folders(folder, shared)
    link(photographs(shared, FIRST)[100:105], folder / "new")
    return Case([folder])


def one_class(folder: Path, shared: Path) -> Case:
    fill(folder / "dataset", shared, 24)
    return Case([folder])


def empty_class(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    (folder / "beignets").mkdir()
    return Case([folder])


def food101_layout(folder: Path, shared: Path) -> Case:
    fill(folder / "images", shared, 24)
    stems = {f"{path.parent.name}/{path.stem}" for path in folder.glob("images/*/*")}
    (folder / "meta").mkdir()
    for split in ("train", "test"):
        names = (shared / f"data/food10/meta/{split}.txt").read_text().split()
        (folder / f"meta/{split}.txt").write_text("\n".join(filter(stems.__contains__, names)))
    (folder / "meta/classes.txt").write_text("\n".join(CLASSES))
    return Case([folder])


def mildly_uneven(folder: Path, shared: Path) -> Case:
    for class_name, n in zip(CLASSES, (60, 40, 30, 25), strict=True):
        link(photographs(shared, class_name)[:n], folder / class_name)
    return Case([folder])


def all_grey(folder: Path, shared: Path) -> Case:
    for class_name in CLASSES:
        save_changed(photographs(shared, class_name)[:20], folder / class_name, grey, "")
        for file in files_of(folder / class_name):
            file.rename(file.with_suffix(".png"))
    return Case([folder])


def one_copy_and_one_damaged_file(folder: Path, shared: Path) -> Case:
    fill(folder, shared, 24)
    shutil.copyfile(photographs(shared, FIRST)[0], folder / FIRST / "copy.jpg")
    cut_off(files_of(folder / SECOND)[:1])
    return Case([folder])


def one_copy_across(folder: Path, shared: Path) -> Case:
    split_folders(folder, shared)
    link(photographs(shared, FIRST)[:1], folder / "test" / FIRST)
    return Case([folder])


def class_called_train(folder: Path, shared: Path) -> Case:
    for name, class_name in zip(("bus", "test", "train"), CLASSES, strict=False):
        link(photographs(shared, class_name)[:24], folder / name)
    return Case([folder])


def digits(folder: Path, _: Path) -> Case:
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey_px = (pixels * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey_px).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return Case([folder], ["size=32"])


RIGHT = {name: index for index, name in enumerate(CLASSES)}
PERMUTED = {name: index for index, name in enumerate(reversed(CLASSES))}
BY_INDEX = {str(index): name for index, name in enumerate(CLASSES[1:] + CLASSES[:1])}

PROJECTS: tuple[Project, ...] = (
    Project("a class of two photographs", class_of_two, "few-images"),
    Project(
        "a class of ten copies of one photograph", class_of_one_photograph_ten_times, "few-images"
    ),
    Project("classes of ten photographs", partial(class_folders, n=10), "few-images"),
    Project("one class ten times as large", one_class_far_larger, "imbalance"),
    Project("half of a class cut off", half_a_class_cut_off, "corrupt-files"),
    Project("pages of HTML and empty files called .jpg", pages_and_empty_files, "corrupt-files"),
    Project(
        "eight photographs under two labels",
        partial(photographs_under_two_labels, n=8),
        "one-image-two-labels",
    ),
    Project(
        "photographs under another label, saved anew",
        saved_anew_under_another_label,
        "near-copies-two-labels",
    ),
    Project("test photographs in train", train_holds_test_photographs, "copies-across-splits"),
    Project(
        "copies where ImageDataGenerator splits",
        copies_where_the_script_splits,
        "copies-across-splits",
    ),
    *(
        Project(
            f"{change} copies of train in val",
            partial(changed_copies_in_val, change=change),
            "near-copies-across-splits",
        )
        for change in ("smaller", "mirrored", "grey")
    ),
    Project("augmented before the split", augmented_before_the_split, "near-copies"),
    Project(
        "fit takes the last files for validation",
        partial(class_folders, script=["validation_split=0.2"]),
        "split-by-file-order",
    ),
    Project(
        "image_dataset_from_directory does not shuffle",
        partial(
            class_folders,
            script=[
                "validation_split=0.3",
                "loader=image_dataset_from_directory",
                "shuffle=false",
            ],
        ),
        "split-by-file-order",
    ),
    Project(
        "ImageDataGenerator leaves nothing of a class",
        class_too_small_for_a_share,
        "split-by-file-order",
    ),
    Project("a class is missing in val", class_missing_in_val, "classes-differ-between-splits"),
    Project("classes are renamed in test", class_renamed_in_test, "classes-differ-between-splits"),
    Project("class indices permuted", partial(indices, found=PERMUTED), "class-indices-differ"),
    Project("names by index, shifted", partial(indices, found=BY_INDEX), "class-indices-differ"),
    Project("photographs of 40 px", tiny_photographs, "tiny-images"),
    Project("one class is grey", one_class_grey, "grey-images"),
    Project("half of the photographs lie on their side", partial(turned, n=12), "exif-rotated"),
    Project("a folder beside train, val and test", folder_beside_the_splits, "splits-as-classes"),
    Project("class folders one level too deep", one_class, "no-data-set"),
    Project("an empty class folder", empty_class, "empty-class-folders"),
    Project("Food-101's layout", food101_layout),
    Project("train, val and test", split_folders),
    Project("mildly uneven classes", mildly_uneven),
    Project("grey PNG everywhere", all_grey),
    Project("one photograph turned in each class", partial(turned, n=1)),
    Project("one copy and one damaged file", one_copy_and_one_damaged_file),
    Project("one copy of train in test", one_copy_across),
    Project("one photograph under two labels", partial(photographs_under_two_labels, n=1)),
    Project("classes called train and test", class_called_train),
    Project("right class indices", partial(indices, found=RIGHT)),
    Project("handwritten digits", digits),
    Project(
        "ImageDataGenerator with enough of each class",
        partial(class_folders, script=["validation_split=0.2", "loader=ImageDataGenerator"]),
    ),
    Project(
        "image_dataset_from_directory shuffles",
        partial(
            class_folders,
            script=["validation_split=0.2", "loader=image_dataset_from_directory"],
        ),
    ),
)
