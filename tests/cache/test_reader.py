from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache.errors import FeatureFileError
from cache.reader import FeatureFile, read_rows
from cache.writer import Parts, write_features
from tests.cache.tables import IDENTITY, content, make_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "features.h5"
    parts = Parts(path, IDENTITY.fingerprint)
    X = np.arange(21, dtype=np.float32).reshape(7, 3)
    parts.add([content(number) for number in range(7)], X)
    write_features(path, make_table(), parts.find(pytest.fail), dim=3)
    return path


def refuse(path: Path, *phrases: str) -> None:
    with pytest.raises(FeatureFileError) as caught:
        FeatureFile(path)
    for phrase in (str(path), *phrases):
        assert phrase in str(caught.value)


def test_no_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    refuse(tmp_path / "features.h5", "make features")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    refuse(tmp_path, "found a folder")


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000)])
def test_a_file_that_is_not_hdf5(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    refuse(path, "not a readable HDF5 file")


def test_a_file_of_another_program(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["embeddings"] = np.zeros((2, 3))
    refuse(path, "another program")


def test_another_version(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 2
    refuse(path, "format version 2", "reads version 1", "Upgrade")


def _drop_labels(file: h5py.File) -> None:
    del file["labels"]


def _shorten_labels(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = np.zeros(6, dtype=np.int32)


def _label_too_high(file: h5py.File) -> None:
    file["labels"][3] = 3


def _split_too_high(file: h5py.File) -> None:
    file["splits"][3] = 9


def _other_fingerprint(file: h5py.File) -> None:
    file.attrs["fingerprint"] = "0" * 64


def _no_config(file: h5py.File) -> None:
    file.attrs["config"] = "{}"


@pytest.mark.parametrize(
    ("damage", "phrase"),
    [
        (_drop_labels, "/labels is missing"),
        (_shorten_labels, "differ in length"),
        (_label_too_high, "/labels points outside /classes"),
        (_split_too_high, "/splits"),
        (_other_fingerprint, "fingerprint"),
        (_no_config, "config"),
    ],
)
def test_damage_is_named(path: Path, damage: Callable[[h5py.File], None], phrase: str) -> None:
    with h5py.File(path, "a") as file:
        damage(file)
    refuse(path, "damaged", phrase)


def test_a_nan_is_refused_with_its_row_and_path(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["embeddings"][3, 1] = np.nan
    with FeatureFile(path) as features:
        features.load("train")
        with pytest.raises(FeatureFileError, match=r"row 3 .*3\.jpg"):
            features.load("val")


@pytest.mark.parametrize(
    "rows", [[], [0], [6], [0, 1, 2, 3, 4, 5, 6], [1, 2, 5], [5, 1, 2, 1], [3, 3, 3], [6, 5, 4]]
)
def test_rows_come_in_the_order_asked_for(path: Path, rows: list[int]) -> None:
    with h5py.File(path) as file:
        expected = file["embeddings"][:][rows]
        np.testing.assert_array_equal(
            read_rows(file["embeddings"], np.array(rows, dtype=np.intp)), expected
        )
