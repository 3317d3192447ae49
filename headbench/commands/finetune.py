"""``headbench finetune``."""

import argparse
from dataclasses import fields

from headbench.classify.finetuning.finetune_settings import SCHEDULES, FinetuneSettings
from headbench.commands.options import Option, add_defaults, add_run, add_shared, at_least
from headbench.extract.settings import AUTO, DEVICES, PRECISIONS

UNFREEZE = "block5: the last block, block4: the last two, half, all, or a layer's name"
DEPTH_DECAY = "each block learns at this share of the rate of the block after it"
# Name, field of the settings, action, meaning.
FLAGS = (
    ("--fresh", "is_fresh", "store_true", "start with new weights in the layers of that head"),
    (
        "--no-augment",
        "augment",
        "store_false",
        "train on the images as they are, not cropped, mirrored and recoloured at random",
    ),
    (
        "--no-trunk-cache",
        "cache_trunk",
        "store_false",
        "run the frozen layers in every epoch, and keep none of their outputs on disk",
    ),
)


def add_finetune(command: argparse.ArgumentParser) -> None:
    """Add the options; their defaults are those of `FinetuneSettings`."""
    default = FinetuneSettings()
    add_run(command)
    add_shared(command, "weights", "data")
    command.add_argument("--again", action="store_true", help="train even what is already trained")
    what: list[Option] = [
        ("--unfreeze", str, default.unfreeze, UNFREEZE),
        ("--start", str, default.start, "trained head to start from"),
    ]
    how: list[Option] = [
        ("--epochs", at_least(0), default.epochs, "most epochs"),
        ("--patience", at_least(1), default.patience, "epochs without gain before it stops"),
        ("--learning-rate", float, default.learning_rate, "of the head"),
        ("--depth-decay", float, default.depth_decay, DEPTH_DECAY),
        ("--batch-size", at_least(1), default.batch_size, "images in a step"),
        ("--copies", at_least(1), default.copies, "augmented copies of an image, kept on disk"),
        ("--label-smoothing", float, default.label_smoothing, "0 to 1"),
        ("--weight-decay", float, default.weight_decay, "0 or more"),
        ("--seed", at_least(0), default.seed, "of the order of images and of augmentation"),
    ]
    add_defaults(command, what)
    training = command.add_argument_group("training")
    add_defaults(training, how)
    for name, choices, value, meaning in (
        ("--schedule", SCHEDULES, default.schedule, "of the learning rate"),
        ("--precision", PRECISIONS, default.precision, "arithmetic of the network"),
        ("--device", DEVICES, AUTO, "where the network runs"),
    ):
        text = f"{meaning} (default: {value})"
        training.add_argument(name, choices=choices, default=value, help=text)
    for name, goal, action, meaning in FLAGS:
        training.add_argument(name, dest=goal, action=action, help=meaning)


def settings_of(arguments: argparse.Namespace) -> dict[str, object]:
    """The fields of `FinetuneSettings` that are options."""
    given = vars(arguments)
    names = [field.name for field in fields(FinetuneSettings) if field.name in given]
    return {name: given[name] for name in names}


def finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune."""
    from headbench.notebook import Run

    Run(arguments.run, arguments.line).finetune(
        data=arguments.data,
        weights=arguments.weights,
        device=arguments.device,
        again=arguments.again,
        **settings_of(arguments),
    )
    return 0
