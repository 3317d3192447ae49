import errno
import hashlib
import os
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.cache.errors import UnreadableError
from headbench.cache.open_files import most_open
from headbench.classify.finetuning.frozen_part import ActivationStore
from tests.conftest import listen

FINGERPRINT = "a" * 64
CONTENTS = [hashlib.sha256(str(number).encode()).digest() for number in range(60)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Those of a store of 60 parts, row `number` of which holds that number."""
    store = ActivationStore(tmp_path, FINGERPRINT)
    for number, content in enumerate(CONTENTS):
        store.add([content], np.full((1, 2, 2, 4), number, np.float16))
    return sorted(store.folder.glob("*.h5"))


def test_more_parts_than_a_process_may_hold_open(tmp_path: Path, files) -> None:
    store, said = ActivationStore(tmp_path, FINGERPRINT), listen()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir("/dev/fd")))
    twentieth_free = [number for number in range(10_000) if number not in taken][20]
    resource.setrlimit(resource.RLIMIT_NOFILE, (twentieth_free, limits[1]))
    try:
        store.open()
        found = store.read(CONTENTS[::-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found[:, 0, 0, 0].tolist() == list(range(60))[::-1]
    assert said == []
    assert all(path.exists() for path in files)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_opened_for_now_is_left_there(
    tmp_path: Path, files, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UnreadableError, match=f"{files[0]}.*{os.strerror(code)}.*run the same"):
        ActivationStore(tmp_path, FINGERPRINT).open()
    assert all(path.exists() for path in files)


def test_a_file_that_cannot_be_read_for_now_is_left_there(
    tmp_path: Path, files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Can't synchronously read data")

    monkeypatch.setattr(h5py.Dataset, "read_direct", fail)
    with pytest.raises(UnreadableError, match=os.strerror(errno.EIO)):
        ActivationStore(tmp_path, FINGERPRINT).open()
    assert all(path.exists() for path in files)


def test_a_file_whose_content_is_bad_is_deleted_and_said(tmp_path: Path, files) -> None:
    files[0].write_bytes(files[0].read_bytes()[:500])
    files[1].write_bytes(b"no HDF5 at all")
    said = listen()
    store = ActivationStore(tmp_path, FINGERPRINT)
    store.open()
    assert [line.split(":")[0] for line in said] == [str(path) for path in files[:2]]
    assert len(store.missing(CONTENTS)) == 2
    assert [path.exists() for path in files] == [False] * 2 + [True] * 58


@pytest.mark.parametrize(("allowed", "most"), [(64, 16), (256, 32), (20_000, 128)])
def test_files_held_open_are_a_share_of_what_the_process_may_open(
    monkeypatch: pytest.MonkeyPatch, allowed: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert most_open() == most
