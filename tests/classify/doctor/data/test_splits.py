"""What a script takes for validation is what Keras takes."""

from pathlib import Path

import pytest

from classify.doctor.data.splits import TEST, TRAIN, UNKNOWN, VAL, carved, partition
from classify.doctor.script import DATASET, FIT, GENERATOR, ScriptSettings
from extract.keras_runtime import load_keras
from extract.sources.open import find_images
from extract.sources.source import LabelledImage
from tests.classify.doctor.data.folders import write_pictures


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
