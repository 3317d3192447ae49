"""Options that several commands have, and types of options."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from headbench.classify.deployment import FALSE_ALARMS
from headbench.extract.settings import DEVICES, ENGINES, Runtime
from headbench.extract.workers.machines import BACKENDS, Machines

# Name, type, default, meaning.
Option = tuple[str, Callable[[str], object], object, str]
# A parser, or a group of options in it.
Container = argparse._ActionsContainer

_SHARED = {
    "data": "folder or URL of the images, if they were moved",
    "weights": "the network's weights, if they were moved",
    "head": "a trained head or 'finetuned' (default: the best balanced accuracy on val)",
}


def add_run(command: argparse.ArgumentParser) -> None:
    """Add the run that a command works on."""
    command.add_argument(
        "run",
        nargs="?",
        help="name of a run, such as photos for runs/photos, or its folder (default: that of the "
        "last 'headbench features')",
    )


def add_shared(command: Container, *names: str) -> None:
    """Add some of the options ``data``, ``weights`` and ``head``."""
    for name in names:
        command.add_argument(f"--{name}", metavar=name.upper(), help=_SHARED[name])


def add_defaults(command: Container, options: Iterable[Option]) -> None:
    """Add options; the default of each is shown."""
    for name, kind, value, meaning in options:
        shown = f"{value:g}" if isinstance(value, float) else value
        command.add_argument(
            name,
            type=kind,
            default=value,
            metavar=metavar(kind),
            help=f"{meaning} (default: {shown})",
        )


def metavar(kind: Callable[[str], object]) -> str:
    """What stands for a value in the help."""
    return "TEXT" if kind is str else "N"


def at_least(smallest: int) -> Callable[[str], int]:
    """Type of an option: a whole number from `smallest` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {smallest} on, found {text!r}"
            )
        return int(text)

    return parse


def share(text: str) -> float:
    """Type of an option: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def add_doubts(command: Container) -> None:
    """Add how predictions are doubted."""
    command.add_argument(
        "--coverage",
        type=_between,
        metavar="P",
        help="also give the set of classes that holds the true one with this probability, such as "
        "0.9",
    )
    command.add_argument(
        "--false-alarms",
        type=share,
        default=FALSE_ALARMS,
        metavar="P",
        help="share of images like those of val that may be reported as of none of the classes, 0 "
        f"to 1 (default: {FALSE_ALARMS:g})",
    )


def _between(text: str) -> float:
    value = share(text)
    if value in (0, 1):
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, found {text!r}")
    return value


def add_runtime_options(command: argparse.ArgumentParser, *, has_batch_size: bool = True) -> None:
    """Add what decides how fast a network runs; the defaults are those of `Runtime`."""
    default = Runtime()
    group = command.add_argument_group("speed")
    group.add_argument(
        "--device",
        choices=DEVICES,
        default=default.device,
        help="where the network runs; auto: all GPUs that TensorFlow sees, else the CPU "
        "(default: auto)",
    )
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default=default.engine,
        help="what runs the network; auto: OpenVINO on a CPU if it is installed, else TensorFlow "
        "(default: auto)",
    )
    if has_batch_size:
        group.add_argument(
            "--batch-size",
            type=at_least(1),
            default=default.batch_size,
            metavar="N",
            help="images in one pass through the network (default: what suits the device)",
        )


def runtime_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was chosen by those options, as keyword arguments."""
    return {name: getattr(arguments, name) for name in ("device", "engine", "batch_size")}


def add_machine_options(command: argparse.ArgumentParser, jobs: str) -> None:
    """Add where work is done; `jobs` says what ``--jobs`` means."""
    default = Machines()
    group = command.add_argument_group("processes and machines")
    group.add_argument("--jobs", type=at_least(1), metavar="N", help=jobs)
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=default.backend,
        help="local: this machine; dask: the workers of a running Dask cluster "
        f"(default: {default.backend})",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="the scheduler of that cluster, such as tcp://10.0.0.1:8786",
    )


def machines_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was chosen by those options, as keyword arguments."""
    return {name: getattr(arguments, name) for name in ("jobs", "backend", "scheduler")}
