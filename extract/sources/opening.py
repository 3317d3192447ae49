"""Sources by what users call them."""

from pathlib import Path

from extract.errors import DataError
from extract.sources.addresses import is_address, refuse_secrets
from extract.sources.folder import Folder
from extract.sources.manifest import Manifest
from extract.sources.place import HERE
from extract.sources.remote import RemoteFolder
from extract.sources.shards import Shards, are_shards
from extract.sources.source import Source
from extract.sources.tables import EXTENSIONS, extension

SAVED_DATASET = "a data set saved by Hugging Face's datasets"


def open_source(data: str | Path, features: Path | None = None) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec knows, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``. A list, here or behind a URL: a file that ends in
        ``.csv``, ``.tsv`` or ``.parquet``, see `extract.sources.manifest.Manifest`. Or tar shards,
        here or behind URLs: ``shards/{000..099}.tar``, several lists of them with ``::`` in
        between.
    features : Path or None
        The feature file that is made of it: what shards hold is written down beside that.

    Raises
    ------
    DataError
        If it is a URL with a password, a token or a query in it, or shards are compressed, or it
        is a data set that Hugging Face's ``datasets`` saved.
    """
    name = str(data).removeprefix(HERE)
    refuse_secrets(name)
    if are_shards(str(data)):
        return Shards(str(data), indexes_beside(features or Path("features.h5")))
    is_far = isinstance(data, str) and is_address(data) and not data.startswith(HERE)
    folder = Path(name)
    if extension(name) in EXTENSIONS and not folder.is_dir():
        return Manifest(name)
    if is_far:
        return RemoteFolder(name)
    if _is_saved_dataset(folder):
        raise DataError(
            f"{name}: expected a folder of image files, found {SAVED_DATASET}. Hand its rows to "
            "extract.tensors.extract_dataset: docs/sources.md, 'From Python', has the lines."
        )
    return Folder(folder)


def other_kind(data: str) -> str:
    """What a user named in place of a folder of image files on this machine; empty for the rest.

    For what looks at files one by one, where they lie.
    """
    folder = Path(data)
    if folder.is_dir():
        return SAVED_DATASET if _is_saved_dataset(folder) else ""
    if are_shards(data):
        return "tar shards"
    if extension(data) in EXTENSIONS:
        return "a list of images"
    return "a URL" if is_address(data) else ""


def indexes_beside(features: Path) -> Path:
    """Where the indexes of shards lie, by the feature file that is made of them."""
    # Other processes may work in other folders.
    return features.absolute().with_name(f"{features.name}.shards")


def _is_saved_dataset(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder: of several splits, or of one table."""
    tables = ("dataset_info.json", "state.json")
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / table).is_file() for table in tables
    )
