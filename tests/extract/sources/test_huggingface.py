"""Data sets that Hugging Face's library saved: made here, tiny."""

import builtins
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from cache.format import Rejected
from cache.reader import FeatureFile
from classify.labelled_files import images_of
from classify.report.thumbnails import Thumbnails
from extract.errors import DataError, UnusableImageError
from extract.settings import ExtractSettings
from extract.sources.huggingface import HuggingFace
from extract.sources.open import find_images
from extract.sources.source import LabelledImage
from extract.stage import extract_features
from tests.conftest import COLORS

NAMES = ["red", "green", "blue"]
LABELS = datasets.ClassLabel(names=NAMES)


@pytest.fixture(autouse=True)
def _no_bars() -> None:
    datasets.disable_progress_bars()


def table(photos: Path, numbers: range, kind: Any = LABELS, **more: Any) -> datasets.Dataset:
    """Pictures of these numbers, of each class."""
    paths = [photos / name / f"{number:03}.png" for number in numbers for name in COLORS]
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    rows = {
        "image": [{"bytes": path.read_bytes(), "path": None} for path in paths],
        "label": [path.parent.name for path in paths],
    }
    return datasets.Dataset.from_dict(rows | more, features=features)


@pytest.fixture
def saved(photos: Path, tmp_path: Path) -> Path:
    """Splits train, validation and test."""
    splits = {"train": range(20), "validation": range(20, 25), "test": range(25, 30)}
    found = datasets.DatasetDict({name: table(photos, each) for name, each in splits.items()})
    found.save_to_disk(tmp_path / "saved", num_shards={"train": 3, "validation": 1, "test": 1})
    return tmp_path / "saved"


def test_splits_and_the_order_of_classes_are_those_of_the_data_set(saved: Path) -> None:
    found = find_images(saved)
    assert found.layout == "Hugging Face data set"
    assert found.classes == ("red", "green", "blue")
    assert found.rejected == ()
    assert len(found.images) == 90
    by_path = {image.path: image for image in found.images}
    assert by_path["train/000000001"] == LabelledImage("train/000000001", "red", "train")
    assert by_path["validation/000000014"].given_split == "val"
    assert by_path["test/000000002"] == LabelledImage("test/000000002", "blue", "test")


