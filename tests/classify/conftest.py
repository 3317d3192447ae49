"""A browser, and a run with names that try to be markup: for the tests of every page."""

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import save_arrays
from headbench.classify.run import PROBA_FILE, Run
from headbench.classify.train_heads import train_heads
from tests.classify.report.browser import chromium_path
from tests.classify.report.conftest import make_hostile_run


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
