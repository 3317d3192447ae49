"""A real extraction, in a process of its own, killed at random instants.

HEADBENCH_KILLS sets how often (20): ``HEADBENCH_KILLS=200 make test`` takes a few minutes.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, write_class_folders
from tests.extract.test_faults import content_of

N_KILLS = int(os.environ.get("HEADBENCH_KILLS", "20"))
PART, BATCH = 16, 8
N_IMAGES = 120

# A kill comes after so many images, 0 to all, and up to so many seconds more. Seconds alone would
# fall behind the end on a fast machine, and before the beginning on a busy one.
SECONDS = 0.06
# Each image that went through the backbone is noted in a file at once, whatever happens next.
EXTRACT = """
import os, signal, sys, threading, time
from headbench.cache import cli
from headbench.extract import __main__ as command, stage
from headbench.extract.networks import backbone as backbones
embed = backbones.embed_mean_color
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
stage.PART_IMAGES, last, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
def end():
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
def noting(batches):
    embedded = 0
    for batch in batches:
        os.write(log, b"." * len(batch.rows))
        embedded += len(batch.rows)
        if embedded == last:
            threading.Thread(target=end).start()
        yield from embed([batch])
backbones.embed_mean_color = noting
if last == 0:
    threading.Thread(target=end).start()
sys.exit(cli.run(command.main, sys.argv[5:]))
"""
NEVER = (-1, 0.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("killed") / "photos", N_IMAGES // 3)


def extract(photos: Path, out: Path, log: Path, kill: tuple[int, float] = NEVER) -> int:
    """Exit code of an extraction, which ends itself after so many images and seconds."""
    options = ["--backbone", "mean-color", "--size", "16", "--batch-size", str(BATCH)]
    arguments = [log, PART, *kill, photos, "--out", out, *options]
    command = [sys.executable, "-c", EXTRACT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


def test_killed_at_any_instant_it_goes_on_and_loses_a_part_at_most(
    photos: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole/features.h5"
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    extract_features(photos, whole, settings)
    wanted = content_of(whole)
    chance = random.Random(0)  # noqa: S311, not for cryptography
    n_interrupted = 0
    for number in range(N_KILLS):
        out, log = tmp_path / f"{number}/features.h5", tmp_path / f"{number}.log"
        kill = chance.randrange(0, N_IMAGES + 1, BATCH), chance.uniform(0, SECONDS)
        extract(photos, out, log, kill)
        n_interrupted += not out.exists()
        assert extract(photos, out, log) == 0
        assert content_of(out) == wanted
        # The part in flight, and what had been decoded and embedded ahead of it.
        assert log.stat().st_size <= N_IMAGES + PART + BATCH
        assert sorted(path.name for path in out.parent.iterdir()) in (
            ["features.h5"],
            ["features.h5", "features.h5.hashes"],
        )
    assert n_interrupted > 0.5 * N_KILLS
