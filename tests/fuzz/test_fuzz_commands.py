import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs_posix

SPARE_SECONDS = 120  # for imports, what is tried last, and shrinking


# The same files each time; ten minutes by hand draw others.
@needs_posix
@pytest.mark.parametrize(
    ("seconds", "seed"), [(12, ("0",)), pytest.param(600, (), marks=pytest.mark.long)]
)
def test_crafted_files_end_every_command_in_a_line(
    tmp_path: Path, seconds: int, seed: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", str(seconds), str(tmp_path), *seed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + SPARE_SECONDS,
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, said
    assert re.search(r"\d+ crafted files, seeds \d+ to \d+\n$", done.stdout), said
