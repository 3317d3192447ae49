"""``make food101`` on a small archive of the same layout, from a server on loopback."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import COLORS, ROOT, needs_posix, write_image

pytestmark = needs_posix

Make = Callable[..., subprocess.CompletedProcess[str]]
DOWNLOADS = "runs/downloads"
FOLDER = f"{DOWNLOADS}/food-101"


@dataclass
class Site:
    """An archive, what was asked for so far, and after how many bytes the next answers break."""

    content: bytes
    breaks: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        content, wanted = self.site.content, self.headers["Range"]
        self.site.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = begin + self.site.breaks.pop(0) if self.site.breaks else None
        self.wfile.write(content[begin:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Food-101's layout: of each class 9 images are listed in train and 3 in test."""
    root = tmp_path_factory.mktemp("original")
    names: dict[str, list[str]] = {"train": [], "test": []}
    for number, (name, color) in enumerate(COLORS.items()):
        for image in range(12):
            write_image(root / f"images/{name}/{image:04}.jpg", 100 * number + image, color)
            names["train" if image < 9 else "test"].append(f"{name}/{image:04}")
    (root / "meta").mkdir()
    for split, lines in names.items():
        (root / f"meta/{split}.txt").write_text("\n".join(lines) + "\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        file.add(root, "food-101")
    return packed.getvalue()


@pytest.fixture
def site(archive: bytes) -> Iterator[Site]:
    site = Site(archive)
    handler = type("SiteHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/food-101.tar.gz"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile in a folder whose environment counts as installed; its Python says its name."""
    folder = tmp_path / "check out"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv/.ready").touch()
    (folder / "runs").mkdir()
    write_script(folder / "sleep", "exit 0")  # pauses between tries take no time
    python_is(folder, 'echo python "$@"')
    return folder


@pytest.fixture
def make(checkout: Path, site: Site) -> Make:
    """``make food101`` of the archive, with more variables; its SHA-256 fits."""

    def call(*variables: str) -> subprocess.CompletedProcess[str]:
        sha256 = hashlib.sha256(site.content).hexdigest()
        return subprocess.run(
            ["make", "-j4", "food101", f"URL={site.url}", f"SHA256={sha256}", *variables],
            cwd=checkout,
            env={
                **os.environ,
                "PATH": f"{checkout}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def python_is(checkout: Path, line: str) -> None:
    write_script(checkout / ".venv/bin/python", line)


def write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def downloads(checkout: Path) -> set[str]:
    return {path.name for path in (checkout / DOWNLOADS).iterdir()}


def test_a_broken_download_is_resumed_and_ends_with_a_report(
    make: Make, checkout: Path, site: Site
) -> None:
    python_is(checkout, f'exec "{sys.executable}" "$@"')
    site.breaks = [5_000, 3_000]
    made = make("BACKBONE=mean-color", "SIZE=16", "HEADS=prior")
    assert made.returncode == 0, made.stderr
    assert site.ranges == [None, "bytes=5000-", "bytes=8000-"]
    assert "runs/food-101/features.h5: 36 images (" in made.stdout
    assert (checkout / "runs/food-101/report/index.html").is_file()
    assert (checkout / "runs/.last").read_text() == "food-101\n"
    assert downloads(checkout) == {"food-101", "food-101.tar.gz"}
    assert (checkout / f"{FOLDER}.tar.gz").read_bytes() == site.content


def test_a_download_that_goes_on_breaking_is_kept_and_resumed_by_the_next_make(
    make: Make, checkout: Path, site: Site
) -> None:
    site.breaks = [1_000] * 5
    python_is(checkout, "exit 1")
    stopped = make()
    assert stopped.returncode == 2
    assert f"error: {site.url}: the download stopped. Run the same command" in stopped.stderr
    assert f"put the archive at {FOLDER}.tar.gz yourself" in stopped.stderr
    assert downloads(checkout) == {"food-101.tar.gz.part"}
    python_is(checkout, 'echo python "$@"')
    assert make().returncode == 0
    assert site.ranges[5:] == ["bytes=5000-"]
    assert downloads(checkout) == {"food-101", "food-101.tar.gz"}


def test_a_finished_folder_is_found_and_nothing_is_asked_for(
    make: Make, checkout: Path, site: Site
) -> None:
    (checkout / "my disk/food").mkdir(parents=True)
    made = make("DATA=my disk/food/", "NAME=food")
    assert made.returncode == 0, made.stderr
    assert "python -m headbench features my disk/food/ --name food" in made.stdout
    assert site.ranges == []
    assert not (checkout / DOWNLOADS).exists()


def test_an_archive_that_was_put_there_is_unpacked_after_what_a_killed_make_left(
    make: Make, checkout: Path, site: Site
) -> None:
    folder = checkout / "my disk/food"
    left = checkout / "my disk/food.unpacking/food-101/half.jpg"
    left.parent.mkdir(parents=True)
    left.touch()
    folder.with_name("food-101.tar.gz").write_bytes(site.content)
    made = make("DATA=my disk/food/")
    assert made.returncode == 0, made.stderr
    assert site.ranges == []
    assert {path.name for path in folder.iterdir()} == {"images", "meta"}
    assert {path.name for path in folder.parent.iterdir()} == {"food", "food-101.tar.gz"}


@pytest.mark.parametrize("name", ["food-101.tar.gz.part", "food-101.tar.gz"])
def test_a_wrong_checksum_is_refused_and_nothing_is_unpacked(
    make: Make, checkout: Path, site: Site, name: str
) -> None:
    if name == "food-101.tar.gz":
        (checkout / DOWNLOADS).mkdir(parents=True)
        (checkout / DOWNLOADS / name).write_bytes(site.content)
    made = make("SHA256=12ab")
    assert made.returncode == 2
    found = hashlib.sha256(site.content).hexdigest()
    assert (
        f"error: {DOWNLOADS}/{name}: expected SHA-256 12ab, found {found}. Delete this file and "
        "run the same command again, or set SHA256 if you trust another copy.\n"
    ) in made.stderr
    assert downloads(checkout) == {name}
    assert "python" not in made.stdout


def test_the_official_archive_is_the_default(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "-n", "food101"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert '"http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"; do' in done.stdout
    sha256 = "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"
    assert f'test "$found" = "{sha256}"' in done.stdout
