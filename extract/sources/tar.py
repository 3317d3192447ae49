"""Tar files as WebDataset writes them: an image and its class side by side, with one key.

The key of a member is its name up to the first dot of the last part, and the members of a sample
follow each other: ``beach/0001.jpg``, ``beach/0001.cls``.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from headbench.cache.errors import HeadbenchError
from headbench.cache.untrusted import open_regular, parse_json
from headbench.extract.errors import WAY_ON, DataError, TooLargeError, UnusableImageError
from headbench.extract.images.stream import LARGE_BYTES, MAX_FILE_BYTES, larger_than
from headbench.extract.sources.bodies import BoundedTarInfo
from headbench.extract.sources.folder import file_stamp, has_image_name, is_system_file, printable
from headbench.extract.sources.source import checked_class
from headbench.extract.sources.urls import is_url, open_url, patiently, read_remote, stamp, words

# Extensions of members that hold a class; of several texts, the first in this list counts.
TEXTS, JSON = ("cls", "cls.txt"), "json"
LABELS = (*TEXTS, JSON)
JSON_ITEMS = ("label", "cls", "class")
MOST_LABEL_BYTES = 1 << 20
# As many characters as file systems allow.
LONGEST_PATH = 4096
END_OF_TAR = bytes(tarfile.BLOCKSIZE)
# Bytes of a tar file that are read at a time.
BLOCK_BYTES = 1 << 24
NO_LABEL = "no class: expected KEY.cls or KEY.json with a label beside it in the shard"
NO_IMAGE = "a class without an image beside it in the shard"


@dataclass(frozen=True)
class Place:
    """The location of a large file."""

    url: str

    @property
    def is_here(self) -> bool:
        """Whether it is a path on this machine."""
        return not is_url(self.url)

    def stamp(self) -> tuple[int, ...]:
        """The stamp; `FileNotFoundError`, or `DataError` if a server does not answer."""
        if self.is_here:
            os.stat(self.url)  # a missing file would get the stamp -1
            return file_stamp(self.url)
        return stamp(self._details)

    @property
    def n_bytes(self) -> int:
        """Its length; raises what `stamp` does, and `DataError` if the server does not tell."""
        found = os.stat(self.url).st_size if self.is_here else self._details.get("size")
        if found is None:
            raise DataError(f"{self.url}: expected a server that gives the length of this file.")
        return int(found)

    def read(self, start: int, n_bytes: int) -> bytes:
        """Some of its bytes, fewer at its end; `UnusableImageError` if they cannot be read."""
        if not self.is_here:
            try:
                return read_remote(*open_url(self.url), n_bytes, (start, start + n_bytes))
            except TooLargeError as error:
                raise UnusableImageError(
                    "its shard cannot be read: the server sends whole files only, expected one "
                    "that answers range requests"
                ) from error
        try:
            with open_regular(self.url) as file:
                file.seek(start)
                return file.read(n_bytes)
        except OSError as error:
            reason = f"its shard cannot be read: {error.strerror}"
            raise UnusableImageError(reason) from error

    @property
    def _details(self) -> dict[str, Any]:
        filesystem, path = open_url(self.url)
        try:
            return patiently(lambda: filesystem.info(path))
        except FileNotFoundError:
            raise
        except Exception as error:  # each store has errors of its own
            raise DataError(f"{self.url}: cannot be opened ({words(error)}).") from error


class Stream(io.RawIOBase):
    """The bytes of a file, for a buffered reader: each read requests one block.

    `n_bytes` is 0 or less if the caller does not know the length.
    """

    def __init__(self, place: Place, n_bytes: int) -> None:
        self._place, self._position = place, 0
        self._n_bytes = n_bytes if n_bytes > 0 else place.n_bytes

    def readable(self) -> bool:
        """Whether `readinto` works."""
        return True

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._n_bytes}
        self._position = base[whence] + position
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; `DataError` if they cannot be read."""
        n_bytes = max(0, min(len(buffer), self._n_bytes - self._position))
        if n_bytes:
            buffer[:n_bytes] = self._block(n_bytes)
        self._position += n_bytes
        return n_bytes

    def _block(self, n_bytes: int) -> bytes:
        try:
            data = self._place.read(self._position, n_bytes)
            if len(data) == n_bytes:
                return data
            reason = f"it ended before its {self._n_bytes} bytes were read"
        except UnusableImageError as error:
            reason = str(error)
        raise DataError(
            f"{self._place.url}: cannot be read from byte {self._position} on ({reason}). {WAY_ON}"
        )


class Entry(NamedTuple):
    """An image of a tar file, or an unusable member.

    Attributes
    ----------
    path : str
        Path in the tar file; empty for the tar file itself.
    class_name : str
        The class; empty if this is no labelled image.
    content : bytes
        SHA-256 of its bytes; empty if they were never hashed.
    offset, n_bytes : int
        Position of its bytes in the tar file.
    reason : str
        Why it cannot be used; empty if it can.
    """

    path: str
    class_name: str = ""
    content: bytes = b""
    offset: int = 0
    n_bytes: int = 0
    reason: str = ""


