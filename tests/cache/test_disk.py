import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cache.disk import replacing, require_free, temporary_path
from cache.errors import StorageError


def test_bytes_needed_and_bytes_free_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_234_567))
    require_free(tmp_path, 1_234_567)
    with pytest.raises(StorageError) as caught:
        require_free(tmp_path / "not/there/yet", 1_234_568)
    for phrase in ("1,234,568 bytes", "1,234,567", str(tmp_path), "for the new embeddings"):
        assert phrase in str(caught.value)
    with pytest.raises(StorageError, match="of free space for a download, found"):
        require_free(tmp_path, 1_234_568, "a download")


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    target = tmp_path / "a"
    temporary_path(target).write_bytes(b"left over")
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_bytes(b"ne" * (1 // 0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_data_are_flushed_to_disk_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut after the rename leaves a file of that name with nothing in it."""
    target, happened = tmp_path / "a", []
    fsync, replace = os.fsync, os.replace

    def flushing(descriptor: int) -> None:
        found = os.fstat(descriptor)
        happened.append(("flush", found.st_ino, found.st_size))
        fsync(descriptor)

    def renaming(source: Path, there: Path) -> None:
        happened.append(("rename", os.stat(source).st_ino, Path(there)))
        replace(source, there)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "replace", renaming)
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
        assert not happened
    inode, folder = target.stat().st_ino, tmp_path.stat()
    assert happened[:2] == [("flush", inode, len(b"new")), ("rename", inode, target)]
    assert happened[2:] == [("flush", folder.st_ino, folder.st_size)]
