"""A real extraction, in a process of its own, killed at random instants."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, content_of, needs_posix, write_class_folders

pytestmark = needs_posix

PART, BATCH = 16, 8
N_IMAGES = 120

# A kill comes after so many images, 0 to all, and up to so many seconds more. Seconds alone would
# fall behind the end on a fast machine, and before the beginning on a busy one.
SECONDS = 0.06
# Runs many extractions, each in a process forked from one that has imported everything: one that
# is killed, and one that goes on. Each image that went through the backbone is noted in a file at
# once, whatever happens next.
FORKING = """
import os, signal, sys, threading, time
from headbench import terminal
from headbench.command_line import main
from headbench.extract import stage
from headbench.extract.networks import backbone as backbones
embed, stage.PART_IMAGES = backbones.embed_mean_color, int(sys.argv[1])
def end(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
def extract(folder, last, seconds):
    log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def noting(batches):
        embedded = 0
        for batch in batches:
            os.write(log, b"." * len(batch.rows))
            embedded += len(batch.rows)
            if embedded == last:
                threading.Thread(target=end, args=(seconds,)).start()
            yield from embed([batch])
    backbones.embed_mean_color = noting
    if last == 0:
        threading.Thread(target=end, args=(seconds,)).start()
    asked = ["features", *sys.argv[2:7], "--name", f"{folder}/features.h5"]
    sys.exit(terminal.run(main, asked))
for kill in sys.argv[7:]:
    folder, last, seconds = kill.split(",")
    for arguments in ((folder, int(last), float(seconds)), (folder, -1, 0.0)):
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            extract(*arguments)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, os.path.exists(f"{folder}/features.h5"), flush=True)
"""


@pytest.mark.parametrize("n_kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_any_instant_it_goes_on_and_loses_a_part_at_most(
    tmp_path: Path, n_kills: int
) -> None:
    photos, whole = write_class_folders(tmp_path / "photos", N_IMAGES // 3), tmp_path / "whole.h5"
    extract_features(photos, whole, ExtractSettings(backbone="mean-color", size_px=16))
    wanted = content_of(whole)
    chance = random.Random(0)  # noqa: S311, not for cryptography
    counts = range(0, N_IMAGES + 1, BATCH)
    kills = [
        f"{tmp_path}/{number},{chance.choice(counts)},{chance.uniform(0, SECONDS)}"
        for number in range(n_kills)
    ]
    options = ["--backbone=mean-color", "--size=16", f"--batch-size={BATCH}", "--seed=0"]
    arguments = [sys.executable, "-c", FORKING, str(PART), *options, photos, *kills]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[1::2] == ["0 True"] * n_kills
    # Some come after the end, on a fast machine more of them.
    assert lines[::2].count("-9 False") > 0.25 * n_kills
    for number in range(n_kills):
        out, log = tmp_path / f"{number}/features.h5", tmp_path / f"{number}.log"
        assert content_of(out) == wanted
        # The part in flight, and what had been decoded and embedded ahead of it.
        assert log.stat().st_size <= N_IMAGES + PART + BATCH
        assert sorted(path.name for path in out.parent.iterdir()) in (
            ["features.h5"],
            ["features.h5", "features.h5.hashes"],
        )
