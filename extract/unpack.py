"""A folder out of an archive: whole, or not there at all."""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from cache.disk import replacing_folder
from cache.errors import StorageError
from cache.format import leads_inside
from extract.errors import DataError
from extract.progress import BYTES, Progress

CHUNK_BYTES = 1 << 20


def unpack(archive: Path, top: str, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    """Unpack one folder of a .tar.gz file.

    It grows beside `folder`, hidden, and takes that name at the end: what a killed run leaves is
    cleared away by the next one.

    Parameters
    ----------
    archive : Path
    top : str
        The folder inside; what lies beside it is left there.
    folder : Path
        What is to become of it; nothing may be there.
    is_whole : callable
        Whether what came out is what was expected.

    Raises
    ------
    DataError
        If that is no such archive, or anything in it is neither a file nor a folder, or would be
        written elsewhere.
    StorageError
        If the disk is full, or cannot be written to.
    """
    try:
        with replacing_folder(folder) as temporary:
            _extract(archive, top, temporary)
            if not is_whole(temporary):
                raise DataError(f"{archive}: expected {top}/ with all that belongs to it in it.")
            # A machine that loses power must not be left with the name and without the files.
            os.sync()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{archive}: expected an archive, .tar.gz, found: {error}.") from error
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written: {error.strerror or error}. {archive} is whole; mend "
            "that and run the same command again."
        ) from error


def _extract(archive: Path, top: str, folder: Path) -> None:
    n_bytes, n_read = archive.stat().st_size, 0
    with (
        archive.open("rb") as file,
        Progress("unpack", n_bytes, BYTES) as progress,
        gzip.open(file) as content,
        tarfile.open(fileobj=content, mode="r:") as members,
    ):
        for member in members:
            _refuse_what_leads_elsewhere(member, archive)
            path = Path(member.name)
            if top in path.parts[:1]:
                _write(members, member, folder / path.relative_to(top))
            progress.update(file.tell() - n_read)
            n_read = file.tell()
        # tarfile takes damage to be the end; the checksum of gzip, which comes last, tells it.
        while content.read(CHUNK_BYTES):
            pass


def _refuse_what_leads_elsewhere(member: tarfile.TarInfo, archive: Path) -> None:
    if not (member.isreg() or member.isdir()) or not leads_inside(member.name):
        raise DataError(
            f"{archive}: {member.name!r} is a link, a device or a path that leaves the folder. "
            "Nothing of it is kept: fetch the archive from a source that you trust."
        )


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Contents only; owners, permissions and times are ours.

    Not by tarfile's filter for data: it lets links pass, and Python before 3.11.4 has none.
    """
    content = members.extractfile(member)
    if content is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
