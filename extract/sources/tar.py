"""The members of a tar file, from its beginning to its end; of a damaged one those before that."""

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from cache.errors import HeadbenchError
from extract.sources.layouts import has_image_name, is_system_file, printable
from extract.sources.place import Stream

# After the key of a member that holds a class.
LABELS = ("cls", "cls.txt", "json")
MOST_LABEL_BYTES = 1 << 20
# As much as file systems allow.
LONGEST_PATH = 4096
END_OF_TAR = bytes(tarfile.BLOCKSIZE)


class Member(NamedTuple):
    """A file in a tar file.

    Attributes
    ----------
    name : str
        Empty for the tar file itself.
    offset, n_bytes : int
        Where its bytes lie in the tar file.
    data : bytes
        Those of images and classes; other members are not read.
    reason : str
        Why it cannot be used; empty where nothing is known against it.
    """

    name: str
    offset: int = 0
    n_bytes: int = 0
    data: bytes = b""
    reason: str = ""

    @property
    def key(self) -> str:
        """What it has in common with the other members of its sample."""
        return self.name.removesuffix(f".{self.extension}") if self.extension else self.name

    @property
    def extension(self) -> str:
        """What stands after the key and a dot; empty for a hidden file."""
        start, _, extension = self.name.rpartition("/")[2].partition(".")
        return extension if start else ""

    @property
    def is_label(self) -> bool:
        """Whether it may hold a class."""
        return self.extension.lower() in LABELS


def read_members(stream: Stream) -> Iterator[Member]:
    """All members of a tar file in order, but for folders and what file managers leave behind.

    Yields
    ------
    Member
        The last one stands for the tar file itself if it is damaged or cut off.
    """
    try:
        tar = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        while (found := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if not _is_passed_over(found):
                yield _read(stream, found)
        if stream.last != END_OF_TAR:
            raise tarfile.ReadError("no end of the tar file where one should be")
    except HeadbenchError:
        raise
    except Exception as error:  # a damaged header makes tarfile stumble over anything
        yield Member("", reason=_describe(error, stream.tell()))


def _is_passed_over(found: tarfile.TarInfo) -> bool:
    parts = (part for part in PurePosixPath(found.name).parts if part != "..")
    is_hidden = any(map(is_system_file, parts))
    return is_hidden or (found.isdir() and not has_image_name(found.name))


def _read(stream: Stream, found: tarfile.TarInfo) -> Member:
    name = str(PurePosixPath(found.name))
    member = Member(name, found.offset_data, found.size, reason=_against(found))
    if member.reason:
        return member._replace(name=printable(name.replace("\0", "?"))[:LONGEST_PATH])
    if member.is_label and found.size > MOST_LABEL_BYTES:
        return member._replace(reason=f"a class of more than {MOST_LABEL_BYTES} bytes")
    if not (member.is_label or has_image_name(name)):
        return member
    stream.seek(found.offset_data)
    data = stream.read(found.size) if found.size else b""
    if len(data) < found.size:
        raise tarfile.ReadError(f"it ends inside {printable(name)}")
    return member._replace(data=data)


def _describe(error: Exception, position: int) -> str:
    if position <= tarfile.BLOCKSIZE:
        return f"not a tar file ({error})"
    return f"cut off or damaged at byte {position} ({error}); what lies before that is used"


def _against(found: tarfile.TarInfo) -> str:
    """The reason against a member whatever is in it."""
    path = PurePosixPath(found.name)
    if found.issym() or found.islnk():
        return "a link, not a file"
    if found.isdir():
        return "a folder, not a file"
    if not found.isreg() or found.issparse():
        return "not a regular file"
    if path.is_absolute() or ".." in path.parts:
        return "its name leads out of the shard"
    if printable(found.name) != found.name or "\0" in found.name:
        return "its name is not valid UTF-8: rename it"
    return "its name is too long" if len(found.name.encode()) > LONGEST_PATH else ""
