"""A fine-tuning that is killed outright, in a process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.conftest import ROOT

LAYER = "conv_dw_13"


def arguments(run: Run) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "headbench",
        "finetune",
        str(run.folder),
        "--epochs",
        "4",
    ]
    return [*command, "--unfreeze", LAYER, "--learning-rate", "0.001", "--patience", "9"]


def tuned(run: Run):
    with FeatureFile(run.features_path) as features:
        return run.find(f"finetuned-{LAYER}", features)


# In this process `test_training_loop` and `test_finetune_stage` do it in less time.
@pytest.mark.long
def test_a_killed_process_goes_on_to_the_network_of_an_uninterrupted_one(
    network_run: Run, tmp_path: Path
) -> None:
    whole, killed = (
        Run(shutil.copytree(network_run.folder, tmp_path / name)) for name in ("whole", "killed")
    )
    subprocess.run(arguments(whole), cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen(
        [*arguments(killed)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("epoch 2:"):
                process.kill()
                break
    assert process.wait() != 0
    assert not killed.trained_folder(f"finetuned-{LAYER}").exists()
    done = subprocess.run(arguments(killed), cwd=ROOT, check=True, capture_output=True, text=True)
    # It was killed while it saved its checkpoint, or after.
    assert "resuming after epoch 1" in done.stdout or "resuming after epoch 2" in done.stdout
    found, expected = tuned(killed), tuned(whole)
    assert found.record.history.keys() == expected.record.history.keys()
    for name, values in expected.record.history.items():
        np.testing.assert_allclose(found.record.history[name], values, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(found.test, expected.test, atol=1e-4)
