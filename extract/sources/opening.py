"""Sources by what users call them."""

from pathlib import Path

from extract.sources.folder import Folder
from extract.sources.remote import RemoteFolder
from extract.sources.shards import Shards, are_shards
from extract.sources.source import Source


def open_source(data: str | Path, features: Path | None = None) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec knows, such as ``s3://bucket/photos``.
        Or tar shards, here or behind URLs: ``shards/{000..099}.tar``, several lists of them with
        ``::`` in between.
    features : Path or None
        The feature file that is made of it: what shards hold is written down beside that.

    Raises
    ------
    DataError
        If it is a URL and what reads it is not installed, or shards are compressed.
    """
    if are_shards(str(data)):
        return Shards(str(data), indexes_beside(features or Path("features.h5")))
    if isinstance(data, str) and "://" in data:
        return RemoteFolder(data)
    return Folder(Path(data))


def indexes_beside(features: Path) -> Path:
    """Where the indexes of shards lie, by the feature file that is made of them."""
    return features.with_name(f"{features.name}.shards")
