"""Options of every command that runs a network, or works on several machines."""

import argparse

from cache import cli
from extract.machines import BACKENDS, Machines
from extract.settings import DEVICES, ENGINES, Runtime


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides how fast a network runs; the defaults are those of `Runtime`."""
    add_device_options(parser)
    parser.add_argument(
        "--batch-size",
        type=cli.at_least(1),
        default=Runtime().batch_size,
        help="images at once (default: what suits the device)",
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add where a network runs and by what, for a command that makes its batches otherwise."""
    default = Runtime()
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=default.device,
        help="auto: every GPU that TensorFlow sees, else the CPU (default auto)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=default.engine,
        help="auto: OpenVINO on a CPU, if it is installed, else TensorFlow (default auto)",
    )


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """What was chosen by those options."""
    return Runtime(arguments.device, arguments.engine, arguments.batch_size)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add where work is done; the defaults are those of `Machines`."""
    default = Machines()
    parser.add_argument(
        "--jobs",
        type=cli.at_least(1),
        help=f"processes on this machine (default {default.n_jobs})",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=default.backend,
        help=f"dask: the workers of a running cluster (default {default.backend})",
    )
    parser.add_argument("--scheduler", help="of that cluster, such as tcp://10.0.0.1:8786")


def machines_of(arguments: argparse.Namespace) -> Machines:
    """What was chosen by those options."""
    n_jobs = arguments.jobs or Machines().n_jobs
    return Machines(n_jobs, arguments.backend, arguments.scheduler)
