"""``python -m headbench.classify finetune``."""

import argparse
from dataclasses import fields

from headbench.cache import cli
from headbench.classify.commands.options import Commands, Option, add_defaults, add_run, add_shared
from headbench.classify.finetuning.finetune_settings import SCHEDULES, FinetuneSettings
from headbench.classify.finetuning.finetune_stage import finetune
from headbench.classify.run import Run
from headbench.extract.settings import AUTO, DEVICES, PRECISIONS

# Name, field of the settings, action, meaning.
FLAGS = (
    ("--fresh", "is_fresh", "store_true", "use the layers of that head with new weights"),
    ("--augment", "augment", "store_true", "flip, crop and colour the images of train"),
    (
        "--no-trunk-cache",
        "cache_trunk",
        "store_false",
        "run the frozen part in every epoch instead of keeping its activations on disk",
    ),
    ("--again", "again", "store_true", "train even what is already trained"),
)


def add(commands: Commands) -> None:
    """Add the command."""
    summary = "train the top blocks of the network, starting from a trained head"
    command = add_run(commands, "finetune", run_finetune, summary)
    add_shared(command, "weights", "data")
    default = FinetuneSettings()
    unfreeze = "block5: the last block, block4: the last two, half, all, or a layer's name"
    options: list[Option] = [
        ("--unfreeze", str, default.unfreeze, unfreeze),
        ("--start", str, default.start, "trained head to start from"),
        ("--epochs", cli.at_least(0), default.epochs, ""),
        ("--patience", cli.at_least(1), default.patience, ""),
        ("--learning-rate", float, default.learning_rate, ""),
        ("--depth-decay", float, default.depth_decay, ""),
        ("--batch-size", cli.at_least(1), default.batch_size, ""),
        ("--label-smoothing", float, default.label_smoothing, ""),
        ("--weight-decay", float, default.weight_decay, ""),
        ("--seed", cli.at_least(0), default.seed, ""),
    ]
    add_defaults(command, options)
    for name, choices, value, meaning in (
        (
            "--schedule",
            SCHEDULES,
            default.schedule,
            f"of the learning rate (default {default.schedule})",
        ),
        ("--precision", PRECISIONS, default.precision, None),
        ("--device", DEVICES, AUTO, None),
    ):
        command.add_argument(name, choices=choices, default=value, help=meaning)
    for name, goal, action, meaning in FLAGS:
        command.add_argument(name, dest=goal, action=action, help=meaning)


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
