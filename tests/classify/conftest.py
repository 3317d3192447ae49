"""Small runs, a run with names that try to be markup, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.heads.registry import load_head
from headbench.classify.run import PROBA_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.report.browser import chromium_path
from tests.classify.report.conftest import make_hostile_run
from tests.small_network import SIZE_PX, SMALL


@pytest.fixture
def run(photos: Path, settings: ExtractSettings) -> Run:
    """A run whose features are there, and nothing trained yet."""
    features = photos.parent / "runs/colors/features.h5"
    extract_features(photos, features, settings)
    return Run(features)


@pytest.fixture(scope="session")
def network_run(network_features: Path) -> Run:
    """A small network on three colours: features, two heads, and fine-tuned for an epoch.

    Not to be changed by a test.
    """
    run = Run(network_features)
    train_heads(run, ["logreg", "mlp-128"], seed=0)
    finetune(run, FinetuneSettings(epochs=1, copies=1), None, None)
    return run


@pytest.fixture(scope="session")
def random_run(network_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Features of a network with random weights, and a head; not to be changed by a test."""
    run = Run(tmp_path_factory.mktemp("random") / "colors")
    extract_features(network_photos, run.features_path, ExtractSettings(SMALL, "random", SIZE_PX))
    train_heads(run, ["logreg"], seed=0)
    return run


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose classes and file names try to be markup; not to be changed by a test."""
    return make_hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = chromium_path()
    with sync_playwright() as playwright:
        # Without its sandbox: in a container the kernel offers none to the root user.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


def save_as_before(folder: Path) -> None:
    """Write a trained `MLP` as headbench once did, with its network in a Keras file."""
    head = load_head(folder)
    model = head.keras_model()
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "model.keras")
    np.savez(folder / "normalise.npz", mean=head.mean_, scale=np.array(head.scale_))
    (folder / "mlp.npz").unlink()


@pytest.fixture(params=["centroid", "ridge"])
def torn_run(run: Run, request: pytest.FixtureRequest) -> tuple[Run, str]:
    """A run of two heads, and the name of one that is right on val, where test has the other."""
    names, best = ["centroid", "ridge"], str(request.param)
    train_heads(run, names, 0)
    with FeatureFile(run.features_path) as features:
        right = {split: np.eye(3, dtype=np.float32)[features.labels(split)] for split in SPLITS}
    for name in names:
        chosen, other = ("val", "test") if name == best else ("test", "val")
        # Where it is wrong, each image is taken for one of the next class.
        proba = {chosen: right[chosen], other: np.roll(right[other], 1, axis=1)}
        save_arrays(run.trained_folder(name) / PROBA_FILE, proba)
    return run, best


@pytest.fixture
def run_at_chance(run: Run) -> Run:
    """A run of one head, ridge, that is wrong for every image."""
    train_heads(run, ["ridge"], 0)
    path = run.trained_folder("ridge") / PROBA_FILE
    arrays = load_arrays(path)
    save_arrays(path, {split: np.roll(proba, 1, axis=1) for split, proba in arrays.items()})
    return run
