from pathlib import Path

import numpy as np
import pytest

from headbench.classify.arrays import load_arrays, save_arrays


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "names": np.array(["x", "寿司"])}
    save_arrays(tmp_path / "arrays.npz", arrays)
    found = load_arrays(tmp_path / "arrays.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_pickle_is_neither_written_nor_read(tmp_path: Path) -> None:
    objects = {"a": np.array([{"b": 1}], dtype=object)}
    with pytest.raises(ValueError, match="allow_pickle=False"):
        save_arrays(tmp_path / "arrays.npz", objects)
    np.savez(tmp_path / "arrays.npz", **objects)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_arrays(tmp_path / "arrays.npz")
