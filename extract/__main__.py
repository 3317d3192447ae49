"""``python -m headbench.extract DATA --out runs/NAME/features.h5``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from headbench.cache import cli
from headbench.cache.format import STORES
from headbench.extract.networks.backbone import BACKBONES
from headbench.extract.settings import (
    POOLINGS,
    PRECISIONS,
    ExtractSettings,
    add_machine_options,
    add_runtime_options,
)
from headbench.extract.stage import describe_plan, extract_features
from headbench.extract.workers.machines import Machines


def parser() -> argparse.ArgumentParser:
    """The command line of stage one; its defaults are those of `ExtractSettings`."""
    default = ExtractSettings()
    parser = argparse.ArgumentParser(
        prog="python -m headbench.extract",
        description="Run a frozen network once over a folder of labelled images and keep the "
        "embeddings in one HDF5 file. Run it again after a change: only new images are extracted.",
    )
    parser.add_argument(
        "data",
        help="one folder per class, or train/ val/ test/ with class folders inside, or the layout "
        "of Food-101, or WebDataset's tar shards, 'shards/{000..099}.tar'; on this machine, or "
        "behind a URL such as s3://bucket/photos. Or a list: a .csv, .tsv or .parquet file with "
        "the columns path and label, and, if wanted, split, group and weight",
    )
    parser.add_argument("--out", type=Path, required=True, help="the HDF5 file to write")
    _add_network_options(parser, default)
    _add_split_options(parser, default)
    add_runtime_options(parser)
    add_machine_options(parser)
    _add_file_options(parser, default)
    return parser


def _add_network_options(parser: argparse.ArgumentParser, default: ExtractSettings) -> None:
    parser.add_argument(
        "--backbone",
        default=default.backbone,
        help=f"one of {', '.join(BACKBONES)} (default {default.backbone})",
    )
    parser.add_argument(
        "--weights",
        default=default.weights,
        help=f"imagenet, random, or a path (default {default.weights})",
    )
    parser.add_argument(
        "--size",
        type=cli.at_least(1),
        default=default.size_px,
        dest="size_px",
        metavar="PX",
        help=f"height and width of the network's input (default {default.size_px})",
    )
    parser.add_argument(
        "--pooling",
        choices=POOLINGS,
        default=default.pooling,
        help=f"from the last feature map to the embedding (default {default.pooling})",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=default.precision,
        help="arithmetic of the network (default auto: that of an existing file; for a new "
        "one mixed_float16 on GPUs that gain from it, else float32)",
    )


def _add_split_options(parser: argparse.ArgumentParser, default: ExtractSettings) -> None:
    parser.add_argument(
        "--seed",
        type=cli.at_least(0),
        default=default.seed,
        help=f"of the split (default {default.seed})",
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=default.val_share,
        help="share of val, where the folder does not name it (default 0.15, or 0.2 of train)",
    )


def _add_file_options(parser: argparse.ArgumentParser, default: ExtractSettings) -> None:
    parser.add_argument(
        "--store",
        choices=STORES,
        default=default.store,
        help=f"how to keep the embeddings; float16 halves the file (default {default.store})",
    )
    parser.add_argument(
        "--max-file-size",
        type=cli.at_least(1),
        default=default.max_file_mb,
        dest="max_file_mb",
        metavar="MB",
        help=f"list larger image files as rejected (default {default.max_file_mb})",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that was made with other settings"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Extract; returns the exit code."""
    arguments = vars(parser().parse_args(argv))
    data, out, is_dry = (arguments.pop(name) for name in ("data", "out", "dry_run"))
    n_jobs, backend, scheduler = (arguments.pop(name) for name in ("jobs", "backend", "scheduler"))
    machines = Machines(n_jobs or Machines().n_jobs, backend, scheduler)
    run = describe_plan if is_dry else extract_features
    run(data, out, ExtractSettings(**arguments), machines)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
