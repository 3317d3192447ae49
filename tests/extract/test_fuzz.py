import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SECONDS = float(os.environ.get("HEADBENCH_FUZZ_SECONDS", "20"))
SPARE_SECONDS = 60  # for imports, and one slow file


def test_damaged_files_neither_crash_nor_hang_nor_print(tmp_path: Path) -> None:
    """``HEADBENCH_FUZZ_SECONDS=600`` looks for longer."""
    last = tmp_path / "last"
    done = subprocess.run(
        [sys.executable, "-m", "tests.extract.fuzz", str(SECONDS), str(last)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + SPARE_SECONDS,
    )
    said = f"{done.stdout}{done.stderr}\nThe last file was {last.read_bytes().hex()}"
    assert done.returncode == 0, said
    assert done.stderr == "", said
    assert re.fullmatch(r"\d+ files, seeds \d+ to \d+\n", done.stdout), said
