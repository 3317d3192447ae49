"""Sources by what users call them."""

from pathlib import Path

from extract.sources.addresses import is_address, refuse_secrets
from extract.sources.folder import Folder
from extract.sources.remote import RemoteFolder
from extract.sources.source import Source

HERE = "file://"


def open_source(data: str | Path) -> Source:
    """A source by what the user calls it; nothing is read yet.

    Parameters
    ----------
    data : path-like or URL
        A folder: one folder per class; or ``train/``, ``val/``, ``test/`` with class folders
        inside; or the layout of Food-101, ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and
        ``meta/test.txt``. The same behind any URL that fsspec knows, such as ``s3://bucket/photos``
        or ``zip://photos::s3://bucket/all.zip``.

    Raises
    ------
    DataError
        If it is a URL with a password or a query in it.
    """
    if isinstance(data, str) and is_address(data) and not data.startswith(HERE):
        refuse_secrets(data)
        return RemoteFolder(data)
    return Folder(Path(str(data).removeprefix(HERE)))
