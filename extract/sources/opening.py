"""Sources by what users call them."""

from pathlib import Path

from extract.sources.addresses import is_address, refuse_secrets
from extract.sources.folder import Folder
from extract.sources.huggingface import HuggingFace, is_saved_dataset
from extract.sources.manifest import Manifest
from extract.sources.place import HERE
from extract.sources.remote import RemoteFolder
from extract.sources.shards import Shards, are_shards
from extract.sources.source import Source
from extract.sources.tables import EXTENSIONS, extension


def open_source(data: str | Path, features: Path | None = None) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec knows, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``. A list, here or behind a URL: a file that ends in
        ``.csv``, ``.tsv`` or ``.parquet``, see `extract.sources.manifest.Manifest`. A folder here
        that Hugging Face's ``datasets`` saved. Or tar shards, here or behind URLs:
        ``shards/{000..099}.tar``, several lists of them with ``::`` in between.
    features : Path or None
        The feature file that is made of it: what shards hold is written down beside that.

    Raises
    ------
    DataError
        If it is a URL with a password or a query in it, or shards are compressed.
    """
    if are_shards(str(data)):
        refuse_secrets(str(data))
        return Shards(str(data), indexes_beside(features or Path("features.h5")))
    is_far = isinstance(data, str) and is_address(data) and not data.startswith(HERE)
    name = str(data).removeprefix(HERE)
    if is_far:
        refuse_secrets(name)
    folder = Path(name)
    if extension(name) in EXTENSIONS and not folder.is_dir():
        return Manifest(name)
    if is_far:
        return RemoteFolder(name)
    return HuggingFace(folder) if is_saved_dataset(folder) else Folder(folder)


def other_kind(data: str) -> str:
    """What a user named in place of a folder of image files on this machine; empty for the rest.

    For what looks at files one by one, where they lie.
    """
    folder = Path(data)
    if folder.is_dir():
        return "a data set saved by Hugging Face's datasets" if is_saved_dataset(folder) else ""
    if are_shards(data):
        return "tar shards"
    if extension(data) in EXTENSIONS:
        return "a list of images"
    return "a URL" if is_address(data) else ""


def indexes_beside(features: Path) -> Path:
    """Where the indexes of shards lie, by the feature file that is made of them."""
    # Other processes may work in other folders.
    return features.absolute().with_name(f"{features.name}.shards")