class Member(NamedTuple):
    """A file in a tar file, with the bytes of a class, or of an image that is not large.

    The bytes of others are not read.
    """

    entry: Entry
    data: bytes = b""

    @property
    def key(self) -> str:
        """The name that it shares with the other members of its sample."""
        path = self.entry.path
        return path.removesuffix(f".{self.extension}") if self.extension else path

    @property
    def extension(self) -> str:
        """The text after the key and a dot; empty for a hidden file."""
        start, _, extension = self.entry.path.rpartition("/")[2].partition(".")
        return extension if start else ""

    @property
    def is_label(self) -> bool:
        """Whether it may hold a class."""
        return self.extension.lower() in LABELS

    def unusable(self, reason: str) -> "Member":
        """The member without its bytes and class, and with a reason."""
        return Member(self.entry._replace(class_name="", reason=reason))


def read_samples(stream: Stream, max_bytes: int = MAX_FILE_BYTES) -> Iterator[Member]:
    """All images of a tar file with their classes, and everything that cannot be used, in order.

    Images of more than `max_bytes` cannot be used. If the tar file is damaged, everything before
    the damage is returned, and last an entry for the tar file itself.
    """
    names: set[str] = set()
    for _, members in groupby(_read_members(stream, max_bytes), key=lambda member: member.key):
        for sample in _samples_of(members):
            if sample.entry.class_name and sample.entry.path in names:
                reason = "the second member of this name in the shard"
                sample = sample.unusable(reason)
            yield sample
            names.add(sample.entry.path)


def class_of(labels: dict[str, bytes]) -> str:
    """The class in the members of a sample, by extension; `UnusableImageError` without one."""
    text = next((labels[each] for each in TEXTS if each in labels), None)
    try:
        if text is not None:
            return checked_class(text.decode("utf-8-sig").strip())
        found = _from_json(labels[JSON]) if JSON in labels else None
    except (UnicodeDecodeError, ValueError) as error:
        kind = "text" if text is not None else "JSON"
        raise UnusableImageError(f"no class: the file beside it is not {kind}") from error
    if found is None:
        raise UnusableImageError(NO_LABEL)
    return checked_class(found)


def _from_json(data: bytes) -> str | None:
    found = parse_json(data)
    items = found if isinstance(found, dict) else {}
    label = next((items[each] for each in JSON_ITEMS if each in items), None)
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    return label.strip() if isinstance(label, str) else None


def _samples_of(members: Iterator[Member]) -> Iterator[Member]:
    """Labelled images among members with one key, and the unusable members."""
    images: list[Member] = []
    labels: list[Member] = []
    others: list[Member] = []
    for member in members:
        if member.entry.reason:
            yield member
        elif has_image_name(member.entry.path):
            images.append(member)
            if len(images) > 1:  # none of them can be used: keep no bytes
                images[-2:] = [each._replace(data=b"") for each in images[-2:]]
        else:
            (labels if member.is_label else others).append(member)
    if len(images) == 1:
        yield _labelled(images[0], labels)
    elif images:
        names = ", ".join(PurePosixPath(each.entry.path).name for each in images[:3])
        reason = f"{len(images)} images have the same key ({names}), expected one"
        yield from (each.unusable(reason) for each in images)
    else:
        yield from (each.unusable(NO_IMAGE) for each in labels)
        yield from (each.unusable("neither an image nor a class") for each in others)


def _labelled(image: Member, labels: list[Member]) -> Member:
    try:
        class_name = class_of({each.extension.lower(): each.data for each in labels})
    except UnusableImageError as error:
        return image.unusable(str(error))
    return image._replace(entry=image.entry._replace(class_name=class_name))


def _read_members(stream: Stream, max_bytes: int) -> Iterator[Member]:
    """All members of a tar file in order, except folders and files of file managers."""
    file: BinaryIO = io.BufferedReader(stream, BLOCK_BYTES)
    try:
        tar = tarfile.TarFile(fileobj=file, tarinfo=BoundedTarInfo)
        while (found := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if not _is_passed_over(found):
                yield _read(file, found, max_bytes)
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != END_OF_TAR:
            raise tarfile.ReadError("no end of the tar file where one should be")
    except HeadbenchError:
        raise
    except Exception as error:  # a damaged header makes tarfile raise anything
        yield Member(Entry("", reason=_describe(error, file.tell())))


def _is_passed_over(found: tarfile.TarInfo) -> bool:
    parts = (part for part in PurePosixPath(found.name).parts if part != "..")
    is_hidden = any(map(is_system_file, parts))
    return is_hidden or (found.isdir() and not has_image_name(found.name))


def _read(file: BinaryIO, found: tarfile.TarInfo, max_bytes: int) -> Member:
    path = str(PurePosixPath(found.name))
    entry = Entry(path, offset=found.offset_data, n_bytes=found.size, reason=_against(found))
    if entry.reason:
        return Member(entry._replace(path=printable(path.replace("\0", "?"))[:LONGEST_PATH]))
    member = Member(entry)
    if member.is_label and found.size > MOST_LABEL_BYTES:
        return member.unusable(f"a class of more than {MOST_LABEL_BYTES} bytes")
    if found.size > max_bytes and has_image_name(path):
        return member.unusable(larger_than(max_bytes))
    if found.size > LARGE_BYTES or not (member.is_label or has_image_name(path)):
        return member
    file.seek(found.offset_data)
    data = file.read(found.size)
    if len(data) < found.size:
        raise tarfile.ReadError(f"it ends inside {printable(path)}")
    return Member(entry, data)


def _describe(error: Exception, position: int) -> str:
    if position <= tarfile.BLOCKSIZE:
        return f"not a tar file ({error})"
    return f"cut off or damaged at byte {position} ({error}); what lies before that is used"


def _against(found: tarfile.TarInfo) -> str:
    """The reason against a member, whatever its content."""
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
