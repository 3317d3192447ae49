from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import writer
from cache.format import Rejected
from cache.reader import FeatureFile
from cache.writer import Location, Parts, write_features
from tests.cache.tables import IDENTITY, content, make_table

FINGERPRINT = IDENTITY.fingerprint


def embeddings_of(numbers: list[int]) -> np.ndarray:
    return np.array([[number, number + 0.5, -number] for number in numbers], dtype=np.float32)


def add_part(parts: Parts, numbers: list[int]) -> None:
    parts.add([content(number) for number in numbers], embeddings_of(numbers))


def test_all_that_is_written_is_read_back_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "runs/food/features.h5"
    table = make_table(7, (Rejected("kaputt/ü.jpg", "empty file"),))
    path.parent.mkdir(parents=True)
    parts = Parts(path, FINGERPRINT)
    add_part(parts, [6, 0, 3])
    add_part(parts, [1, 2, 5, 4])
    write_features(path, table, parts.find(pytest.fail), dim=3)
    with FeatureFile(path) as features:
        assert features.table.equals(table)
        assert features.dim == 3
        for split, numbers in {"train": [0, 1, 6], "val": [2, 3], "test": [4, 5]}.items():
            X, y = features.load(split)
            assert X.dtype == np.float32
            np.testing.assert_array_equal(X, embeddings_of(numbers))
            np.testing.assert_array_equal(y, np.array(numbers) % 3)


def test_the_file_is_what_plain_h5py_readers_expect(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    add_part(parts, list(range(7)))
    write_features(path, make_table(), parts.find(pytest.fail), dim=3)
    with h5py.File(path) as file:
        assert {
            name: (item.dtype.kind, item.shape) for name, item in file.items() if name != "rejected"
        } == {
            "embeddings": ("f", (7, 3)),
            "labels": ("i", (7,)),
            "splits": ("u", (7,)),
            "paths": ("O", (7,)),
            "content_sha256": ("u", (7, 32)),
            "classes": ("O", (3,)),
        }
        assert list(file["splits"].attrs["names"]) == ["train", "val", "test"]
        assert file["rejected/path"].shape == file["rejected/reason"].shape == (0,)
        assert file.attrs["fingerprint"] == FINGERPRINT


def test_the_old_file_may_be_the_source_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    add_part(parts, list(range(7)))
    write_features(path, make_table(7), parts.find(pytest.fail), dim=3)
    parts.remove()
    old = {content(number): Location(path, number) for number in range(7)}
    add_part(parts, [7, 8])
    write_features(path, make_table(9), old | parts.find(pytest.fail), dim=3)
    with FeatureFile(path) as features:
        np.testing.assert_array_equal(features.load("train")[0], embeddings_of([0, 1, 6, 7]))


def test_many_blocks_and_any_order_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BLOCK_ROWS", 4)
    path = tmp_path / "features.h5"
    numbers = np.random.default_rng(0).permutation(50).tolist()
    parts = Parts(path, FINGERPRINT)
    for start in range(0, 50, 7):
        add_part(parts, numbers[start : start + 7])
    write_features(path, make_table(50), parts.find(pytest.fail), dim=3)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"], embeddings_of(list(range(50))))


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    add_part(parts, list(range(7)))
    write_features(path, make_table(), parts.find(pytest.fail), dim=3)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_features(path, make_table(8), parts.find(pytest.fail), dim=3)
    parts.remove()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["features.h5"]


def test_a_damaged_part_is_reported_and_deleted_and_the_others_stay(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    add_part(parts, [0, 1])
    add_part(parts, [2, 3])
    [damaged, _] = sorted(parts.directory.iterdir())
    data = bytearray(damaged.read_bytes())
    position = data.find(embeddings_of([0]).tobytes())
    position = position if position >= 0 else data.find(embeddings_of([2]).tobytes())
    data[position + 1] ^= 1
    damaged.write_bytes(data)
    said: list[str] = []
    assert len(parts.find(said.append)) == 2
    assert len(said) == 1
    assert str(damaged) in said[0]
    assert not damaged.exists()


def test_parts_of_another_fingerprint_are_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    add_part(Parts(path, FINGERPRINT), [0, 1])
    other = replace(IDENTITY, size_px=32).fingerprint
    assert Parts(path, other).find(pytest.fail) == {}
