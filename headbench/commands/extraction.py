"""``headbench features`` and ``headbench verify``: make a file of embeddings, and check it."""

import argparse
from typing import TYPE_CHECKING

from headbench.cache.format import STORES
from headbench.commands.options import (
    add_machine_options,
    add_run,
    add_runtime_options,
    add_shared,
    at_least,
    machines_of,
    runtime_of,
)
from headbench.extract.networks.applications import BACKBONES, HUB, PREPROCESSINGS
from headbench.extract.settings import POOLINGS, PRECISIONS, RESIZES, VIEWS, ExtractSettings
from headbench.terminal import say

if TYPE_CHECKING:
    from headbench.cache.verify import Inspection

DAMAGED = MISMATCH = 1
MOST_SAID = 20
MARKED = (
    "The file is marked as open for writing. Close it in the program that has it open; if none "
    "has, 'headbench verify --repair' removes the mark."
)
MARK_REMOVED = "The mark that the file is open for writing was removed."


def add_features(command: argparse.ArgumentParser) -> None:
    """Add the options; their defaults are those of `ExtractSettings`."""
    default = ExtractSettings()
    command.add_argument(
        "data",
        help="a folder with a folder for each class, or with train/, val/ and test/, or in "
        "Food-101's layout; a list (.csv, .tsv, .parquet) with the columns path and label; tar "
        "shards, 'shards/{000..099}.tar'; each on this machine or behind a URL",
    )
    command.add_argument(
        "--name",
        help="name of the run, a folder in runs/; or a path (default: the name of the images)",
    )
    command.add_argument(
        "--parquet",
        metavar="FILE",
        help="also write the embeddings to this file, for other programs (extra: tables)",
    )
    add_network_options(command, default)
    add_split_options(command, default)
    add_runtime_options(command)
    add_machine_options(command, "processes on this machine (default: 1)")
    _add_file_options(command, default)
    command.add_argument(
        "--unlabelled",
        action="store_true",
        help="a folder of any structure, or a list without a column label: nothing is trained on "
        "these images; predict, similar and suggest use their embeddings",
    )


def features(arguments: argparse.Namespace) -> int:
    """Embed images."""
    from headbench.notebook import features as embed

    names = ["size", "resize", "views", "backbone", "weights", "preprocessing", "pooling", "layer"]
    names += ["precision", "seed", "val_share", "store", "max_file_size", "overwrite", "dry_run"]
    names += ["unlabelled"]
    given = {name: getattr(arguments, name) for name in names}
    machines = machines_of(arguments)
    machines["jobs"] = machines["jobs"] or 1
    run = embed(arguments.data, arguments.name, **given, **runtime_of(arguments), **machines)
    if arguments.parquet and not arguments.dry_run:
        run.to_parquet(arguments.parquet)
    return 0


def add_network_options(command: argparse.ArgumentParser, default: ExtractSettings) -> None:
    """Add the network and what is in its fingerprint."""
    group = command.add_argument_group("network")
    group.add_argument(
        "--backbone",
        default=default.backbone,
        metavar="NAME",
        help=f"{', '.join(BACKBONES)}; a Keras model of your own (.keras, .h5); "
        f"{HUB}PRESET or {HUB}FOLDER of KerasHub (default: {default.backbone})",
    )
    group.add_argument(
        "--weights",
        default=default.weights,
        help=f"imagenet, random, or a path (default: {default.weights})",
    )
    group.add_argument(
        "--size",
        type=at_least(1),
        default=default.size_px,
        metavar="PX",
        help="height and width of the network's input (default: that of the model, or 224)",
    )
    group.add_argument(
        "--preprocessing",
        choices=PREPROCESSINGS,
        help="how pixels were scaled when a model of your own was trained; other networks have "
        "their own",
    )
    group.add_argument(
        "--resize",
        choices=RESIZES,
        default=default.resize,
        help="from an image of any size to that input: cut out the centre, change the aspect "
        f"ratio, put a frame around it, or take no other size (default: {default.resize})",
    )
    group.add_argument(
        "--views",
        choices=VIEWS,
        default=default.views,
        help="average the embeddings of each image and its mirror image, or of its four corners "
        f"and its centre (default: {default.views})",
    )
    group.add_argument(
        "--pooling",
        choices=POOLINGS,
        default=default.pooling,
        help="the mean or the maximum of the last feature map, as the embedding; cls: a "
        "transformer's class token, alone or beside the mean of its patches "
        f"(default: {default.pooling})",
    )
    group.add_argument(
        "--layer",
        default=default.layer,
        metavar="NAME",
        help="cut the network at this layer, or at several joined by commas: their pooled outputs "
        "are joined (default: the last)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=default.precision,
        help="arithmetic of the network (default: auto, that of an existing file; for a new one "
        "mixed_float16 on GPUs that gain from it, bfloat16 on processors that have it for networks "
        "that lose no accuracy by it, else float32); bfloat16 is about twice as fast and rounds to "
        "3 digits",
    )


