"""The fastest settings on a GPU: fake engines of known speed, and devices of the CPU for GPUs."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract.networks.engines import Engine, halving_engine, relative_difference
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.networks.trial import (
    XLA_AFTER,
    Choice,
    Setting,
    Trial,
    _Forms,
    cache_folder,
    on_trial,
)
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, listen, write_class_folders
from tests.small_network import SIZE_PX, SMALL, write_weights

TOLERANCE = 1e-4


def pictures(n: int) -> np.ndarray:
    """Each with its number as its colour, 1 to 200."""
    numbers = np.arange(n) % 200 + 1
    return (numbers[:, None, None, None] * np.ones((1, 2, 2, 3))).astype(np.uint8)


class Clock:
    """Time passes by the seconds that a fake engine takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """An engine of known seconds for an image, by the size of the batch, and a form by XLA."""

    def __init__(
        self, seconds: dict[int, float], xla: float | Exception, error: float = 0.0, room: int = 512
    ) -> None:
        self.seconds, self.xla, self.error, self.room = seconds, xla, error, room
        self.clock, self.calls = Clock(), []

    def infer(self, images: np.ndarray) -> np.ndarray:
        self.calls.append((len(images), False))
        self._need(len(images))
        self.clock.now += len(images) * self.seconds.get(len(images), 1.0)
        return images.mean(axis=(1, 2)).astype(np.float32)

    def compiled(self) -> "object":
        if isinstance(self.xla, Exception):
            raise self.xla
        self.clock.now += 1000  # compiling

        def infer(images: np.ndarray) -> np.ndarray:
            self.calls.append((len(images), True))
            self._need(2 * len(images))
            self.clock.now += len(images) * self.xla
            return images.mean(axis=(1, 2)).astype(np.float32) * np.float32(1 + self.error)

        return infer

    def _need(self, n_images: int) -> None:
        if n_images > self.room:
            raise load_tensorflow().errors.ResourceExhaustedError(None, None, "OOM")

    @property
    def engine(self) -> Engine:
        return Engine("fake", self.infer, 4, by_xla=self.compiled)


SECONDS = {4: 0.4, 8: 0.2, 16: 0.199}


def tried(fake: Fake, choice: Choice, n_images: int = 4000) -> np.ndarray:
    trial = Trial(_Forms(fake.engine, TOLERANCE), choice, [4, 8, 16], fake.clock)
    images = pictures(n_images)
    batches = np.split(images, range(16, n_images, 16))
    found = np.concatenate([trial.infer(batch) for batch in batches])
    np.testing.assert_allclose(found[:, 0], images[:, 0, 0, 0], rtol=TOLERANCE)
    return found


@pytest.fixture
def choice(tmp_path: Path) -> Choice:
    return Choice(tmp_path / "trials/key.json")


@pytest.mark.parametrize(
    ("fake", "chosen"),
    [
        (Fake(SECONDS, 0.1), Setting(8, by_xla=True)),
        (Fake(SECONDS, 0.195), Setting(8)),  # what XLA gains is less than it costs
        (Fake(SECONDS, 0.5), Setting(8)),
        (Fake(SECONDS | {16: 0.1}, 0.2), Setting(16)),
        (Fake(SECONDS, 0.1, error=0.01), Setting(8)),  # XLA is wrong
        (Fake(SECONDS, ValueError("no such operation")), Setting(8)),
        (Fake(SECONDS | {16: 0.1}, 0.2, room=12), Setting(8)),
        (Fake(SECONDS, 0.1, room=12), Setting(8)),  # XLA takes twice the memory here
    ],
)
def test_the_fastest_setting_that_agrees_and_fits_is_chosen(
    fake: Fake, chosen: Setting, choice: Choice
) -> None:
    tried(fake, choice)
    assert choice.find() == chosen
    assert set(fake.calls[-40:]) == {(chosen.batch_size, chosen.by_xla)}


def test_the_choice_is_said_in_one_line_and_xla_that_fails_in_another(choice: Choice) -> None:
    said = listen()
    tried(Fake(SECONDS, 0.1), choice)
    assert said == [
        "XLA, 8 images at once (on the first 144 images: no XLA, 4 images at once 2 images/s, "
        "no XLA, 8 images at once 5 images/s, no XLA, 16 images at once 5 images/s, XLA, 8 images "
        f"at once 10 images/s). Kept in {choice.path}."
    ]
    said.clear()
    tried(Fake(SECONDS, 0.1, error=0.01), choice)
    assert said[0] == "note: XLA is not used: its embeddings differ by 1.0e-02 (relative)."
    said.clear()
    tried(Fake(SECONDS, ValueError("no such operation\nmore")), choice)
    assert said[0] == "note: XLA is not used: no such operation."


def test_a_kept_choice_is_used_without_a_trial_and_xla_not_for_few_images(choice: Choice) -> None:
    choice.keep(Setting(8, by_xla=True))
    fake = Fake(SECONDS, 0.1)
    engine = on_trial(fake.engine, choice, TOLERANCE)
    assert engine.batch_size == 8
    images = pictures(XLA_AFTER - 1)
    np.testing.assert_array_equal(engine.infer(images)[:, 0], images[:, 0, 0, 0])
    assert {by_xla for _, by_xla in fake.calls} == {False}
    fake.calls.clear()
    assert len(engine.infer(pictures(13))) == 13
    assert fake.calls == [(8, False), (8, True), (8, True), (8, True)]  # checked, then used


