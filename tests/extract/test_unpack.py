import io
import tarfile
from pathlib import Path

import pytest

from cache.errors import StorageError
from extract.errors import DataError
from extract.unpack import unpack


def packed(path: Path, *members: tarfile.TarInfo | str) -> Path:
    """An archive of files that hold their own name, and of whatever else is given."""
    with tarfile.open(path, "w:gz") as file:
        for member in members:
            if isinstance(member, str):
                content = member.encode()
                member = tarfile.TarInfo(member)
                member.size, member.mode = len(content), 0
                file.addfile(member, io.BytesIO(content))
            else:
                file.addfile(member)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar.gz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out/folder"


def test_one_folder_comes_out_and_what_lies_beside_it_does_not(archive: Path, folder: Path) -> None:
    packed(archive, special("./top", tarfile.DIRTYPE), "./top/a/b.txt", "top/c.txt", "._top", "x/y")
    unpack(archive, "top", folder, lambda _: True)
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    assert {path.as_posix(): file.read_text() for path, file in found.items()} == {
        "a/b.txt": "./top/a/b.txt",
        "c.txt": "top/c.txt",
    }
    assert all(file.stat().st_mode & 0o600 == 0o600 for file in found.values())


@pytest.mark.parametrize(
    "member",
    [
        "../outside.txt",
        "top/../../outside.txt",
        "/tmp/outside.txt",  # noqa: S108, nothing is written there
        special("top/link", tarfile.SYMTYPE, "/"),
        special("top/link", tarfile.SYMTYPE, "a.txt"),
        special("top/link", tarfile.LNKTYPE, "top/a.txt"),
        special("top/pipe", tarfile.FIFOTYPE),
        special("top/device", tarfile.CHRTYPE),
        special("beside/link", tarfile.SYMTYPE, "/"),
    ],
    ids=lambda member: member if isinstance(member, str) else f"{member.name}-{member.linkname}",
)
def test_what_could_lead_elsewhere_is_refused_and_nothing_is_left(
    archive: Path, folder: Path, member: tarfile.TarInfo | str
) -> None:
    packed(archive, "top/a.txt", member, "top/b.txt")
    with pytest.raises(DataError, match="a link, a device or a path that leaves the folder"):
        unpack(archive, "top", folder, lambda _: True)
    assert list(folder.parent.iterdir()) == []
    assert {path.name for path in folder.parent.parent.iterdir()} == {"out", archive.name}


@pytest.mark.parametrize("damage", ["text", "cut off", "changed"])
def test_a_damaged_archive_is_named_and_nothing_is_left(
    archive: Path, folder: Path, damage: str
) -> None:
    packed(archive, *(f"top/{number}.txt" for number in range(1000)))
    content = bytearray(archive.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 0xFF
    archive.write_bytes({"text": b"<html>", "cut off": content[:-100]}.get(damage, content))
    with pytest.raises(DataError, match=f"{archive}: expected an archive"):
        unpack(archive, "top", folder, lambda _: True)
    assert list(folder.parent.iterdir()) == []


def test_an_archive_of_something_else_leaves_nothing(archive: Path, folder: Path) -> None:
    packed(archive, "top/a.txt")
    with pytest.raises(DataError, match="expected top/ with all that belongs to it"):
        unpack(archive, "top", folder, lambda found: (found / "b.txt").exists())
    assert list(folder.parent.iterdir()) == []


def test_a_disk_that_fails_is_told_as_such(archive: Path, folder: Path) -> None:
    packed(archive, "top/a", "top/a/b")  # a file in place of a folder
    with pytest.raises(StorageError, match=f"{folder}: cannot be written"):
        unpack(archive, "top", folder, lambda _: True)
    assert list(folder.parent.iterdir()) == []
