import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SPARE_SECONDS = 60  # for imports, and one slow file


@pytest.mark.parametrize("seconds", [3, pytest.param(600, marks=pytest.mark.long)])
def test_damaged_files_neither_crash_nor_hang_nor_print(tmp_path: Path, seconds: int) -> None:
    last = tmp_path / "last"
    done = subprocess.run(
        [sys.executable, "-m", "tests.extract.fuzz", str(seconds), str(last)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + SPARE_SECONDS,
    )
    said = f"{done.stdout}{done.stderr}\nThe last file was {last.read_bytes().hex()}"
    assert done.returncode == 0, said
    assert done.stderr == "", said
    assert re.fullmatch(r"\d+ files, seeds \d+ to \d+\n", done.stdout), said