def test_a_kept_choice_is_checked_again(choice: Choice) -> None:
    choice.keep(Setting(8, by_xla=True))
    fake, said = Fake(SECONDS, 0.1, error=0.01), listen()
    engine = on_trial(fake.engine, choice, TOLERANCE)
    images = pictures(XLA_AFTER + 50)
    np.testing.assert_array_equal(engine.infer(images)[:, 0], images[:, 0, 0, 0])
    assert "XLA is not used" in said[0]


def test_a_batch_size_that_the_user_names_is_the_only_one_tried(choice: Choice) -> None:
    choice.keep(Setting(8))
    fake = Fake(SECONDS, 0.1)
    engine = on_trial(fake.engine, choice, TOLERANCE, batch_size=4)
    assert engine.batch_size == 4
    for _ in range(10):
        engine.infer(pictures(4))
    assert {size for size, _ in fake.calls} == {4}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"batch_size": 0, "by_xla": true}', '{"batch_size": 8, "by_xla": 1}',
     '{"batch_size": true, "by_xla": true}', '{"batch_size": 1e9, "by_xla": false}'],
)  # fmt: skip
def test_a_kept_choice_that_makes_no_sense_is_none(choice: Choice, text: str) -> None:
    choice.path.parent.mkdir()
    choice.path.write_text(text)
    assert choice.find() is None


def test_a_choice_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = listen()
    tried(Fake(SECONDS, 0.1), Choice(tmp_path / "file/trials/key.json"))
    assert "It cannot be kept for the next run" in said[0]


def test_two_threads_get_their_own_rows_and_one_choice(choice: Choice) -> None:
    fake, said = Fake(SECONDS, 0.1), listen()
    trial = Trial(_Forms(fake.engine, TOLERANCE), choice, [4, 8, 16], fake.clock)
    batches = np.split(pictures(2000), 125)
    with ThreadPoolExecutor(2) as pool:
        found = np.concatenate(list(pool.map(trial.infer, batches)))
    np.testing.assert_array_equal(found[:, 0], pictures(2000)[:, 0, 0, 0])
    assert len(said) == 1


def test_out_of_memory_with_the_smallest_batch_halves_it_and_ends_the_trial(choice: Choice) -> None:
    fake, said = Fake(SECONDS, 0.1, room=3), listen()
    engine = halving_engine(on_trial(fake.engine, choice, TOLERANCE))
    for _ in range(20):
        assert (engine.infer(pictures(16))[:, 0] == pictures(16)[:, 0, 0, 0]).all()
    assert [line.split(": ")[0] for line in said] == [
        f"out of memory with {n} images at once" for n in (16, 8, 4)
    ]
    assert choice.find() is None


def test_memory_that_runs_short_with_xla_later_is_no_end(choice: Choice) -> None:
    choice.keep(Setting(8, by_xla=True))
    fake, said = Fake(SECONDS, 0.1), listen()
    engine = halving_engine(on_trial(fake.engine, choice, TOLERANCE))
    engine.infer(pictures(XLA_AFTER + 8))
    fake.room = 12
    assert (engine.infer(pictures(20))[:, 0] == pictures(20)[:, 0, 0, 0]).all()
    assert said == ["out of memory with XLA: continuing with no XLA, 8 images at once"]


def test_the_cache_folder_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HEADBENCH_CACHE")
    assert cache_folder().name == "headbench"


# One logical device of the CPU stands in for a GPU.
ON_ONE_DEVICE = """
import logging
import sys
from pathlib import Path
from headbench.extract.networks import keras_network, engines, trial
from headbench.extract.networks.devices import Devices
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
keras_network.find_devices = lambda asked: Devices("gpu", ("CPU:0",))
engines.GPU_BATCH, trial.XLA_AFTER = 2, 10
photos, out, weights = sys.argv[1:]
extract_features(Path(photos), Path(out), ExtractSettings("mobilenet-0.25", weights, 32))
"""


def test_a_network_by_xla_is_tried_and_agrees_and_the_choice_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path / "cache"))
    photos, weights = write_class_folders(tmp_path / "photos", 30), write_weights(tmp_path)
    said = []
    for name in ("tried.h5", "kept.h5"):
        command = [sys.executable, "-c", ON_ONE_DEVICE, photos, tmp_path / name, weights]
        done = subprocess.run(
            [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    [kept] = (tmp_path / "cache/trials").iterdir()
    assert str(kept) in said[0]
    assert "XLA, " in said[0]
    assert "note:" not in said[0]
    assert "images/s)" not in said[1]
    assert json.loads(kept.read_text())["batch_size"] in (2, 4, 8)
    extract_features(photos, tmp_path / "cpu.h5", ExtractSettings(SMALL, weights, SIZE_PX))
    found = []
    for name in ("tried.h5", "kept.h5", "cpu.h5"):
        with FeatureFile(tmp_path / name) as features:
            found.append(features.dataset("embeddings").read())
    for each in found[:2]:
        assert relative_difference(each, found[2]) < TOLERANCE
