"""Food-101 from the web to embeddings, on a small archive of the same layout."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cache import cli
from cache.disk import one_writer
from cache.reader import FeatureFile
from extract import download, food101
from extract.settings import ExtractSettings
from extract.stage import extract_features
from tests.conftest import COLORS, ROOT, write_image
from tests.extract.archive_server import Answer, Site, serving

N_PER_CLASS = 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Food-101's layout: of each class 9 images are listed in train and 3 in test."""
    root = tmp_path_factory.mktemp("original") / "food-101"
    names: dict[str, list[str]] = {"train": [], "test": []}
    for number, (name, color) in enumerate(COLORS.items()):
        for image in range(N_PER_CLASS):
            write_image(root / f"images/{name}/{image:04}.jpg", 100 * number + image, color)
            names["train" if image < 9 else "test"].append(f"{name}/{image:04}")
    (root / "meta").mkdir()
    for split, lines in names.items():
        (root / f"meta/{split}.txt").write_text("\n".join(lines) + "\n")
    (root / "README.txt").write_bytes(np.random.default_rng(0).bytes(100_000))
    return root


@pytest.fixture(scope="module")
def archive(original: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        file.add(original, "food-101")
    return packed.getvalue()


@pytest.fixture
def site(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0,))
    with serving(archive) as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads/food-101"


@pytest.fixture
def command(site: Site, folder: Path) -> Callable[..., list[str]]:
    """The arguments of the command line."""
    return lambda: [
        str(folder), "--url", site.url, "--sha256", hashlib.sha256(site.content).hexdigest(),
    ]  # fmt: skip


