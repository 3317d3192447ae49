import os
from types import SimpleNamespace

import pytest

from headbench.extract import stage
from headbench.extract.errors import DeviceError
from headbench.extract.networks import devices
from headbench.extract.networks.backbone import MeanColor
from headbench.extract.networks.devices import Devices, describe_devices, find_devices
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import ExtractSettings
from headbench.extract.workers.machines import Machines
from tests.conftest import listen


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int] | None) -> None:
    """TensorFlow sees GPUs; None is one that does not tell its compute capability."""
    config = load_tensorflow().config
    gpus = [SimpleNamespace(capability=capability) for capability in capabilities]
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setattr(config, "list_physical_devices", lambda _: gpus)
    monkeypatch.setattr(
        config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": gpu.capability} if gpu.capability else {},
    )


def test_every_gpu_is_used_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, (8, 0), (7, 5))
    found = find_devices()
    assert found == Devices("gpu", ("GPU:0", "GPU:1"), gain_from_float16=True)
    assert str(found) == "2 GPUs"
    assert find_devices("gpu") == found


def test_the_cpu_is_used_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, (8, 0))
    assert find_devices("cpu").kind == "cpu"


@pytest.mark.parametrize("capabilities", [[(6, 1)], [(8, 0), (6, 1)], [None]])
def test_float16_is_for_gpus_that_gain_from_it_all(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int] | None]
) -> None:
    pretend_gpus(monkeypatch, *capabilities)
    assert not find_devices().gain_from_float16


def test_a_gpu_that_tensorflow_cannot_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: True)
    assert "headbench[gpu]" in describe_devices(find_devices())
    assert "EXTRAS" not in describe_devices(find_devices("cpu"), "cpu")
    with pytest.raises(DeviceError, match=r"sees no GPU.*headbench\[gpu\]"):
        find_devices("gpu")


@pytest.mark.parametrize(
    ("asked", "capability", "chosen"),
    [
        ("auto", (8, 0), "mixed_float16"),
        ("auto", (6, 1), "float32"),
        ("float32", (8, 0), "float32"),
        ("mixed_float16", (6, 1), "mixed_float16"),
    ],
)
def test_the_precision_of_a_new_file_is_what_the_gpu_gains_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path, asked: str, capability: tuple[int, int], chosen: str
) -> None:
    pretend_gpus(monkeypatch, capability)
    settings = ExtractSettings(precision=asked)
    assert stage._choose_precision(tmp_path / "features.h5", settings, Machines()) == chosen


@pytest.mark.parametrize(
    ("settings", "machines", "chosen"),
    [
        ({}, {}, "bfloat16"),
        ({"backbone": "densenet169", "weights": "a.h5", "engine": "openvino"}, {}, "bfloat16"),
        # Heads lose accuracy, or nobody measured it.
        ({"backbone": "mobilenet-0.25"}, {}, "float32"),
        ({"weights": "random"}, {}, "float32"),
        ({"engine": "tensorflow"}, {}, "float32"),
        ({"precision": "float32"}, {}, "float32"),
        # The workers may have other processors.
        ({}, {"backend": "dask", "scheduler": "tcp://10.0.0.1:8786"}, "float32"),
    ],
)
def test_a_processor_with_bfloat16_computes_in_it_where_no_accuracy_is_lost(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path,
    settings: dict[str, str],
    machines: dict[str, str],
    chosen: str,
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: False)
    monkeypatch.setattr(stage, "cpu_has_bfloat16", lambda: True)
    asked, where = ExtractSettings(**settings), Machines(**machines)
    assert stage._choose_precision(tmp_path / "features.h5", asked, where) == chosen
    monkeypatch.setattr(stage, "cpu_has_bfloat16", lambda: False)
    assert stage._choose_precision(tmp_path / "features.h5", asked, where) == "float32"


def test_bfloat16_that_nobody_asked_for_is_said_when_a_run_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: False)
    monkeypatch.setattr(stage, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(stage, "create_backbone", lambda *_, **__: MeanColor(16))
    said, out = listen(), tmp_path / "features.h5"
    stage.choose_backbone(ExtractSettings(), out)
    assert [line.split(":")[0] for line in said] == ["precision bfloat16"]
    stage.choose_backbone(ExtractSettings(precision="bfloat16"), out)
    out.touch()
    stage.choose_backbone(ExtractSettings(), out)
    assert len(said) == 1


def test_without_a_gpu_the_precision_is_float32_and_tensorflow_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: False)
    monkeypatch.setattr(devices, "load_tensorflow", pytest.fail)
    monkeypatch.setattr(stage, "cpu_has_bfloat16", lambda: False)
    out = tmp_path / "features.h5"
    assert stage._choose_precision(out, ExtractSettings(), Machines()) == "float32"
    for asked in ("auto", "cpu"):
        assert find_devices(asked) == Devices("cpu", ("CPU:0",))
    for asked, hint in (("gpu", False), ("auto", True)):
        monkeypatch.setattr(devices, "may_have_gpu", lambda hint=hint: hint)
        with pytest.raises(pytest.fail.Exception):
            find_devices(asked)


@pytest.mark.parametrize("hint", ["nvidia0", "nvhost-gpu", "dxg", "kfd", "driver", "nvidia-smi"])
def test_whatever_hints_at_a_gpu_makes_tensorflow_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path, hint: str
) -> None:
    monkeypatch.setattr(devices, "DEVICE_FILES", tmp_path)
    monkeypatch.setattr(devices, "NVIDIA_GPUS", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert not devices.may_have_gpu()
    path = {"driver": tmp_path / "gpus/0", "nvidia-smi": tmp_path / "bin/nvidia-smi"}
    made = path.get(hint, tmp_path / hint)
    made.parent.mkdir(exist_ok=True)
    made.touch(mode=0o755)
    assert devices.may_have_gpu()


def test_a_package_that_brings_devices_hints_at_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(devices, "GPU_FILES", ())
    monkeypatch.setattr(devices, "find_spec", lambda name: name == "tensorflow-plugins" or None)
    assert devices.may_have_gpu()


def test_processes_share_the_cores_unless_the_user_has_said_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "environ", {})
    assert str(Devices("cpu", ("CPU:0",))) == "CPU, 16 cores"
    devices.share_cores(3)
    devices.share_cores(3)  # at every block
    assert os.environ == {devices.THREADS: "5"}
    assert str(Devices("cpu", ("CPU:0",))) == "CPU, 5 cores"
    monkeypatch.setattr(os, "environ", {})
    devices.share_cores(40)
    assert str(Devices("cpu", ("CPU:0",))) == "CPU, 1 core"
    monkeypatch.setattr(os, "environ", {devices.THREADS: "8"})
    devices.share_cores(3)
    assert os.environ == {devices.THREADS: "8"}
