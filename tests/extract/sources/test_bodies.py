"""Bodies that have no end, or unpack to more than anybody wants."""

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headbench.extract.errors import DataError, TooLargeError
from headbench.extract.sources import tables
from headbench.extract.sources.manifest import Manifest
from headbench.extract.sources.remote import RemoteFolder
from headbench.extract.sources.urls import open_url, read_url
from tests.extract.sources.web_server import WITHOUT_END, Endless, web_server

pytest.importorskip("aiohttp")

MB = 1_000_000


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[str]:
    """The URL of such a server."""
    with web_server(tmp_path, Endless) as url:
        yield url


@pytest.mark.parametrize("name", ["a.png", "announced.png", "packed.png"])
def test_a_body_without_end_is_read_to_the_limit_and_once(endless: str, name: str) -> None:
    with pytest.raises(TooLargeError, match=r"^larger than 1 MB"):
        read_url(f"{endless}/{name}", MB)
    assert Endless.n_sent < WITHOUT_END / 2


@pytest.mark.parametrize("name", ["a.csv", "announced.csv", "packed.csv"])
def test_a_list_without_end_is_refused(
    endless: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_LIST_BYTES", MB)
    with pytest.raises(DataError, match="expected a list of at most 1000000 bytes"):
        Manifest(f"{endless}/{name}").find()


def test_a_body_as_large_as_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(1000))
    with web_server(tmp_path) as url:
        assert read_url(f"{url}/a.png", 1000) == bytes(1000)
        with pytest.raises(TooLargeError):
            read_url(f"{url}/a.png", 999)


def zip_of_holes(path: Path, name: str, n_bytes: int) -> str:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(n_bytes // MB):
            member.write(bytes(MB))
    return f"zip://::{path}"


def tar_of_holes(path: Path, name: str, n_bytes: int, kind: bytes = tarfile.REGTYPE) -> str:
    info = tarfile.TarInfo(name)
    info.size, info.type = n_bytes, kind
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.truncate(tarfile.BLOCKSIZE * 3 + n_bytes)
    return f"tar://::{path}"


@pytest.mark.parametrize(("pack", "n_bytes"), [(zip_of_holes, 64 * MB), (tar_of_holes, 8000 * MB)])
def test_a_large_member_of_an_archive_is_read_to_the_limit(
    tmp_path: Path, pack: Callable[..., str], n_bytes: int
) -> None:
    source = RemoteFolder(pack(tmp_path / "all", "red/a.png", n_bytes))
    [found] = source.find().found
    file = source.file(found.path)
    with pytest.raises(TooLargeError, match=r"^larger than 1 MB"):
        file.read(file.path, MB)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_of_3_gb_in_an_archive_is_not_read(tmp_path: Path, kind: bytes) -> None:
    url = tar_of_holes(tmp_path / "all.tar", "x", 3000 * MB, kind)
    with pytest.raises(DataError, match="the name of a member claims 3000000000 bytes"):
        RemoteFolder(url).find()
    assert tarfile.TarFile.tarinfo is tarfile.TarInfo


def test_a_store_is_asked_for_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers range requests, and says so where a range begins behind the end."""
    asked: list[tuple[int, int]] = []

    class RangeError(OSError):
        status = 416

    async def cat(_: Any, __: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        if start >= len(content):
            raise RangeError
        return content[start:end]

    filesystem, _ = open_url("http://host/a")
    monkeypatch.setattr(type(filesystem), "protocol", "store")
    monkeypatch.setattr(type(filesystem), "_cat_file", cat)
    monkeypatch.setattr("headbench.extract.sources.bodies.RANGE_BYTES", 4)
    for content, n_requests in ((b"", 1), (b"012", 1), (b"0123", 2), (b"0123456789", 3)):
        asked.clear()
        assert read_url("http://host/a", 10) == content
        assert len(asked) == n_requests
    asked.clear()
    with pytest.raises(TooLargeError):
        read_url("http://host/a", 9)
    assert asked[-1] == (8, 10)
