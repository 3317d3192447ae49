"""``python -m headbench.classify finetune``."""

import argparse
from collections.abc import Callable
from dataclasses import fields

from headbench.cache import cli
from headbench.classify.commands.options import Commands, add_data, add_run, add_weights
from headbench.classify.finetuning.finetune_settings import SCHEDULES, FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import Run
from headbench.extract.settings import AUTO, DEVICES, PRECISIONS


def add(commands: Commands) -> None:
    """Add the command."""
    default = FinetuneSettings()
    command = add_run(
        commands,
        "finetune",
        run_finetune,
        "train the top blocks of the network, starting from a trained head",
    )
    add_weights(command)
    add_data(command)
    command.add_argument(
        "--unfreeze",
        default=default.unfreeze,
        metavar="WHAT",
        help=f"block5: the last block, block4: the last two, half, all, or a layer's name "
        f"(default {default.unfreeze})",
    )
    command.add_argument(
        "--start",
        default=default.start,
        help=f"trained head to start from (default {default.start})",
    )
    numbers: list[tuple[str, Callable[[str], object], object]] = [
        ("--epochs", cli.at_least(0), default.epochs),
        ("--patience", cli.at_least(1), default.patience),
        ("--learning-rate", float, default.learning_rate),
        ("--depth-decay", float, default.depth_decay),
        ("--batch-size", cli.at_least(1), default.batch_size),
        ("--label-smoothing", float, default.label_smoothing),
        ("--weight-decay", float, default.weight_decay),
        ("--seed", cli.at_least(0), default.seed),
    ]
    for name, kind, value in numbers:
        command.add_argument(name, type=kind, default=value, help=f"default {value}")
    command.add_argument(
        "--fresh",
        dest="is_fresh",
        action="store_true",
        help="use the layers of that head with new weights",
    )
    command.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default=default.schedule,
        help=f"of the learning rate (default {default.schedule})",
    )
    command.add_argument(
        "--augment", action="store_true", help="flip, crop and colour the images of train"
    )
    command.add_argument(
        "--no-trunk-cache",
        dest="cache_trunk",
        action="store_false",
        help="run the frozen part in every epoch instead of keeping its activations on disk",
    )
    command.add_argument("--precision", choices=PRECISIONS, default=default.precision)
    command.add_argument("--device", choices=DEVICES, default=AUTO)
    command.add_argument("--again", action="store_true", help="train even what is already trained")


def settings_of(arguments: argparse.Namespace) -> FinetuneSettings:
    """The settings that were given, and the defaults of the others."""
    given = vars(arguments)
    names = [field.name for field in fields(FinetuneSettings) if field.name in given]
    return FinetuneSettings(**{name: given[name] for name in names})


def run_finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune."""
    finetune(
        Run(arguments.run),
        settings_of(arguments),
        arguments.data,
        arguments.weights,
        arguments.line,
        arguments.device,
        arguments.again,
    )
    return 0
