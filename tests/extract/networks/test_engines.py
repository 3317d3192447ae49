import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.extract.errors import DeviceError
from headbench.extract.networks import engines
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.engines import (
    Engine,
    engine_on,
    halving_engine,
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, listen, write_class_folders
from tests.small_network import SIZE_PX, SMALL, write_weights

IMAGES = np.arange(21, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


class SmallMemory:
    """An engine that has room for some images only."""

    def __init__(self, n_fitting: int) -> None:
        self.n_fitting = n_fitting
        self.sizes: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        if len(images) > self.n_fitting:
            raise load_tensorflow().errors.ResourceExhaustedError(None, None, "OOM")
        return images.mean(axis=(1, 2)).astype(np.float32)


def test_out_of_memory_halves_the_batch_and_goes_on_in_order() -> None:
    memory, said = SmallMemory(6), listen()
    engine = halving_engine(Engine("small", memory))
    np.testing.assert_array_equal(engine.infer(IMAGES)[:, 0], np.arange(21))
    assert said == [
        "out of memory with 21 images at once: continuing with 10",
        "out of memory with 10 images at once: continuing with 5",
    ]
    memory.sizes.clear()
    engine.infer(IMAGES)
    assert memory.sizes == [5, 5, 5, 5, 1]  # what did not fit is not tried again


def test_out_of_memory_in_two_threads_is_said_once() -> None:
    said = listen()
    engine = halving_engine(Engine("small", SmallMemory(16)))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(engine.infer, [IMAGES] * 8))
    assert len(said) == 1
    for result in results:
        np.testing.assert_array_equal(result[:, 0], np.arange(21))


def test_no_room_for_a_single_image_names_the_way_out() -> None:
    engine = halving_engine(Engine("small", SmallMemory(0)))
    with pytest.raises(DeviceError, match=r"with a single image. Use --device cpu"):
        engine.infer(IMAGES)


class NotingDevice:
    """A network that notes where it is traced."""

    input_shape = (None, 2, 2, 3)

    def __init__(self) -> None:
        self.devices: list[str] = []

    def __call__(self, images: Any, training: bool) -> Any:
        assert not training
        tf = load_tensorflow()
        means = tf.reduce_mean(tf.cast(images, tf.float32), axis=(1, 2))
        self.devices.append(means.op.device)
        return means


@pytest.mark.parametrize(("asked", "traced"), [("CPU:0", "/device:CPU:0"), (None, "")])
def test_a_network_is_traced_on_the_device_that_was_asked_for(
    asked: str | None, traced: str
) -> None:
    network = NotingDevice()
    engine = tensorflow_engine(lambda: network, asked)
    np.testing.assert_array_equal(engine.infer(IMAGES)[:, 0], np.arange(21))
    assert network.devices == [traced]


@pytest.mark.parametrize(("n_views", "batch_size"), [(1, 16), (2, 8), (5, 3), (99, 1)])
def test_a_batch_of_several_views_takes_the_memory_of_one(n_views: int, batch_size: int) -> None:
    engine = engine_on(Devices("cpu", ("CPU:0",)), NotingDevice, n_views)
    assert engine.batch_size == batch_size


@pytest.mark.parametrize(("n_images", "n_shares"), [(8, 2), (7, 2), (1, 2), (2, 4), (9, 4)])
def test_shares_are_equal_and_in_order(n_images: int, n_shares: int) -> None:
    shares = engines._equal_shares(IMAGES[:n_images], n_shares)
    assert len({len(share) for share in shares}) == 1
    whole = np.concatenate(shares)
    assert 0 <= len(whole) - n_images < n_shares
    np.testing.assert_array_equal(whole[:n_images], IMAGES[:n_images])
    assert (whole[n_images:] == IMAGES[n_images - 1]).all()


def test_openvino_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_openvino", lambda: False)
    with pytest.raises(DeviceError, match=r"OpenVINO is not installed\. Run pip install openvino"):
        openvino_engine(pytest.fail)


# Threads change often, so that some meet where OpenVINO uses its first array.
THREADS_BEGIN_AT_ONCE = """
import faulthandler, sys, threading
import numpy as np
import openvino
from openvino import opset8 as ops
from headbench.extract.networks.engines import run_by_openvino

faulthandler.dump_traceback_later(20, exit=True)
sys.setswitchinterval(1e-4)
pixels = ops.parameter([-1, 8, 8, 3], np.uint8)
engine = run_by_openvino(openvino.Model([ops.convert(pixels, "f32")], [pixels]))
images, barrier = np.ones((4, 8, 8, 3), np.uint8), threading.Barrier(8)

def work():
    barrier.wait()
    assert (engine.infer(images) == 1).all()

threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_threads_that_use_openvino_first_at_the_same_time_do_not_wait_for_ever() -> None:
    for _ in range(3):
        run = [sys.executable, "-c", THREADS_BEGIN_AT_ONCE]
        done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr


# Two logical devices of the CPU stand in for two GPUs. In a process of its own, because devices
# cannot be divided once TensorFlow has started.
ON_TWO_DEVICES = """
import logging
import sys
from pathlib import Path
from headbench.extract.networks import engines, keras_network
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
tf = load_tensorflow()
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
devices = Devices("gpu", ("CPU:0", "CPU:1"))
keras_network.find_devices = lambda asked: devices
seen = []
equal_shares = engines._equal_shares
def noting(images, n_shares):
    seen.append((len(images), n_shares))
    return equal_shares(images, n_shares)
engines._equal_shares = noting
photos, out, precision, weights = sys.argv[1:]
settings = ExtractSettings("mobilenet-0.25", weights, 32, batch_size=8, precision=precision)
extract_features(Path(photos), Path(out), settings)
print(sorted(set(seen)))
"""


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-5), pytest.param("mixed_float16", 5e-2, marks=pytest.mark.long)],
)
def test_several_devices_give_the_embeddings_of_one_in_order(
    tmp_path: Path, precision: str, tolerance: float
) -> None:
    photos = write_class_folders(tmp_path / "photos", n_per_class=9)
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    weights = write_weights(tmp_path)
    settings = ExtractSettings(SMALL, weights, SIZE_PX, engine="tensorflow")
    extract_features(photos, one, settings)
    arguments = [sys.executable, "-c", ON_TWO_DEVICES, photos, two, precision, weights]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{SMALL} on 2 GPUs, TensorFlow" in done.stdout
    # The sample, whole batches, and the last one of 3: each on both devices.
    assert done.stdout.splitlines()[-1] == "[(3, 2), (4, 2), (8, 2)]"
    with FeatureFile(one) as expected, FeatureFile(two) as found:
        assert found.table.paths == expected.table.paths
        assert found.identity.precision == precision
        rows = [file.dataset("embeddings").read() for file in (found, expected)]
    assert relative_difference(*rows) < tolerance


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    photos = write_class_folders(tmp_path / "photos", n_per_class=9)
    arguments = ("--weights", "random", "--size", 32, "--device", "gpu")
    done = command("headbench", "features", photos, "--name", tmp_path / "features.h5", *arguments)
    assert done.returncode == 2
    # Before it, TensorFlow's own remarks: an earlier test has set their level for all processes.
    assert done.stderr.splitlines()[-1].startswith("error: --device gpu: TensorFlow sees no GPU.")
    assert "--device cpu" in done.stderr
    assert not (tmp_path / "features.h5").exists()
