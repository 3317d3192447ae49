"""The CPU, all GPUs, or one GPU for each process."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from headbench.extract.errors import DeviceError
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.settings import AUTO, DEVICES

CPU, GPU = DEVICES[1:]
# From Volta on (2017), NVIDIA's GPUs multiply float16 matrices several times as fast as float32.
FLOAT16_COMPUTE_CAPABILITY = (7, 0)
# TensorFlow's own setting; OpenVINO is given the same.
THREADS = "TF_NUM_INTRAOP_THREADS"
# A folder for each GPU that the driver sees, on Linux.
NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
# Where GPUs show on Linux: NVIDIA's, also of small boards, those of Windows below it, AMD's.
DEVICE_FILES = Path("/dev")
GPU_FILES = ("nvidia*", "nvhost*", "dxg", "kfd")
# Folder of packages that bring other devices to TensorFlow, such as Apple's GPUs.
PLUGINS = "tensorflow-plugins"


@dataclass(frozen=True)
class Devices:
    """Devices that share the work, by TensorFlow's names for them, such as ``GPU:0``.

    `gain_from_float16` says whether each of them is faster in float16.
    """

    kind: str
    names: tuple[str, ...]
    gain_from_float16: bool = False

    def __str__(self) -> str:
        if self.kind == GPU:
            return f"{len(self.names)} GPU" + ("s" if len(self.names) > 1 else "")
        return f"CPU, {n_cores()} core" + ("s" if n_cores() != 1 else "")


def n_cores() -> int:
    """Number of cores that networks may use."""
    return int(os.environ.get(THREADS) or os.cpu_count() or 1)


def share_cores(n_processes: int) -> None:
    """Take this process's share of the cores, before TensorFlow is imported."""
    os.environ.setdefault(THREADS, str(max(1, n_cores() // n_processes)))


def find_devices(asked: str = AUTO) -> Devices:
    """The devices to use; imports TensorFlow where it may see a GPU.

    Raises `DeviceError` if a GPU is asked for and TensorFlow sees none. ``auto``: the GPUs if there
    are any, else the CPU.
    """
    if asked == CPU or (asked == AUTO and not may_have_gpu()):
        return Devices(CPU, ("CPU:0",))
    gpus = load_tensorflow().config.list_physical_devices("GPU")
    if gpus:
        names = tuple(f"GPU:{number}" for number in range(len(gpus)))
        return Devices(GPU, names, all(_gains_from_float16(gpu) for gpu in gpus))
    if asked == GPU:
        raise DeviceError(f"--device gpu: TensorFlow sees no GPU. {_why_no_gpu()}")
    return Devices(CPU, ("CPU:0",))


def describe_devices(devices: Devices, asked: str = AUTO) -> str:
    """Where networks run, in words; mentions a GPU that TensorFlow cannot use."""
    if devices.kind == CPU and asked == AUTO and has_nvidia_gpu():
        return (
            f"{devices} (TensorFlow does not see the NVIDIA GPU of this machine. {_why_no_gpu()})"
        )
    return str(devices)


def may_have_gpu() -> bool:
    """Whether anything hints at a GPU that TensorFlow could use; TensorFlow is not imported."""
    has_file = any(any(DEVICE_FILES.glob(each)) for each in GPU_FILES)
    return has_file or has_nvidia_gpu() or find_spec(PLUGINS) is not None


def has_nvidia_gpu() -> bool:
    """Whether the machine seems to have an NVIDIA GPU; a guess without TensorFlow."""
    return shutil.which("nvidia-smi") is not None or NVIDIA_GPUS.is_dir()


def _gains_from_float16(gpu: Any) -> bool:
    details = load_tensorflow().config.experimental.get_device_details(gpu)
    return tuple(details.get("compute_capability", (0, 0))) >= FLOAT16_COMPUTE_CAPABILITY


def _why_no_gpu() -> str:
    if not has_nvidia_gpu():
        return "This machine seems to have no NVIDIA GPU: use --device cpu."
    return (
        'pip install "headbench[gpu]" installs CUDA for TensorFlow; with TF_CPP_MIN_LOG_LEVEL=0 '
        "in the environment, TensorFlow says more."
    )


# A lock is released with its object: these live as long as the process.
_HELD: list[FileLock] = []


@cache
def pin_gpu() -> int | None:
    """Reserve a GPU of this machine for this process, before TensorFlow is imported.

    Returns its number; None if there is no GPU, or CUDA_VISIBLE_DEVICES is set already.
    """
    n_gpus = len(list(NVIDIA_GPUS.glob("*")))
    if "CUDA_VISIBLE_DEVICES" in os.environ or not n_gpus:
        return None
    # More processes than GPUs: they share.
    taken = next(filter(_take, range(n_gpus)), os.getpid() % n_gpus)
    os.environ["CUDA_VISIBLE_DEVICES"] = str(taken)
    return taken


def _take(number: int) -> bool:
    """Hold a lock for as long as this process lives; its holder has the GPU."""
    path = Path(tempfile.gettempdir()) / f"headbench-gpu-{os.getuid()}-{number}.lock"
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    _HELD.append(lock)
    return True
