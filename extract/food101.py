"""``python -m extract.food101 FOLDER``: the official archive of Food-101, fetched and unpacked."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from cache import cli
from cache.disk import require_free
from cache.lock import one_writer
from extract.download import check_sha256, download
from extract.errors import DataError
from extract.sources.folder import LISTS
from extract.unpack import unpack

URL = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"
# torchvision's; its MD5, which more programs know, is 85eeb15f3717b99a5da872d97d918f87. The address
# is not encrypted: this is what makes sure of the content.
SHA256 = "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"
TOP = "food-101"
# JPEG files are no larger outside of an archive, but there each takes whole blocks of the disk.
UNPACKED = 1.1


def fetch_food101(folder: Path, url: str, sha256: str, say: Callable[[str], None]) -> None:
    """See to it that Food-101 is in a folder.

    The archive comes to lie beside it and stays there.

    Parameters
    ----------
    folder : Path
        What ``food-101/`` of the archive becomes; nothing is done if it is there.
    url, sha256 : str
        Of the archive.
    say : callable
        Told what is done.

    Raises
    ------
    DownloadError, StorageError
        If the archive cannot be had, is another one, or has no room.
    DataError
        If another folder is there, or the archive does not hold Food-101's layout.
    """
    if _is_food101(folder):
        say(f"{folder}: Food-101 is there, nothing to fetch")
        return
    if folder.exists():
        raise DataError(
            f"{folder}: expected Food-101 (images/ and meta/train.txt, meta/test.txt) or nothing, "
            "found something else. Move it away, or name another folder (make: DATA=folder)."
        )
    archive = folder.parent / f"{TOP}.tar.gz"
    with one_writer(folder):
        if archive.exists():
            say(f"{archive}: checking it")
            check_sha256(archive, sha256, archive)
        else:
            say(f"{url}: to {archive}")
            download(url, archive, sha256, 1 + UNPACKED, say)
        n_bytes = archive.stat().st_size
        require_free(folder.parent, round(UNPACKED * n_bytes), f"what is in {archive}")
        say(f"{archive}: unpacking to {folder}")
        unpack(archive, TOP, folder, _is_food101)
    say(
        f"{folder}: Food-101. {archive} ({n_bytes:,} bytes) is kept: delete it if you want the "
        "space, nothing needs it any more."
    )


def parser() -> argparse.ArgumentParser:
    """The command line; its defaults are the official archive's."""
    parser = argparse.ArgumentParser(
        prog="python -m extract.food101",
        description="Fetch the archive of Food-101, 5 GB, and unpack it: 101 000 photographs of "
        "101 classes. Stopped, the same command goes on; done, it does nothing.",
    )
    parser.add_argument(
        "folder", type=Path, help="what to make; the archive comes to lie beside it"
    )
    parser.add_argument(
        "--url", type=_address, default=URL, help=f"of a copy of the archive (default {URL})"
    )
    parser.add_argument(
        "--sha256",
        type=_digest,
        default=SHA256,
        help="of that copy (default: that of the official archive)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch and unpack; returns the exit code."""
    fetch_food101(**vars(parser().parse_args(argv)), say=tqdm.write)
    return 0


def _is_food101(folder: Path) -> bool:
    is_listed = all((folder / path).is_file() for path in LISTS.values())
    return is_listed and (folder / "images").is_dir()


def _address(text: str) -> str:
    if not re.match("https?://.", text):
        raise argparse.ArgumentTypeError(f"expected http:// or https:// and more, found {text!r}")
    return text


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"expected 64 hexadecimal digits, found {text!r}")
    return text.lower()


if __name__ == "__main__":
    sys.exit(cli.run(main))
