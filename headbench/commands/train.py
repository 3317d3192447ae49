"""``headbench heads``: train heads."""

import argparse
from pathlib import Path

from headbench.classify.heads.registry import HEADS
from headbench.classify.train_settings import STREAM
from headbench.commands.options import add_machine_options, add_run, at_least, machines_of

# Options that are parameters of some heads, whole numbers.
COMMON = {
    "max-iter": "logreg: most iterations for each C",
    "max-rounds": "lightgbm: most rounds",
    "max-epochs": "mlp: most epochs",
    "batch-size": "mlp: images in a step",
    "patience": "lightgbm, mlp: rounds or epochs without gain before training stops",
}


def add_heads(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    command.add_argument(
        "--heads",
        nargs="+",
        default=[],
        metavar="HEAD",
        help=f"{', '.join(HEADS)}, mlp-WIDTH-WIDTH (default: all)",
    )
    command.add_argument("--seed", type=at_least(0), metavar="N", help="of the heads (default: 0)")
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file of settings (default: none)"
    )
    command.add_argument("--again", action="store_true", help="train what would be reused too")
    _add_settings(command)
    _add_studies(command)
    add_machine_options(
        command,
        "fits at a time for --curve and --folds, if memory allows (default: the number of cores)",
    )


def heads(arguments: argparse.Namespace) -> int:
    """Train heads, then what else was asked for."""
    from headbench.notebook import Run

    names = [name for each in arguments.heads for name in each.split(",") if name]
    asked = ("seed", "config", "again", "class_weight", "refit", "stream", "curve", "folds")
    parameters = ("c_grid", *(name.replace("-", "_") for name in COMMON))
    given = {name: getattr(arguments, name) for name in asked}
    given |= {name: value for name in parameters if (value := getattr(arguments, name)) is not None}
    Run(arguments.run, arguments.line).heads(*names, **given, **machines_of(arguments))
    return 0


def _add_settings(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("settings of heads")
    group.add_argument(
        "--class-weight", choices=["balanced"], help="rare classes weigh as much as common ones"
    )
    group.add_argument(
        "--c-grid", type=float, nargs="+", metavar="C", help="logreg: values of C, ascending"
    )
    for name, meaning in COMMON.items():
        group.add_argument(f"--{name}", type=at_least(1), metavar="N", help=meaning)
    group.add_argument(
        "--refit", action="store_true", help="then fit again on train and val together"
    )
    group.add_argument(
        "--stream",
        choices=STREAM,
        help="read embeddings from the file while training (default: auto, if they do not fit in "
        "memory)",
    )


def _add_studies(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("studies")
    group.add_argument(
        "--curve", action="store_true", help="learning curve: every head on 1 to 100 %% of train"
    )
    group.add_argument(
        "--folds", type=at_least(3), metavar="N", help="cross-validation on train and val"
    )
