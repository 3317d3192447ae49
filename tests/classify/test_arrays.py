import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from headbench.classify.arrays import load_arrays, save_arrays
from tests.conftest import needs_posix


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


def header(shape: tuple[int, ...]) -> bytes:
    """What an array of float64 begins with."""
    file = io.BytesIO()
    facts = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (2,), (0,), (1, 10**6, 10**6)])
def test_an_array_that_claims_more_or_less_than_it_holds_is_not_read(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header(shape) + bytes(8))
    with pytest.raises(ValueError, match=r"a\.npy: expected float64 .* found 8 bytes"):
        load_arrays(path)


def test_an_archive_that_grows_when_it_is_read_is_not_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "arrays.npz", a=np.zeros(1 << 20))
    with pytest.raises(ValueError, match="members claim 8388736 bytes, the archive has"):
        load_arrays(tmp_path / "arrays.npz")


@needs_posix
def test_a_pipe_in_place_of_arrays_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "arrays.npz")
    with pytest.raises(OSError, match="a pipe, not a file"):
        load_arrays(tmp_path / "arrays.npz")
