"""Files that a program has open for writing, or had when it was killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache.errors import FeatureFileError
from headbench.cache.open_mark import UnmarkedFile, is_marked
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from tests.cache.tables import check, embeddings_of, make_full_table, write_file
from tests.conftest import listen

# What a notebook does; it never comes to an end by itself.
NOTEBOOK = """
import sys, h5py
file = h5py.File(sys.argv[1], "a")
{change}
file.flush()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "features.h5", make_full_table())


@contextmanager
def notebook(path: Path, change: str = "") -> Iterator[None]:
    """Another program that has the file open for writing; killed at the end."""
    code = NOTEBOOK.format(change=change)
    arguments = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield
        process.kill()


def kill_notebook(path: Path, change: str = "") -> None:
    with notebook(path, change):
        pass
    assert is_marked(path)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path)


def require_all_there(path: Path) -> None:
    with FeatureFile(path) as features:
        assert features.table.equals(make_full_table())
        np.testing.assert_array_equal(
            features.dataset("embeddings").read(), embeddings_of(list(range(7)))
        )


def test_a_file_that_a_killed_notebook_had_open_is_read_and_said_to_be_marked(path: Path) -> None:
    kill_notebook(path)
    lines, before = listen(), path.read_bytes()
    require_all_there(path)
    require_all_there(path)
    [line] = lines
    assert f"{path}: this file is marked as open for writing. A program, such as a notebook" in line
    assert path.read_bytes() == before


def test_a_file_that_a_notebook_has_open_is_read(path: Path) -> None:
    with notebook(path):
        require_all_there(path)


def test_what_the_killed_notebook_changed_is_found_by_its_checksum_and_dropped(path: Path) -> None:
    kill_notebook(path, "file['labels'][3] = 0; file['labels'][4] = 2")
    assert [str(each) for each in inspect_file(path).damage] == [
        "/labels rows 0 to 6: damaged: the checksum does not match"
    ]
    with FeatureFile(path) as features, pytest.raises(FeatureFileError, match="/labels rows 0"):
        features.labels("train")


def test_what_the_killed_notebook_added_stays(path: Path) -> None:
    kill_notebook(path, "file['clusters'] = [1, 2, 3]")
    assert check(path, repair=True) == 0
    with h5py.File(path) as file:
        assert file["clusters"][:].tolist() == [1, 2, 3]
    require_all_there(path)


@pytest.mark.parametrize("length", [0, 8, 40, 48, 100, 3000])
def test_a_marked_file_that_is_cut_off_is_refused(path: Path, length: int) -> None:
    kill_notebook(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FeatureFileError, match="not a readable HDF5 file"):
        FeatureFile(path)


def test_without_a_mark_the_file_is_seen_as_it_is(path: Path) -> None:
    """The checksum of the superblock is the one that HDF5 wrote."""
    assert not is_marked(path)
    with UnmarkedFile(path) as file:
        assert file.readall() == path.read_bytes()
        file.seek(0)
        assert bytes(file.read(100)) == path.read_bytes()[:100]
