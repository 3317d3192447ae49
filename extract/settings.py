"""What a user may choose for stage one, and its command-line options."""

import argparse
from dataclasses import dataclass

from headbench.cache import cli
from headbench.cache.format import STORES
from headbench.extract.networks.weights import IMAGENET
from headbench.extract.workers.machines import BACKENDS, Machines

AUTO = "auto"
DEVICES = (AUTO, "cpu", "gpu")
TENSORFLOW, OPENVINO = "tensorflow", "openvino"
ENGINES = (AUTO, TENSORFLOW, OPENVINO)
POOLINGS = ("avg", "max")
FLOAT32, MIXED_FLOAT16 = "float32", "mixed_float16"
PRECISIONS = (AUTO, FLOAT32, MIXED_FLOAT16)


@dataclass(frozen=True)
class Runtime:
    """How a network is run: this affects speed and memory, not the embeddings.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
        ``auto``: every GPU that TensorFlow sees, else the CPU.
    engine : {"auto", "tensorflow", "openvino"}
        ``auto``: OpenVINO if it is installed and the network runs on a CPU, else TensorFlow.
    batch_size : int or None
        Images in one pass through the network; None for what suits the device.
    """

    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of an extraction; the command line takes its defaults from here.

    Attributes
    ----------
    weights : str
        ``imagenet``, ``random`` or a path.
    pooling : {"avg", "max"}
        From the last feature map to the embedding.
    precision : {"auto", "float32", "mixed_float16"}
        Arithmetic of the network. ``auto``: that of an existing file; for a new file mixed_float16
        (float16 inside, float32 embeddings) on GPUs that gain from it, else float32.
    val_share : float or None
        Share of the images for val if the data has no val split; None for 0.15, or for 0.2 of
        train if the data has a test split.
    device, engine, batch_size
        See `Runtime`.
    store : str
        ``float32`` or ``float16``: dtype of the stored embeddings.
    overwrite : bool
        Replace a feature file that was made with other settings.
    max_file_mb : int
        Larger image files, in millions of bytes, are listed as rejected.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int = 224
    pooling: str = POOLINGS[0]
    precision: str = AUTO
    seed: int = 0
    val_share: float | None = None
    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None
    store: str = STORES[0]
    overwrite: bool = False
    max_file_mb: int = 512

    @property
    def runtime(self) -> Runtime:
        """How the network is run."""
        return Runtime(self.device, self.engine, self.batch_size)


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide how fast a network runs; defaults are those of `Runtime`."""
    add_device_options(parser)
    parser.add_argument(
        "--batch-size",
        type=cli.at_least(1),
        default=Runtime().batch_size,
        help="images in one pass through the network (default: what suits the device)",
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for device and engine, for commands that choose their own batches."""
    default = Runtime()
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=default.device,
        help="where the network runs; auto: all GPUs if TensorFlow sees any, else the CPU "
        "(default auto)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=default.engine,
        help="what runs the network; auto: OpenVINO on a CPU if it is installed, else TensorFlow "
        "(default auto)",
    )


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """The `Runtime` that these options chose."""
    return Runtime(arguments.device, arguments.engine, arguments.batch_size)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide where work is done; defaults are those of `Machines`."""
    default = Machines()
    parser.add_argument(
        "--jobs",
        type=cli.at_least(1),
        help=f"number of processes on this machine (default {default.n_jobs})",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=default.backend,
        help="local: processes on this machine; dask: workers of a running Dask cluster "
        f"(default {default.backend})",
    )
    parser.add_argument(
        "--scheduler", help="address of the Dask scheduler, such as tcp://10.0.0.1:8786"
    )


def machines_of(arguments: argparse.Namespace) -> Machines:
    """The `Machines` that these options chose."""
    n_jobs = arguments.jobs or Machines().n_jobs
    return Machines(n_jobs, arguments.backend, arguments.scheduler)