def test_it_is_a_run_like_any_other_and_nothing_is_read_twice(
    saved: Path, photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = saved.parent / "features.h5", []
    # Too new to be trusted to stay as they are, else.
    monkeypatch.setattr("extract.hashes.TICK_NS", -(10**12))
    made = extract_features(saved, out, settings, said.append)
    folder = extract_features(photos, saved.parent / "folder.h5", settings, said.append)
    assert set(made.contents()) == set(folder.contents())
    assert made.config.data["split"] == "as the folder names them"
    with FeatureFile(out) as features:
        thumbnails = Thumbnails(features, images_of(features, None))
        assert len(thumbnails.make(range(90), 8)) == 90
    monkeypatch.setattr(HuggingFace, "_read", None)
    assert extract_features(saved, out, settings, said.append).equals(made)


def test_stamps_change_with_the_files_of_their_split_alone(saved: Path, photos: Path) -> None:
    paths = ["train/000000000", "train/000000059", "test/000000000"]
    before = HuggingFace(saved).stamps(paths)
    assert before[0].tolist() == before[1].tolist() != before[2].tolist()
    assert (before[:, 0] > 0).all()
    np.testing.assert_array_equal(HuggingFace(saved).stamps(paths), before)
    table(photos, range(3)).save_to_disk(saved / "test")
    after = HuggingFace(saved).stamps(paths)
    np.testing.assert_array_equal(after[:2], before[:2])
    assert after[2].tolist() != before[2].tolist()


def test_images_are_read_from_many_threads_and_in_other_processes(
    saved: Path, photos: Path
) -> None:
    source = pickle.loads(pickle.dumps(HuggingFace(saved)))  # noqa: S301, our own
    paths = [f"train/{row:09}" for row in range(60)] * 5
    files = [source.file(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda file: file.read(file.path), files))
    names = list(COLORS)
    expected = [(photos / names[row % 3] / f"{row // 3:03}.png").read_bytes() for row in range(60)]
    assert read == expected * 5


@pytest.mark.parametrize("path", ["train/000000060", "train/-1", "other/000000000", "000000000"])
def test_a_row_that_is_not_there_is_unusable(saved: Path, path: str) -> None:
    file = HuggingFace(saved).file(path)
    with pytest.raises(UnusableImageError, match="no such row"):
        file.read(file.path)


def test_one_table_has_no_splits_and_integers_are_in_their_order(
    photos: Path, tmp_path: Path
) -> None:
    labels = [row % 11 for row in range(33)]
    made = table(photos, range(11), datasets.Value("int64"), label=labels)
    made.save_to_disk(tmp_path / "saved")
    found = find_images(tmp_path / "saved")
    assert found.classes == tuple(map(str, range(11)))
    assert found.images[12] == LabelledImage("000000012", "1", None)


def test_rows_without_label_are_rejected_and_images_without_bytes_are_unusable(
    photos: Path, tmp_path: Path
) -> None:
    labels = [0, -1, None, 1, 2, 0]
    images = [None, *({"bytes": b"x", "path": None} for _ in range(5))]
    table(photos, range(2), label=labels, image=images).save_to_disk(tmp_path / "saved")
    found = find_images(tmp_path / "saved")
    assert found.rejected == tuple(Rejected(f"00000000{row}", "has no label") for row in (1, 2))
    file = found.source.file("000000000")
    with pytest.raises(UnusableImageError, match="does not hold its bytes"):
        file.read(file.path)


def test_labels_that_are_floats_are_integers_again_and_nan_is_none(
    photos: Path, tmp_path: Path
) -> None:
    labels = [0.0, float("nan"), None, 1.0, 10.0, 2.0]
    table(photos, range(2), datasets.Value("float64"), label=labels).save_to_disk(tmp_path / "a")
    found = find_images(tmp_path / "a")
    assert found.classes == ("0", "1", "2", "10")
    assert found.rejected == tuple(Rejected(f"00000000{row}", "has no label") for row in (1, 2))


def two_labels(made: datasets.Dataset) -> datasets.Dataset:
    return made.add_column("kind", made["label"][:], feature=LABELS)


def listed_labels(made: datasets.Dataset) -> datasets.Dataset:
    column = [[0]] * len(made)
    return made.remove_columns("label").add_column("label", column, feature=datasets.List(LABELS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_labels, "expected one column of labels, found label, kind"),
        (listed_labels, r"column label holds List\(.*expected one label a row"),
        (lambda made: made.remove_columns("label"), "one column of labels, found none.*are image"),
        (lambda made: made.remove_columns("image"), "one column of images, found none.*are label"),
    ],
)
def test_columns_that_are_not_clear_are_refused(
    photos: Path,
    tmp_path: Path,
    change: Callable[[datasets.Dataset], datasets.Dataset],
    message: str,
) -> None:
    change(table(photos, range(2))).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=message):
        find_images(tmp_path / "saved")


def test_other_splits_and_what_cannot_be_opened_are_refused(photos: Path, tmp_path: Path) -> None:
    made = datasets.DatasetDict(train=table(photos, range(2)), extra=table(photos, range(2)))
    made.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="found 'extra'"):
        find_images(tmp_path / "saved")
    (tmp_path / "saved/dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match="cannot be opened"):
        find_images(tmp_path / "saved")


def test_one_class_is_refused_in_words_of_a_data_set(photos: Path, tmp_path: Path) -> None:
    table(photos, range(1), label=[0] * 3).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"one class only, 'red'.* Expected rows of images,"):
        find_images(tmp_path / "saved")


@pytest.mark.parametrize("empty", [".", "test"])
def test_a_table_without_rows_is_named(photos: Path, tmp_path: Path, empty: str) -> None:
    made = datasets.DatasetDict(train=table(photos, range(2)), test=table(photos, range(0)))
    found = made if empty == "test" else made["test"]
    found.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=f"^{tmp_path / 'saved' / empty}: expected rows in .arrow"):
        find_images(tmp_path / "saved")


def test_without_the_library_the_way_out_is_named(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return there(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DataError, match="make install EXTRAS=hf"):
        find_images(saved)
