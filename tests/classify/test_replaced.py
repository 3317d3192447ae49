"""A kill or a full disk at every call of a replacement: the old or the new is there."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.disk import replace_texts, whole_folder
from headbench.classify.run import Record, saving
from tests.conftest import ROOT, needs_posix

pytestmark = needs_posix

KILLED, FULL = 0, errno.ENOSPC
OLD, NEW = 1, 2
HALF = np.full((4, 2), 0.5, dtype=np.float32)
# Replaces a head and two files of a report in each folder, in a process forked for each.
FORKING = """
import os, sys
from pathlib import Path
from headbench.cache.disk import replace_texts
from headbench.cache.errors import StorageError
from tests.classify.test_replaced import save_head, texts
for run in map(Path, sys.argv[1:]):
    child = os.fork()
    if not child:
        number, error = run.name.split("-")
        os.environ |= {"FAIL_CALL": number, "FAIL_ERRNO": error, "FAIL_LASTING": "0"}
        os.environ["FAIL_COUNT"] = f"{run}.count"
        try:
            save_head(run, 2)
            replace_texts(run / "report", texts(2))
        except StorageError:
            sys.exit(2)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def save_head(run: Path, version: int) -> None:
    record = Record("logreg", {}, {}, {}, 1.0, 0.1, version, ("a", "b"), 3, "digest")
    with saving(run / "heads/logreg", record, HALF, HALF) as folder:
        (folder / "model.txt").write_text(f"{version}" * 100)
        (folder / "0").mkdir()
        (folder / "0/model.txt").write_text(f"{version}" * 100)


def texts(version: int) -> dict[str, str]:
    return {"results.json": f"{version}" * 100, "index.html": f"{version}" * 10_000}


def head_of(run: Path) -> int:
    """The version of the head, once all its files are known to be whole and of that version."""
    folder = whole_folder(run / "heads/logreg")
    version = int((folder / "model.txt").read_text()[0])
    for path in ("model.txt", "0/model.txt"):
        assert (folder / path).read_text() == f"{version}" * 100
    assert f'"seed": {version},' in (folder / "record.json").read_text()
    with np.load(folder / "proba.npz") as arrays:
        np.testing.assert_array_equal(arrays["val"], HALF)
    return version


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("shim") / "faults.so"
    source = ROOT / "tests/faults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True)
    return built


def replace_all(folder: Path, shim: Path, names: list[str]) -> list[int]:
    """Exit codes of replacing version 1 by version 2, for each CALL-ERRNO."""
    old = folder / "old"
    if not old.exists():
        save_head(old, OLD)
        replace_texts(old / "report", texts(OLD))
    for name in names:
        shutil.copytree(old, folder / name)
    done = subprocess.run(
        [sys.executable, "-c", FORKING, *(folder / name for name in names)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(shim), "FAIL_BELOW": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(code) for code in done.stdout.split()]


@pytest.mark.parametrize(
    ("error", "step"),
    [(KILLED, 1), (FULL, 4), pytest.param(FULL, 1, marks=pytest.mark.long)],
)
def test_at_every_call_the_old_or_the_new_is_there_and_whole(
    tmp_path: Path, shim: Path, error: int, step: int
) -> None:
    never = f"999999-{error}"
    assert replace_all(tmp_path, shim, [never]) == [0]
    n_calls = int((tmp_path / f"{never}.count").read_text())
    assert n_calls > 20
    names = [f"{call}-{error}" for call in range(0, n_calls, step)]
    codes = replace_all(tmp_path, shim, names)
    # That a folder cannot be made is no failure where it is there.
    assert set(codes) <= ({-9} if error == KILLED else {0, 2})
    assert codes.count(0) < 0.2 * len(codes)
    found = []
    for name in names:
        run = tmp_path / name
        found.append(head_of(run))
        for file in texts(OLD):
            text = (run / "report" / file).read_text()
            assert text in (texts(OLD)[file], texts(NEW)[file])
    for name in names[::3]:
        save_head(tmp_path / name, NEW)
        assert head_of(tmp_path / name) == NEW
        assert [path.name for path in (tmp_path / name / "heads").iterdir()] == ["logreg"]
    assert found == sorted(found)
    assert {OLD, NEW} == set(found)
