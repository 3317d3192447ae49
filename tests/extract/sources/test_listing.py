import os
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from cache.reader import FeatureFile
from extract.errors import DataError
from extract.settings import ExtractSettings
from extract.sources.remote import RemoteFolder
from extract.stage import extract_features
from extract.stream import N_READERS
from tests.conftest import write_class_folders, write_image

fsspec = pytest.importorskip("fsspec")


class IndexPages(SimpleHTTPRequestHandler):
    """A folder behind a web server that lists it, as Apache does: with links to the page itself."""

    more: tuple[str, ...] = ()

    def do_GET(self) -> None:
        folder = Path(self.translate_path(self.path))
        if not folder.is_dir():
            super().do_GET()
            return
        names = [
            escape(quote(os.fsencode(each.name), safe="&")) + "/" * each.is_dir()
            for each in folder.iterdir()
        ]
        links = ["?C=N;O=D", "./", "../", self.path, *names, *self.more]
        page = "".join(f'<a href="{link}">{link}</a>\n' for link in links).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = write_class_folders(tmp_path / "photos", n_per_class=4)
    (root / "red/.hidden.png").write_bytes(b"")
    (root / "red/notes.txt").write_text("text")
    return root


@pytest.fixture
def archive(photos: Path) -> Path:
    path = photos.parent / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(photos.rglob("*")):
            archive.write(file, f"photos/{file.relative_to(photos)}")
    return path


@contextmanager
def web_server(folder: Path, pages: type[IndexPages] = IndexPages) -> Iterator[str]:
    handler = partial(pages, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def same_as_local(url: str, photos: Path) -> None:
    settings = ExtractSettings(backbone="mean-color", size_px=16, batch_size=8)
    near, far = photos.parent / "near.h5", photos.parent / "far.h5"
    extract_features(photos, near, settings, lambda _: None)
    extract_features(url, far, settings, lambda _: None)
    with FeatureFile(near) as ours, FeatureFile(far) as theirs:
        assert theirs.table.paths == ours.table.paths
        assert theirs.table.classes == ours.table.classes
        assert theirs.table.rejected == ours.table.rejected
        np.testing.assert_array_equal(theirs.table.labels, ours.table.labels)
        for split in ("train", "val", "test"):
            np.testing.assert_array_equal(theirs.load(split)[0], ours.load(split)[0])


def test_an_archive_gives_what_a_folder_gives(photos: Path, archive: Path) -> None:
    same_as_local(f"zip://photos::{archive}", photos)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_an_archive_are_refused(
    photos: Path, archive: Path, kind: str
) -> None:
    source = RemoteFolder(f"{kind}://photos::{archive.with_suffix(f'.{kind}')}")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.write(photos / "red/001.png", "photos/red/000.png")
    with tarfile.open(archive.with_suffix(".tar"), "w") as tar:
        tar.add(photos, "photos")
        tar.add(photos / "red", "photos/red")
    with pytest.raises(DataError, match=r"photos/red/00.\.png: two files .* each name once\.$"):
        source.find()


def test_a_web_servers_folder_gives_what_a_folder_gives(photos: Path) -> None:
    with web_server(photos.parent) as url:
        same_as_local(f"{url}/photos/", photos)


def test_names_on_pages_are_those_of_a_folder(photos: Path) -> None:
    (photos / "red").rename(photos / "red one & only")
    (photos / "blue").rename(photos / "blau #2 größe.png")
    for number, name in enumerate(["a b.png", "100%.png", "é#?.png", "x%20y.png", "&amp;+.png"]):
        write_image(photos / f"blau #2 größe.png/{name}", 500 + number, (30, 40, 210))
        write_image(photos / f"red one & only/{name}", 600 + number, (210, 30, 40))
    (photos / "green" / os.fsdecode(b"\xe4.png")).write_bytes(b"")
    with web_server(photos.parent) as url:
        same_as_local(f"{url}/photos", photos)


@pytest.mark.parametrize(
    "link", ["red%2F1.png", "%2E%2E%2F1.png", "%2e%2e/", "a/%2E%2E/%2E%2E/1.png", "1%00.png"]
)
def test_a_link_that_is_no_name_is_refused(photos: Path, link: str) -> None:
    pages = type("Pages", (IndexPages,), {"more": (link,)})
    with web_server(photos.parent, pages) as url, pytest.raises(DataError) as found:
        RemoteFolder(f"{url}/photos").find()
    shown = link.rstrip("/")
    assert str(found.value).startswith(f"{url}/photos: its page has the link {shown!r}, expected")


def test_a_run_with_nothing_to_do_reads_no_file_of_a_web_server(
    photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extract.hashes.TICK_NS", -(10**12))  # so new, they might change else
    (photos / "red").rename(photos / "red one")
    read: list[str] = []

    class Counting(IndexPages):
        def do_GET(self) -> None:
            read.extend([self.path] if self.path.endswith(".png") else [])
            super().do_GET()

    with web_server(photos, Counting) as url:
        extract = partial(extract_features, url, photos.parent / "far.h5", settings, lambda _: None)
        extract()
        assert len(read) == 12
        extract()
        assert len(read) == 12
        os.utime(photos / "red one/001.png", (1, 1))
        extract()
        assert read[12:] == ["/red%20one/001.png"]


def test_a_web_server_that_knows_nothing_of_versions_is_read_again(
    photos: Path, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extract.progress.BRIEF_SECONDS", 0)
    said: list[str] = []

    class Silent(IndexPages):
        def do_GET(self) -> None:
            time.sleep(0.1)
            super().do_GET()

        def send_header(self, name: str, value: str) -> None:
            if name != "Last-Modified":
                super().send_header(name, value)

    with web_server(photos, Silent) as url:
        for _ in range(2):
            extract_features(url, photos.parent / "far.h5", settings, said.append)
    _, rate = re.findall(r"12 images in [0-9.]+ s, ([0-9.]+) images/s", "\n".join(said))
    assert float(rate) < 12 / 0.1  # and not that of counting them, once they are read


def test_a_web_server_that_lists_nothing_is_said_with_the_way_out(tmp_path: Path) -> None:
    with web_server(tmp_path) as url, pytest.raises(DataError, match="in a manifest"):
        RemoteFolder(f"{url}/photos/").find()


def test_an_archive_that_a_web_server_does_not_have_is_said(tmp_path: Path) -> None:
    with (
        web_server(tmp_path) as url,
        pytest.raises(DataError, match=r"opened \(404, message='File"),
    ):
        RemoteFolder(f"zip://::{url}/all.zip").find()


def test_a_folder_in_memory_gives_what_a_folder_gives(photos: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(photos), "/far", recursive=True)
    same_as_local("memory://far", photos)
    memory.rm("/far", recursive=True)


def test_many_threads_read_an_archive_that_none_has_listed(photos: Path, archive: Path) -> None:
    paths = [path.relative_to(photos).as_posix() for path in sorted(photos.glob("*/[0-9]*"))] * 30
    source = RemoteFolder(f"zip://photos::{archive}")
    files = [source.file(path) for path in paths]
    with ThreadPoolExecutor(N_READERS) as pool:
        found = list(pool.map(lambda file: file.read(file.path), files))
    assert found == [(photos / path).read_bytes() for path in paths]


def test_members_of_an_archive_are_told_apart_by_content(archive: Path) -> None:
    source = RemoteFolder(f"zip://photos::{archive}")
    source.find()
    first = source.stamps(["red/000.png", "red/001.png", "red/nothing.png"])
    assert (first[:2, 0] > 0).all()
    assert first[0, 3] != first[1, 3]
    assert first[2].tolist() == [-1] * 4
