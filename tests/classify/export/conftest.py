"""A run with heads of several kinds, and what predict says of some of its photographs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.export.export_model import export_model
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from headbench.extract.networks.keras_runtime import LOG_LEVEL, QUIET_LEVEL
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def many_heads(network_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`network_run` once more, with two heads that no network can stand for. Not to be changed."""
    run = Run(shutil.copytree(network_run.folder, tmp_path_factory.mktemp("many") / "colors"))
    settings = TrainSettings(common={"projection": "scores", "max_rounds": 10})
    train_heads(run, ["knn", "lightgbm"], 0, settings)
    return run


@pytest.fixture(scope="session")
def photographs(network_photos: Path) -> list[Path]:
    """Some, of all classes."""
    return sorted(network_photos.rglob("*.png"))[::9]


def predicted(run: Run, head: str, photographs: list[Path], n_classes: int = 3) -> np.ndarray:
    """What predict says, classes sorted by name: float (n, n_classes)."""
    found = predict_files(open_classifier(run, head, None), photographs, n_classes)
    return np.array([[proba for _, proba in sorted(each.top)] for each in found])


@pytest.fixture(scope="session")
def exported_head(many_heads: Run) -> Path:
    """Logistic regression in all formats."""
    return export_model(many_heads, "logreg", None, None, None, None)


class Exported(NamedTuple):
    """An export, and what its command printed."""

    folder: Path
    lines: list[str]
    errors: str


@pytest.fixture(scope="session")
def exported_network(many_heads: Run) -> Exported:
    """The fine-tuned network in all formats, by the command that a user types."""
    options = ["export", str(many_heads.folder), "--head", "finetuned"]
    done = subprocess.run(
        [sys.executable, "-m", "headbench", *options],
        cwd=ROOT,
        # As we set it: exports to ONNX in this process may have set another.
        env={**os.environ, LOG_LEVEL: QUIET_LEVEL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = many_heads.folder / "export/finetuned"
    return Exported(folder, done.stdout.splitlines(), done.stderr)


@pytest.fixture(scope="session")
def exported_trees(many_heads: Run) -> Path:
    """LightGBM, for TensorFlow."""
    return export_model(many_heads, "lightgbm", None, None, None, ["saved_model"])
