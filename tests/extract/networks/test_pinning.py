"""Processes that take a GPU each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT

PIN = """
import sys, tempfile
from pathlib import Path
tempfile.tempdir = sys.argv[2]
from headbench.extract.networks import devices as pinning
pinning.NVIDIA_GPUS = Path(sys.argv[1])
print(pinning.pin_gpu(), pinning.os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@contextmanager
def pinned(gpus: Path, locks: Path, **environment: str) -> Iterator[str]:
    """What a process says of the GPU that it has taken, for as long as it lives."""
    with subprocess.Popen(
        [sys.executable, "-c", PIN, gpus, locks],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_each_process_takes_a_gpu_of_its_own_and_then_they_share(tmp_path: Path) -> None:
    gpus = tmp_path / "gpus"
    for number in range(2):
        (gpus / f"0000:0{number}:00.0").mkdir(parents=True)
    with pinned(gpus, tmp_path) as first:
        assert first == "0 0"
        with pinned(gpus, tmp_path) as second, pinned(gpus, tmp_path) as third:
            assert second == "1 1"
            assert third in ("0 0", "1 1")
    with pinned(gpus, tmp_path) as again:
        assert again == "0 0"


def test_a_gpu_that_was_chosen_stays_chosen(tmp_path: Path) -> None:
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    with pinned(tmp_path / "gpus", tmp_path, CUDA_VISIBLE_DEVICES="5") as said:
        assert said == "None 5"
    with pinned(tmp_path / "nothing", tmp_path) as said:
        assert said == "None None"
