"""What several test files share: small image folders, a network's embeddings, the real data."""

import ctypes
import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.cache import progress
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.small_network import SIZE_PX, SMALL, write_weights

ROOT = Path(__file__).parent.parent
SHARED = "HEADBENCH_SHARED"
COLORS = {"green": (30, 200, 40), "red": (210, 30, 30), "blue": (20, 40, 220)}


needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of git")
needs_posix = pytest.mark.skipif(
    os.name != "posix", reason="uses pipes, signals, links or limits that Windows does not have"
)

# Begun first, since a long file that is begun last keeps one of two processes waiting.
SLOWEST = (
    "test_real_photographs.py",
    "test_alone.py",
    "test_backbones.py",
    "test_finetune_stage.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


@pytest.fixture(autouse=True, scope="session")
def converted_networks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Networks that the tests convert are kept for the other tests alone, in all processes."""
    os.environ["HEADBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="module")
def memory_given_back() -> Iterator[None]:
    """Return what the tests of a file have freed.

    glibc keeps freed memory in a heap for each thread, of which TensorFlow has many: after one file
    3.7 GB were held and 1.6 GB in use, and over all files there was no memory left.
    """
    yield
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)


class Bar:
    """What would be shown of one `Progress`."""

    def __init__(self, desc: str, total: int | None, unit: str, **_: object) -> None:
        self.desc, self.total, self.unit = desc, total, unit.strip()
        self.n, self.is_closed = 0, False

    def update(self, n: int) -> None:
        self.n += n

    def set_postfix_str(self, *_: object, **__: object) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """All progress that is shown, by whoever asked for it."""
    shown: list[Bar] = []

    def make(**options: Any) -> Bar:
        shown.append(Bar(**options))
        return shown[-1]

    monkeypatch.setattr(progress, "_bar_class", lambda: make)
    return shown


@pytest.fixture
def bars(drawn: list[Bar]) -> Iterator[list[Bar]]:
    """All progress of a test."""
    with progress.showing_progress():
        yield drawn


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def listen() -> list[str]:
    """What headbench logs from now on, a line at a time, until the end of the test."""
    listener, logger = _Listener(), logging.getLogger("headbench")
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    return listener.lines


@pytest.fixture(autouse=True)
def nobody_listens_any_more() -> Iterator[None]:
    yield
    logger = logging.getLogger("headbench")
    for handler in list(logger.handlers):
        if isinstance(handler, _Listener):
            logger.removeHandler(handler)


def content_of(path: Path) -> tuple[object, ...]:
    """All that a feature file holds, once it is known to be whole."""
    assert inspect_file(path).damage == ()
    with FeatureFile(path) as features:
        table = features.table
        X = features.dataset("embeddings").read()
    return table.paths, table.digest(), table.rejected, table.config, X.tobytes()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights; set and not there is a failure, not a skip."""
    if SHARED not in os.environ:
        pytest.skip(f"{SHARED} names no folder of real photographs and weights")
    folder = Path(os.environ[SHARED])
    for needed in ("data/food10/images", "weights/resnet50_notop.weights.h5"):
        if not (folder / needed).exists():
            pytest.fail(f"{SHARED}={folder}: {needed} is not there")
    return folder


def write_image(path: Path, seed: int, color: tuple[int, int, int] = (128, 128, 128)) -> None:
    """A small noisy picture around one colour; each seed gives other bytes."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-25, 26, size=(24, 32, 3))
    pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_class_folders(root: Path, n_per_class: int = 30, first_seed: int = 0) -> Path:
    """One folder per colour, with easily told pictures in it."""
    for number, (name, color) in enumerate(COLORS.items()):
        for image in range(n_per_class):
            write_image(root / name / f"{image:03}.png", first_seed + 1000 * number + image, color)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three classes, 30 pictures each."""
    return write_class_folders(tmp_path / "photos")


@pytest.fixture
def settings() -> ExtractSettings:
    """Extraction without a network, in milliseconds."""
    return ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)


@pytest.fixture(scope="session")
def network_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of three colours by the small network; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("network")
    photos = write_class_folders(folder / "photos", n_per_class=20)
    features = folder / "runs/colors/features.h5"
    extract_features(photos, features, ExtractSettings(SMALL, write_weights(folder), SIZE_PX))
    return features


@pytest.fixture(scope="session")
def network_photos(network_features: Path) -> Path:
    """The photographs of `network_features`."""
    return network_features.parents[2] / "photos"


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m ...`` as a user does, in a process of its own."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return call
