"""Fine-tuning by two workers, processes of this machine that stand in for two machines."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from cache.reader import FeatureFile
from classify.finetuning.settings import FinetuneSettings
from classify.finetuning.stage import finetune
from classify.run import Run, Trained
from tests.classify.finetuning.test_meeting import free_addresses
from tests.conftest import ROOT

LAYER = "conv5_block3_2_conv"


def untuned(network_run: Run, folder: Path) -> Run:
    """The run with its heads alone: no trunk is cached, nothing fine-tuned."""
    skip = shutil.ignore_patterns("finetuned", "trunk")
    return Run(shutil.copytree(network_run.folder, folder, ignore=skip))


@contextmanager
def two_workers(run: Run, *arguments: object) -> Iterator[list[subprocess.Popen[str]]]:
    """Both of them, at work."""
    addresses = free_addresses(2)
    with ExitStack() as processes:
        workers = []
        for index in range(2):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            process = subprocess.Popen(
                [sys.executable, "-m", "classify", "finetune", run.folder, *map(str, arguments)],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            workers.append(processes.enter_context(process))
            # Else a test that fails would wait for them.
            processes.callback(process.kill)
        yield workers


def outputs_of(run: Run, *arguments: object) -> list[str]:
    """What both say, to a good end."""
    with two_workers(run, *arguments) as workers:
        outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    return [said for said, _ in outputs]


def tuned(run: Run, name: str) -> Trained:
    with FeatureFile(run.features_path) as features:
        return run.find(name, features)


def assert_same(found: Trained, expected: Trained) -> None:
    assert found.record.chosen == expected.record.chosen
    assert found.record.history.keys() == expected.record.history.keys()
    for name, values in expected.record.history.items():
        np.testing.assert_allclose(found.record.history[name], values, rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(found.test, expected.test, atol=1e-3)


def test_two_workers_train_what_one_does_and_the_first_one_keeps_it(
    network_run: Run, tmp_path: Path
) -> None:
    run = untuned(network_run, tmp_path / "run")
    chief, other = outputs_of(run, "--epochs", 1)
    assert "of each of 2 workers" in chief
    assert "test top-1" in chief
    [line] = other.splitlines()
    assert line.startswith("worker 1 (127.0.0.1:")
    assert line.endswith("of 2: waiting for the others")
    assert_same(tuned(run, "finetuned"), tuned(network_run, "finetuned"))
    # Each has computed its share of the trunk, once.
    [trunk], [of_one] = (list((each.folder / "trunk").iterdir()) for each in (run, network_run))
    assert trunk.name == of_one.name
    assert len(list(trunk.glob("*.h5"))) == 2


def test_where_one_is_killed_the_other_says_so_and_both_go_on_when_started_again(
    network_run: Run, tmp_path: Path
) -> None:
    run, alone = (untuned(network_run, tmp_path / name) for name in ("run", "alone"))
    settings = FinetuneSettings(unfreeze=LAYER, epochs=3, patience=9, learning_rate=1e-3)
    arguments = ("--unfreeze", LAYER, "--epochs", 3, "--patience", 9, "--learning-rate", 1e-3)
    with two_workers(run, *arguments) as (chief, other):
        assert chief.stdout is not None
        for line in chief.stdout:
            if line.startswith("epoch 1:"):
                other.kill()
                break
        _, errors = chief.communicate(timeout=60)
    assert chief.returncode == 2, errors
    assert "error: worker 0 (127.0.0.1:" in errors
    assert "lost worker 1 (127.0.0.1:" in errors
    assert not run.trained_folder(settings.name).exists()
    again, _ = outputs_of(run, *arguments)
    assert "going on after epoch" in again
    finetune(alone, settings, None, None, lambda _: None)
    assert_same(tuned(run, settings.name), tuned(alone, settings.name))
