"""Sources by what users call them."""

from pathlib import Path

from extract.sources.addresses import is_address, refuse_secrets
from extract.sources.folder import Folder
from extract.sources.huggingface import HuggingFace, is_saved_dataset
from extract.sources.manifest import Manifest
from extract.sources.places import FILE
from extract.sources.remote import RemoteFolder
from extract.sources.source import Source
from extract.sources.tables import EXTENSIONS, extension


def open_source(data: str | Path) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec knows, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``. A list, here or behind a URL: a file that ends in
        ``.csv``, ``.tsv`` or ``.parquet``, see `extract.sources.manifest.Manifest`. A folder here
        that Hugging Face's ``datasets`` saved.

    Raises
    ------
    DataError
        If it is a URL with a password or a query in it.
    """
    is_far = isinstance(data, str) and is_address(data) and not data.startswith(FILE)
    name = str(data).removeprefix(FILE)
    if is_far:
        refuse_secrets(name)
    folder = Path(name)
    if extension(name) in EXTENSIONS and not folder.is_dir():
        return Manifest(name)
    if is_far:
        return RemoteFolder(name)
    return HuggingFace(folder) if is_saved_dataset(folder) else Folder(folder)
