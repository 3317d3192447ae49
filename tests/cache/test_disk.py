import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from headbench.cache import disk
from headbench.cache.disk import (
    one_writer,
    replace_texts,
    replacing,
    replacing_folder,
    require_free,
    temporary_path,
)
from headbench.cache.errors import FeatureFileError, StorageError
from tests.conftest import ROOT

HOLDER = """
import sys
from pathlib import Path
from headbench.cache.disk import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


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

    def write_half(path: Path) -> None:
        path.write_bytes(b"ne")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        write_half(temporary)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "runs/food/features.h5"


def hold(target: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends."""
    arguments = [sys.executable, "-c", HOLDER, str(target)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_holds_it_until_that_one_is_done(target: Path) -> None:
    with hold(target) as other:
        with pytest.raises(FeatureFileError) as caught, one_writer(target):
            pass
        for phrase in (str(target), f"process {other.pid} on ", "since 20", "--name NAME"):
            assert phrase in str(caught.value)
        other.communicate()
    with one_writer(target):
        pass
    assert list(target.parent.iterdir()) == []


def test_the_lock_dies_with_its_process(target: Path) -> None:
    with hold(target) as other:
        other.kill()
    with one_writer(target):
        holder = target.with_name("features.h5.writer").read_text()
        assert holder.startswith(f"process {os.getpid()} on ")
    assert list(target.parent.iterdir()) == []


def test_never_two_at_once_however_many_ask(target: Path) -> None:
    """Each takes and lets go as fast as it can, so that the file is deleted under the others."""
    inside, most, done = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        for _ in range(200):
            try:
                with one_writer(target):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                        done[0] += 1
                    with guard:
                        inside[0] -= 1
            except FeatureFileError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert done[0] > 50


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(StorageError, match=f"{tmp_path}/runs"), one_writer(tmp_path / "runs/a.h5"):
        pass


Happened = list[tuple[str, int]]


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> Happened:
    """What is flushed to disk and renamed, by inode, in that order."""
    events: Happened = []
    fsync = os.fsync

    def flushing(descriptor: int) -> None:
        events.append(("flush", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def noting(rename: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def renaming(source: Path, there: Path) -> None:
            events.append(("rename", os.stat(source).st_ino))
            rename(source, there)

        return renaming

    monkeypatch.setattr(os, "fsync", flushing)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    return events


def test_data_are_flushed_to_disk_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, happened: Happened
) -> None:
    """Else a power cut after the rename leaves a file of that name with nothing in it."""
    with replacing(tmp_path / "a") as temporary:
        temporary.write_bytes(b"new")
        assert not happened
    inode, folder = (path.stat().st_ino for path in (tmp_path / "a", tmp_path))
    assert happened == [("flush", inode), ("rename", inode), ("flush", folder)]


def test_all_files_of_a_folder_are_flushed_before_it_is_renamed(
    tmp_path: Path, happened: Happened
) -> None:
    target = tmp_path / "head"
    target.mkdir()
    (target / "old").touch()
    with replacing_folder(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "record.json").write_bytes(b"new")
        (temporary / "deep/model").write_bytes(b"new")
        assert not happened
    inside = {path.stat().st_ino for path in target.rglob("*")}
    renamed = happened.index(("rename", target.stat().st_ino))
    flushed = {inode for what, inode in happened[:renamed] if what == "flush"}
    assert flushed >= {*inside, target.stat().st_ino}
    assert ("flush", tmp_path.stat().st_ino) in happened[renamed + 1 :]
    assert sorted(path.name for path in target.iterdir()) == ["deep", "record.json"]


def test_where_windows_flushes_no_folder_and_no_file_that_is_only_read_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags_of: dict[int, int] = {}
    flushed: list[int] = []
    really_open = os.open

    def open_as_windows(path: Path, flags: int) -> int:
        if path.is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = really_open(path, flags)
        flags_of[descriptor] = flags
        return descriptor

    def flush_as_windows(descriptor: int) -> None:
        if not flags_of[descriptor] & os.O_RDWR:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(descriptor)

    monkeypatch.setattr(disk, "FLUSHES_FOLDERS", False)
    monkeypatch.setattr(os, "open", open_as_windows)
    monkeypatch.setattr(os, "fsync", flush_as_windows)
    replace_texts(tmp_path / "report", {"a.json": "1\n"})
    with replacing_folder(tmp_path / "head") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep/model").write_bytes(b"2")
    assert len(flushed) == 2
    assert (tmp_path / "report/a.json").read_bytes() == b"1\n"
    assert (tmp_path / "head/deep/model").read_bytes() == b"2"
