"""Small runs, a run with names that try to be markup, and a browser."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import save_arrays
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import PROBA_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.extract.networks.applications import NETWORKS
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.report.browser import chromium_path
from tests.classify.report.conftest import make_hostile_run
from tests.conftest import write_class_folders


@pytest.fixture
def run(photos: Path, settings: ExtractSettings) -> Run:
    """A run whose features are there, and nothing trained yet."""
    features = photos.parent / "runs/colors/features.h5"
    extract_features(photos, features, settings)
    return Run(features)


@pytest.fixture(scope="session")
def network_run(network_features: Path) -> Run:
    """ResNet50 with random weights on three colours: features, two heads, fine-tuned for an epoch.

    Not to be changed by a test.
    """
    run = Run(network_features)
    train_heads(run, ["logreg", "mlp-128"], seed=0)
    finetune(run, FinetuneSettings(epochs=1), None, None)
    return run


SMALL_DIM = 256


def _small_resnet50(**options: Any) -> Any:
    """ResNet50 with an eighth of its channels, and all its blocks at the end only."""
    resnet = import_module("keras.src.applications.resnet")

    def blocks(x: Any) -> Any:
        for number, n_blocks in ((2, 1), (3, 1), (4, 1), (5, 3)):
            stride = 1 if number == 2 else 2
            x = resnet.stack_residual_blocks_v1(
                x, SMALL_DIM >> (7 - number), n_blocks, stride, name=f"conv{number}"
            )
        return x

    return resnet.ResNet(blocks, False, True, name="resnet50", weights_name="none", **options)


Small = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def small_network() -> Small:
    """While its context is open, ``resnet50`` is a small network with names of the same layers."""

    @contextmanager
    def small() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            facts = replace(NETWORKS["resnet50"], dim=SMALL_DIM)
            patch.setitem(NETWORKS, "resnet50", facts)
            usual = KerasBackbone._application
            patch.setattr(
                KerasBackbone,
                "_application",
                lambda self: _small_resnet50 if self.name == "resnet50" else usual(self),
            )
            yield

    return small


@pytest.fixture(scope="module")
def is_small(small_network: Small) -> Iterator[None]:
    """All of a file's tests see the small network."""
    with small_network():
        yield


@pytest.fixture(scope="session")
def small_run(small_network: Small, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As `network_run`, of the small network; its tests use `is_small`. Not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    photos = write_class_folders(folder / "photos", n_per_class=20)
    run = Run(folder / "runs/colors/features.h5")
    with small_network():
        extract_features(photos, run.features_path, ExtractSettings(weights="random", size_px=32))
        train_heads(run, ["logreg", "mlp-128"], seed=0)
        finetune(run, FinetuneSettings(epochs=1), None, None)
    return run


@pytest.fixture(scope="session")
def small_photos(small_run: Run) -> Path:
    """The photographs of `small_run`."""
    return small_run.folder.parents[1] / "photos"


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
