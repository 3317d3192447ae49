"""The split that the doctor works out is the one that Keras makes: Keras itself is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classify.doctor.data.order import examine_order
from classify.doctor.data.splits import carved
from classify.doctor.finding import Severity
from classify.doctor.script import ScriptSettings
from extract.dataset import Dataset, find_images
from extract.keras_runtime import load_keras
from tests.conftest import write_image

SHARE = 0.3


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Classes of 7, 11 and 5 images, some of them in folders of their own."""
    for name, n in (("b", 7), ("a", 11), ("c", 5)):
        for number in range(n):
            folder = f"{name}/inner" if number % 4 == 3 else name
            write_image(tmp_path / f"photos/{folder}/{number}.png", number)
    return find_images(tmp_path / "photos")


def by_directory(root: Path) -> set[str]:
    load = load_keras().utils.image_dataset_from_directory
    found = load(
        str(root), validation_split=SHARE, subset="validation", shuffle=False, verbose=False
    )
    return set(found.file_paths)


def by_generator(root: Path) -> set[str]:
    keras = load_keras()
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(validation_split=SHARE)
    return set(generator.flow_from_directory(str(root), subset="validation").filepaths)


def by_fit(root: Path) -> set[str]:
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    keras = load_keras()
    everything = keras.utils.image_dataset_from_directory(str(root), shuffle=False, verbose=False)
    paths = np.arange(len(everything.file_paths))
    _, held_out = train_validation_split((paths,), SHARE)
    return {everything.file_paths[row] for row in held_out[0]}


@pytest.mark.parametrize(
    ("loader", "keras"),
    [
        ("fit", by_fit),
        ("image_dataset_from_directory", by_directory),
        ("ImageDataGenerator", by_generator),
    ],
)
def test_the_files_are_those_that_keras_takes(
    dataset: Dataset, loader: str, keras: Callable[[Path], set[str]]
) -> None:
    script = ScriptSettings(validation_split=SHARE, loader=loader, shuffle=False)
    ours = {
        str(dataset.root / dataset.images[row].path)
        for row, is_val in carved(dataset.images, script).items()
        if is_val
    }
    assert ours == keras(dataset.root)


def findings(dataset: Dataset, **script: Any) -> list[Any]:
    return list(examine_order(dataset, ScriptSettings(validation_split=0.5, **script)))


def test_classes_that_only_validation_has_are_counted(dataset: Dataset) -> None:
    [finding] = findings(dataset, loader="fit")
    # 23 files in order a, b, c: 11 of a train, and 12 of b and c are validation.
    assert finding.severity is Severity.SEVERE
    assert finding.grid.rows == (("a", "11", "0"), ("b", "0", "7"), ("c", "0", "5"))
    assert "Only in validation: b, c, 12 of 12 images" in finding.evidence[2]
    assert "0.0% at most" in finding.evidence[2]


def test_the_beginning_of_each_class_is_no_more_than_a_note(dataset: Dataset) -> None:
    [finding] = findings(dataset, loader="ImageDataGenerator")
    assert finding.severity is Severity.NOTE


def test_a_split_at_random_is_not_spoken_of(dataset: Dataset) -> None:
    assert findings(dataset, loader="image_dataset_from_directory") == []
    assert list(examine_order(dataset, ScriptSettings())) == []