def add_split_options(command: argparse.ArgumentParser, default: ExtractSettings) -> None:
    """Add how images become train, val and test."""
    group = command.add_argument_group("split")
    group.add_argument(
        "--seed",
        type=at_least(0),
        default=default.seed,
        metavar="N",
        help=f"of the random split (default: {default.seed})",
    )
    group.add_argument(
        "--val-share",
        type=float,
        default=default.val_share,
        metavar="SHARE",
        help="share of the images for val if they have no val split (default: 0.15, or 0.2 of "
        "train if they have a test split)",
    )


def _add_file_options(command: argparse.ArgumentParser, default: ExtractSettings) -> None:
    group = command.add_argument_group("files")
    group.add_argument(
        "--store",
        choices=STORES,
        default=default.store,
        help=f"dtype of the stored embeddings; float16 halves the file (default: {default.store})",
    )
    group.add_argument(
        "--max-file-size",
        type=at_least(1),
        default=default.max_file_mb,
        metavar="MB",
        help=f"list larger image files as rejected (default: {default.max_file_mb})",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace features made with other settings"
    )


def add_verify(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_run(command)
    extent = command.add_mutually_exclusive_group()
    extent.add_argument(
        "--repair",
        action="store_true",
        help="drop damaged images; the next 'headbench features' embeds just those",
    )
    extent.add_argument(
        "--sample",
        type=at_least(1),
        metavar="N",
        help="check N random blocks of each dataset (default: all)",
    )
    command.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="of the samples (default: 0)"
    )
    again = command.add_argument_group("embed images again")
    again.add_argument(
        "--rerun",
        type=at_least(1),
        metavar="N",
        help="also embed N images again and compare (default: none)",
    )
    add_shared(again, "data", "weights")
    add_runtime_options(command)


def verify(arguments: argparse.Namespace) -> int:
    """Check, and repair or embed again if asked to; 1 if something is not as it should be."""
    from headbench.notebook import Run

    run = Run(arguments.run)
    found = run.verify(repair=arguments.repair, sample=arguments.sample, seed=arguments.seed)
    _say_found(found, arguments.repair)
    if found.damage and not arguments.repair:
        return DAMAGED
    if not arguments.rerun:
        return 0
    rerun = run.rerun(
        arguments.rerun,
        seed=arguments.seed,
        data=arguments.data,
        weights=arguments.weights,
        **runtime_of(arguments),
    )
    say(rerun.describe())
    return MISMATCH if rerun.mismatches() else 0


def _say_found(found: "Inspection", is_repaired: bool) -> None:
    say(_describe(found))
    for damage in found.damage[:MOST_SAID]:
        say(f"  {damage}")
    if len(found.damage) > MOST_SAID:
        say(f"  ... and {len(found.damage) - MOST_SAID} more")
    if found.is_marked:
        say(MARK_REMOVED if is_repaired else MARKED)
    if found.damage:
        say(_advice(found, is_repaired))


def _describe(found: "Inspection") -> str:
    return (
        f"{found.path}: {len(found.is_whole)} images, {found.n_classes} classes, {found.dim} "
        f"columns in {found.store}, {len(found.is_rejected_whole)} rejected; "
        f"{found.n_blocks_there} blocks of data\n{_verdict(found)}"
    )


def _verdict(found: "Inspection") -> str:
    if found.is_sample:
        share = f"a sample of {found.n_blocks} blocks ({found.n_blocks / found.n_blocks_there:.2%})"
        verdict = "damage found" if found.damage else "no damage found"
        return (
            f"{verdict} in {share}. Other blocks were not read. Duplicate paths were not checked."
        )
    return "damaged" if found.damage else "whole: checksums, layout, values, labels, paths"


def _advice(found: "Inspection", is_repaired: bool) -> str:
    n_lost = int((~found.is_whole).sum())
    n_rejected_lost = int((~found.is_rejected_whole).sum())
    lost = f"{n_lost} of {len(found.is_whole)} images"
    if n_rejected_lost:
        lost += f" and {n_rejected_lost} entries of /rejected"
    if is_repaired:
        return f"repaired: {lost} dropped. The next 'headbench features' embeds them again."
    if found.is_sample:
        lost += ", and those that a full check finds,"
    return (
        f"{lost} are lost. 'headbench verify --repair' drops them and keeps the others; the next "
        "'headbench features' embeds just those."
    )
