"""What a script takes for validation is what Keras takes; a split by file order is named."""

from pathlib import Path

import pytest

from headbench.classify.doctor.data.script_split import (
    TEST,
    TRAIN,
    UNKNOWN,
    VAL,
    carved,
    examine_order,
    partition,
)
from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.script import DATASET, FIT, GENERATOR, ScriptSettings
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import Dataset, LabelledImage
from tests.classify.doctor.data.pictures import write_pictures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """101 files in three classes, whose order by path is not that of Keras."""
    folder = tmp_path / "photos"
    write_pictures(folder / "a", range(40))
    write_pictures(folder / "a b/later", range(100, 110))
    write_pictures(folder / "a b", range(110, 131))
    write_pictures(folder / "c", range(200, 230))
    return folder


def taken(root: Path, script: ScriptSettings) -> set[str]:
    images = find_images(root).images
    return {images[row].path for row, is_val in carved(images, script).items() if is_val}


def test_image_dataset_from_directory_takes_the_same(root: Path) -> None:
    keras = load_keras()
    dataset = keras.utils.image_dataset_from_directory(
        root, validation_split=0.2, subset="validation", shuffle=False, verbose=False
    )
    by_keras = {Path(path).relative_to(root).as_posix() for path in dataset.file_paths}
    script = ScriptSettings(validation_split=0.2, loader=DATASET, shuffle=False)
    assert len(by_keras) == 20
    assert taken(root, script) == by_keras


def test_image_data_generator_takes_the_same(root: Path) -> None:
    load_keras()
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    by_keras = (
        ImageDataGenerator(validation_split=0.2)
        .flow_from_directory(root, subset="validation", shuffle=False)
        .filenames
    )
    script = ScriptSettings(validation_split=0.2, loader=GENERATOR)
    assert len(by_keras) == 8 + 6 + 6
    assert taken(root, script) == set(by_keras)


def test_fit_takes_the_same(root: Path) -> None:
    load_keras()
    import numpy as np
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    images = find_images(root).images
    script = ScriptSettings(validation_split=0.2, loader=FIT)
    rows = np.array(list(carved(images, script)))
    _, (val,) = train_validation_split((rows,), 0.2)
    # Of 101 files fit keeps 80 for training, image_dataset_from_directory 81.
    assert len(val) == 21
    assert taken(root, script) == {images[row].path for row in np.asarray(val).tolist()}


def test_files_that_keras_does_not_take_are_in_no_split() -> None:
    names = ("a/1.png", "a/2.webp", "b/1.png", "b/2.webp")
    images = tuple(LabelledImage(name, name[0], None) for name in names)
    script = ScriptSettings(validation_split=0.5, loader=DATASET, shuffle=False)
    parts = partition(images, script)
    assert parts.splits.tolist() == [TRAIN, UNKNOWN, VAL, UNKNOWN]
    assert parts.rule == (
        "image_dataset_from_directory, which does not shuffle, takes the last 50 % of the files, "
        "class after class"
    )


def test_a_share_that_is_drawn_at_random_is_not_guessed() -> None:
    images = (LabelledImage("a/1.png", "a", None), LabelledImage("b/1.png", "b", None))
    script = ScriptSettings(validation_split=0.5, loader=DATASET)
    assert carved(images, script) == {}
    assert partition(images, script).rule == ""


def test_splits_of_the_folder_stand_and_val_is_carved_from_train_alone() -> None:
    given = ("train", "train", "test", "test")
    images = tuple(LabelledImage(f"{n}.png", "a", split) for n, split in enumerate(given))
    assert partition(images, ScriptSettings()).splits.tolist() == [TRAIN, TRAIN, TEST, TEST]
    carving = ScriptSettings(validation_split=0.5)
    assert partition(images, carving).splits.tolist() == [TRAIN, VAL, TEST, TEST]


def found_in(sizes: dict[str, int], script: ScriptSettings) -> list[Finding]:
    images = tuple(
        LabelledImage(f"{name}/{number:04}.jpg", name, None)
        for name, n in sizes.items()
        for number in range(n)
    )
    return list(examine_order(Dataset(Path(), "class folders", images, ()), script))


def test_classes_that_only_validation_has_bound_its_accuracy() -> None:
    # 10 of 40 files: 5 of c and all 5 of d. Half of validation cannot be right.
    (found,) = found_in({"a": 15, "b": 10, "c": 10, "d": 5}, ScriptSettings(validation_split=0.25))
    assert found.code == "split-by-file-order"
    assert found.severity is Severity.SEVERE
    assert found.evidence[0] == (
        "fit takes the last 25 % of the files, class after class: 30 for training, 10 for "
        "validation."
    )
    assert found.evidence[2].startswith("Only in validation: d, 5 of 10 images.")
    assert "is at most 50.0 %" in found.evidence[2]
    # b would have 2.5 images in validation by its share: that it has none might be chance.
    assert found.evidence[3].startswith("Never in validation: a. ")
    assert found.grid is not None
    assert found.grid.rows == (
        ("a", "15", "0"), ("b", "10", "0"), ("c", "5", "5"), ("d", "0", "5"),
    )  # fmt: skip


def test_the_origins_split_cannot_reach_more_than_one_in_a_hundred() -> None:
    # Food-101's 101 classes of 750 photographs and a share of 0.2: fit trains on the first 60 600,
    # 80 classes and 600 of the next; validation has the rest of that one and 20 that nobody learnt.
    (found,) = found_in({f"{n:03}": 750 for n in range(101)}, ScriptSettings(validation_split=0.2))
    assert "15000 of 15150 images" in found.evidence[2]
    assert "is at most 1.0 %" in found.evidence[2]


@pytest.mark.parametrize(
    "script",
    [ScriptSettings(), ScriptSettings(validation_split=0.2, loader=DATASET)],
    ids=["no share", "shuffled"],
)
def test_no_share_and_a_shuffled_dataset_are_no_finding(script: ScriptSettings) -> None:
    assert found_in({"a": 20, "b": 20}, script) == []


def test_the_first_of_each_class_are_a_note_and_a_class_without_any_a_warning() -> None:
    script = ScriptSettings(validation_split=0.2, loader=GENERATOR)
    (note,) = found_in({"a": 20, "b": 5}, script)
    assert note.severity is Severity.NOTE
    assert "20 for training, 5 for validation" in note.evidence[0]
    (warning,) = found_in({"a": 20, "b": 4}, script)
    assert warning.severity is Severity.WARNING
    assert warning.evidence[-1] == "Classes too small to have an image in validation: b."
