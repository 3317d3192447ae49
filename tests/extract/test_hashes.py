import hashlib
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache.blocks import write_array
from headbench.extract import hashes
from headbench.extract.errors import UnusableImageError
from headbench.extract.hashes import Hashed, Hashes
from headbench.extract.sources.folder import Folder

NAMES = ["a", "b", "ü"]


def hash_images(root: Path, names: list[str], known: Path, keep: bool) -> list[Hashed]:
    found = Hashes(Folder(root), names, known)
    found.read()
    if keep:
        found.keep()
    return found.complete()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read; files are trusted as soon as they are there."""
    names: list[str] = []
    original = hashes.hash_files

    def noting(paths):
        found = list(paths)
        names.extend(file.path.name for file in found)
        return original(found)

    monkeypatch.setattr(hashes, "hash_files", noting)
    monkeypatch.setattr(hashes, "TICK_NS", -1_000_000_000)
    return names


def test_only_files_that_changed_are_read_again(root: Path, read: list[str]) -> None:
    known = root / "known"
    first = hash_images(root, NAMES, known, keep=True)
    assert first == [hashlib.sha256(name.encode()).digest() for name in NAMES]
    assert read == NAMES
    assert hash_images(root, NAMES, known, keep=True) == first
    assert read == NAMES
    (root / "b").write_text("longer")
    os.utime(root / "a", (1, 1))
    second = hash_images(root, NAMES, known, keep=True)
    assert read == [*NAMES, "a", "b"]
    assert second == [first[0], hashlib.sha256(b"longer").digest(), first[2]]


def test_files_swapped_with_the_same_size_and_time_are_read_again(
    root: Path, read: list[str]
) -> None:
    for name in NAMES:
        os.utime(root / name, (1, 1))
    first = hash_images(root, NAMES, root / "known", keep=True)
    (root / "a").rename(root / "c")
    (root / "b").rename(root / "a")
    (root / "c").rename(root / "b")
    assert hash_images(root, NAMES, root / "known", keep=True)[:2] == [first[1], first[0]]
    assert read == [*NAMES, "a", "b"]


def test_a_file_as_young_as_its_hash_is_not_trusted(
    root: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "TICK_NS", 2_000_000_000)
    for _ in range(2):
        hash_images(root, NAMES, root / "known", keep=True)
    assert read == NAMES * 2


@pytest.mark.parametrize("damage", [b"", b"hello", None])
def test_what_is_known_can_be_lost_or_damaged(
    root: Path, read: list[str], damage: bytes | None
) -> None:
    known = root / "known"
    first = hash_images(root, NAMES, known, keep=True)
    if damage is None:
        known.unlink()
    else:
        known.write_bytes(damage)
    assert hash_images(root, NAMES, known, keep=True) == first
    assert read == NAMES * 2


@pytest.mark.parametrize(("name", "rows"), [("paths", 3), ("stamps", 2), ("content_sha256", 2)])
def test_hashes_of_which_one_column_does_not_fit_are_as_good_as_none(
    root: Path, read: list[str], name: str, rows: int
) -> None:
    known = root / "known"
    hash_images(root, NAMES, known, keep=True)
    with h5py.File(known, "a") as file:
        values = np.zeros(3, np.int64) if name == "paths" else file[name][:rows]
        del file[name], file[f"checksums/{name}"]
        write_array(file, name, values)
    hash_images(root, NAMES, known, keep=True)
    assert read == NAMES * 2


def test_unreadable_files_say_why_and_are_tried_again(root: Path, read: list[str]) -> None:
    for _ in range(2):
        [found] = hash_images(root, ["gone"], root / "known", keep=True)
        assert isinstance(found, UnusableImageError)
    assert read == ["gone", "gone"]


def test_nothing_is_written_unless_asked(root: Path) -> None:
    hash_images(root, NAMES, root / "known", keep=False)
    assert not (root / "known").exists()