def files(root: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def assert_whole(folder: Path, original: Path, archive: bytes) -> None:
    assert files(folder) == files(original)
    assert {path.name for path in folder.parent.iterdir()} == {"food-101", "food-101.tar.gz"}
    assert folder.with_name("food-101.tar.gz").read_bytes() == archive


def test_what_was_fetched_gives_the_embeddings_of_the_original(
    command: Callable, folder: Path, original: Path, archive: bytes, tmp_path: Path
) -> None:
    assert food101.main(command()) == 0
    assert_whole(folder, original, archive)
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    found = []
    for data in (folder, original):
        out = tmp_path / f"{data.parent.name}/features.h5"
        extract_features(data, out, settings, lambda _: None)
        with FeatureFile(out) as features:
            assert features.config.data["layout"] == "food101"
            found.append([features.load(split) for split in ("train", "val", "test")])
    assert len(found[0][2][1]) == 9
    for (X, y), (X_original, y_original) in zip(*found, strict=True):
        np.testing.assert_array_equal(X, X_original)
        np.testing.assert_array_equal(y, y_original)


def test_the_second_time_nothing_is_asked_for(
    site: Site, command: Callable, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    food101.main(command())
    said = capsys.readouterr().out
    assert f"food-101.tar.gz ({len(site.content):,} bytes) is kept: delete it" in said
    folder.with_name("food-101.tar.gz").unlink()
    site.asked.clear()
    assert food101.main(command()) == 0
    assert capsys.readouterr().out == f"{folder}: Food-101 is there, nothing to fetch\n"
    assert site.asked == []


def test_an_archive_that_was_put_there_is_checked_and_not_fetched(
    site: Site, command: Callable, folder: Path, original: Path, archive: bytes
) -> None:
    folder.parent.mkdir()
    folder.with_name("food-101.tar.gz").write_bytes(archive)
    food101.main(command())
    assert_whole(folder, original, archive)
    assert site.asked == []


def test_a_wrong_archive_that_was_put_there_is_one_clear_line(
    command: Callable, folder: Path, archive: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parent.mkdir()
    folder.with_name("food-101.tar.gz").write_bytes(archive[:-9])
    assert cli.run(food101.main, command()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected SHA-256" in error
    assert not folder.exists()
    assert folder.with_name("food-101.tar.gz.wrong").read_bytes() == archive[:-9]


def test_no_network_is_one_clear_line_with_a_way_out(
    command: Callable, site: Site, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(b"") as gone:
        site.url = gone.url
    assert cli.run(food101.main, command()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: {gone.url}: cannot be reached")
    assert f"put it at {folder.with_name('food-101.tar.gz')}, and run the same command" in error


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def test_killed_while_it_downloads_it_fetches_the_rest(
    site: Site, command: Callable, folder: Path, original: Path, archive: bytes
) -> None:
    site.answers.append(Answer(n_sent=60_000, stall_seconds=5))
    part = folder.with_name("food-101.tar.gz.part")
    with start("-m", "extract.food101", *command()) as process:
        while not (part.exists() and part.stat().st_size > 50_000):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    n_there = part.stat().st_size
    assert part.read_bytes() == archive[:n_there]
    food101.main(command())
    assert site.ranges == [None, f"bytes={n_there}-"]
    assert_whole(folder, original, archive)


# Says each file before it is written, and stops for good before the last but one.
UNPACK = f"""
import sys, time
from cache import cli
from extract import food101, unpack
write, n_written = unpack._write, 0
def slowly(members, member, target):
    global n_written
    n_written += 1
    if n_written == {3 * N_PER_CLASS}:
        print("stopped", flush=True)
        time.sleep(60)
    write(members, member, target)
unpack._write = slowly
sys.exit(cli.run(food101.main, sys.argv[1:]))
"""


def test_killed_while_it_unpacks_nothing_is_taken_for_whole(
    site: Site, command: Callable, folder: Path, original: Path, archive: bytes
) -> None:
    with start("-c", UNPACK, *command()) as process:
        assert process.stdout is not None
        assert b"stopped\n" in iter(process.stdout.readline, b"")
        process.kill()
    assert not folder.exists()
    assert len(files(folder.parent)) > 2 * N_PER_CLASS
    food101.main(command())
    assert site.ranges == [None]
    assert_whole(folder, original, archive)


def test_a_disk_without_room_for_both_is_told_before_anything_comes(
    site: Site,
    command: Callable,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    n_needed = round(2.1 * len(site.content))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=n_needed - 1))
    assert cli.run(food101.main, command()) == 2
    assert f"expected {n_needed:,} bytes of free space" in capsys.readouterr().err
    assert folder.with_name("food-101.tar.gz.part").stat().st_size == 0


def test_a_disk_without_room_to_unpack_an_archive_that_was_put_there(
    site: Site, command: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.mkdir()
    folder.with_name("food-101.tar.gz").write_bytes(site.content)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=1.09 * len(site.content))
    )
    assert cli.run(food101.main, command()) == 2
    assert not folder.exists()


def test_a_folder_of_something_else_is_left_alone(
    site: Site, command: Callable, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert cli.run(food101.main, command()) == 2
    assert "make: DATA=folder" in capsys.readouterr().err
    assert files(folder) == {"mine.txt": b"mine"}
    assert site.asked == []


def test_only_one_process_fetches_at_a_time(
    site: Site, command: Callable, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with one_writer(folder):
        assert cli.run(food101.main, command()) == 2
    assert "is being written by process" in capsys.readouterr().err
    assert site.asked == []


@pytest.mark.parametrize("option", [("--url", "file:///etc/passwd"), ("--sha256", "abc")])
def test_bad_options_end_with_2(folder: Path, option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as end:
        food101.main([str(folder), *option])
    assert end.value.code == 2


def test_the_official_archive_is_the_default() -> None:
    default = food101.parser().parse_args(["folder"])
    assert default.url == "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"
    assert default.sha256 == food101.SHA256


def test_make_food101_ends_with_a_report(command: Callable, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".venv/.ready").touch()
    python = checkout / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    _, _, url, _, sha256 = command()
    variables = [f"URL={url}", f"SHA256={sha256}", "BACKBONE=mean-color", "SIZE=16", "HEADS=prior"]
    made = subprocess.run(
        ["make", "-j4", "food101", *variables],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "runs/food-101/features.h5: 36 images (" in made.stdout
    assert (checkout / "runs/downloads/food-101/meta/test.txt").is_file()
    assert (checkout / "runs/food-101/report/index.html").is_file()
    assert (checkout / "runs/.last").read_text() == "food-101\n"
