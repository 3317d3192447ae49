"""A real extraction, in a process of its own, killed at random instants.

HEADBENCH_KILLS sets how often (20): ``HEADBENCH_KILLS=200 make test`` takes a few minutes.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extract.settings import ExtractSettings
from extract.stage import extract_features
from tests.conftest import ROOT, write_class_folders
from tests.extract.test_faults import content_of

N_KILLS = int(os.environ.get("HEADBENCH_KILLS", "20"))
PART, BATCH = 16, 8
N_IMAGES = 120

# Each image that went through the backbone is noted in a file at once, whatever happens next. The
# pause spreads the run over time, so that kills hit all of it.
EXTRACT = """
import os, sys, time
from cache import cli
from extract import __main__ as command, backbones, stage
embed = backbones.embed_mean_color
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def noting(batches):
    for batch in batches:
        os.write(log, b"." * len(batch.rows))
        time.sleep(0.002)
        yield from embed([batch])
backbones.embed_mean_color = noting
stage.PART_IMAGES = int(sys.argv[2])
print("ready", flush=True)
sys.exit(cli.run(command.main, sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("killed") / "photos", N_IMAGES // 3)


def start(photos: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """An extraction that has imported everything and is about to begin."""
    options = ["--backbone", "mean-color", "--size", "16", "--batch-size", str(BATCH)]
    arguments = [sys.executable, "-c", EXTRACT, log, str(PART), photos, "--out", out, *options]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def seconds_of(photos: Path, folder: Path) -> float:
    """How long a run takes that nobody stops."""
    with start(photos, folder / "features.h5", folder.with_suffix(".log")) as process:
        started = time.perf_counter()
        process.communicate()
        return time.perf_counter() - started


def test_killed_at_any_instant_it_goes_on_and_loses_a_part_at_most(
    photos: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole/features.h5"
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    extract_features(photos, whole, settings, lambda _: None)
    wanted = content_of(whole)
    # The shortest of some: a run that was slow, as the first is, would put kills after the end.
    seconds = min(seconds_of(photos, tmp_path / f"timed-{number}") for number in range(3))
    chance = random.Random(0)  # noqa: S311, not for cryptography
    n_interrupted = 0
    for number in range(N_KILLS):
        out, log = tmp_path / f"{number}/features.h5", tmp_path / f"{number}.log"
        with start(photos, out, log) as process:
            time.sleep(chance.uniform(0, seconds))
            process.kill()
        n_interrupted += not out.exists()
        with start(photos, out, log) as process:
            process.communicate()
        assert process.returncode == 0
        assert content_of(out) == wanted
        # The part in flight, and what had been decoded and embedded ahead of it.
        assert log.stat().st_size <= N_IMAGES + PART + BATCH
        assert sorted(path.name for path in out.parent.iterdir()) in (
            ["features.h5"],
            ["features.h5", "features.h5.hashes"],
        )
    assert n_interrupted > 0.5 * N_KILLS
