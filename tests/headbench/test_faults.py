"""A disk that is full, broken or not ours to write on, at every single call that writes."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, content_of, needs_posix, write_class_folders, write_image

pytestmark = needs_posix

# Runs many extractions, each in a process forked from one that has imported everything.
FORKING = """
import os, sys
from pathlib import Path
from headbench import terminal
from headbench.command_line import main
from headbench.extract import stage
stage.PART_IMAGES = 8
photos, logs, *runs = sys.argv[1:]
for run in runs:
    name = os.path.basename(run)
    child = os.fork()
    if not child:
        log = os.open(f"{logs}/{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        number, error, lasting = name.split("-")
        os.environ |= {"FAIL_CALL": number, "FAIL_ERRNO": error, "FAIL_LASTING": lasting}
        os.environ["FAIL_COUNT"] = f"{logs}/{name}.count"
        options = ["--backbone", "mean-color", "--size", "16", "--batch-size", "8"]
        sys.exit(terminal.run(main, ["features", photos, "--name", f"{run}/features.h5", *options]))
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
SETTINGS = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)


class Disk:
    """A folder of photographs that has grown since its feature file, and a disk that fails."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.folder, self.shim = folder, shim
        self.photos = write_class_folders(folder / "photos", n_per_class=10)
        self.old = folder / "old/features.h5"
        self.extract(self.old)
        for number in range(20):
            write_image(self.photos / f"red/new{number:02}.png", seed=5000 + number)
        self.extract(folder / "new/features.h5")
        self.wanted = content_of(folder / "new/features.h5")
        self.logs, self.runs = folder / "logs", folder / "runs"
        self.logs.mkdir()
        self.runs.mkdir()

    def extract(self, out: Path) -> None:
        extract_features(self.photos, out, SETTINGS)

    def fail(self, names: list[str]) -> dict[str, int]:
        """The exit code of a run for each ``CALL-ERRNO-LASTING``."""
        for name in names:
            shutil.copytree(self.old.parent, self.runs / name)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                FORKING,
                self.photos,
                self.logs,
                *(self.runs / n for n in names),
            ],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(self.shim), "FAIL_BELOW": str(self.runs)},
            capture_output=True,
            text=True,
            check=True,
        )
        return {name: int(code) for name, code in map(str.split, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    folder = tmp_path_factory.mktemp("disk")
    shim = folder / "faults.so"
    source = ROOT / "tests/faults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return Disk(folder, shim)


@pytest.fixture(scope="module")
def n_calls(disk: Disk) -> int:
    """How many calls of an extraction write."""
    never = "999999-5-0"
    assert disk.fail([never]) == {never: 0}
    return int((disk.logs / f"{never}.count").read_text())


@pytest.mark.parametrize(
    ("error", "is_lasting", "step"),
    [
        (errno.ENOSPC, False, 5),
        (errno.EDQUOT, True, 9),
        *(
            pytest.param(error, is_lasting, 1, marks=pytest.mark.long)
            for error in (errno.ENOSPC, errno.EIO, errno.EDQUOT)
            for is_lasting in (False, True)
        ),
    ],
)
def test_every_write_may_fail_and_nothing_is_lost(
    disk: Disk, n_calls: int, error: int, is_lasting: bool, step: int
) -> None:
    assert n_calls > 50
    before = content_of(disk.old)
    codes = disk.fail([f"{call}-{error}-{is_lasting:d}" for call in range(0, n_calls, step)])
    assert len(codes) == len(range(0, n_calls, step))
    assert list(codes.values()).count(2) > 0.9 * len(codes)
    for name, code in codes.items():
        said = (disk.logs / name).read_text()
        assert code in (0, 2), (name, code, said)
        assert "Traceback" not in said, (name, said)
        if code == 2:
            assert "error: " in said, (name, said)
        out = disk.runs / name / "features.h5"
        assert content_of(out) in (before, disk.wanted), name
        disk.extract(out)
        assert content_of(out) == disk.wanted, name
        shutil.rmtree(out.parent)


def test_the_message_says_what_and_where_and_what_next(disk: Disk) -> None:
    name = f"21-{errno.ENOSPC}-1"
    disk.fail([name])
    [line] = [x for x in (disk.logs / name).read_text().splitlines() if x.startswith("error: ")]
    for phrase in (str(disk.runs / name), "No space left on device", "run the same command again"):
        assert phrase in line
