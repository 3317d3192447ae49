"""A run on three colours, and a server of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.deployment.server.client import Client, serving
from tests.conftest import write_class_folders


@pytest.fixture(scope="session")
def served_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without a network; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("served")
    photos = write_class_folders(folder / "photos")
    run = Run(folder / "runs/colors")
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    extract_features(photos, run.features_path, settings)
    train_heads(run, ["logreg"], seed=0)
    return run


@pytest.fixture(scope="session")
def served_photos(served_run: Run) -> Path:
    """The photographs of `served_run`."""
    return served_run.folder.parents[1] / "photos"


@pytest.fixture(scope="session")
def client(served_run: Run) -> Iterator[Client]:
    """Talks to a server of `served_run`."""
    with serving(served_run, max_mb=1) as client:
        yield client


@pytest.fixture(scope="session")
def red(served_photos: Path) -> bytes:
    """A photograph."""
    return (served_photos / "red/000.png").read_bytes()
