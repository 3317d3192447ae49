"""A run with heads of several kinds, and what predict says of some of its photographs."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.export import export_model as module
from headbench.classify.export.export_model import export_model
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from tests.conftest import listen


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
def exported_best(many_heads: Run) -> tuple[Path, list[str]]:
    """In all formats, and what was said; nearest neighbours count as the best on val."""
    said = listen()
    with pytest.MonkeyPatch.context() as patch:
        first = ["knn", "logreg"]
        patch.setattr(
            module,
            "rank",
            lambda trained, _: sorted(trained, key=lambda each: each.record.name not in first),
        )
        return export_model(many_heads, None, None, None, None, None), said


@pytest.fixture(scope="session")
def exported_network(many_heads: Run) -> Path:
    """The fine-tuned network in all formats."""
    return export_model(many_heads, "finetuned", None, None, None, None)


@pytest.fixture(scope="session")
def exported_trees(many_heads: Run) -> Path:
    """LightGBM, for TensorFlow."""
    return export_model(many_heads, "lightgbm", None, None, None, ["saved_model"])
