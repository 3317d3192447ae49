import os
import socket
from pathlib import Path

import pytest

from headbench.extract.errors import TooLargeError, UnusableImageError
from headbench.extract.images.stream import read_file
from tests.conftest import needs_posix


@needs_posix
def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "a") == read_file(tmp_path / "b") == b"bytes"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(40_000_000_000)
    with pytest.raises(TooLargeError, match=r"^larger than 512 MB"):
        read_file(tmp_path / "a")
    (tmp_path / "b").write_bytes(bytes(10))
    assert read_file(tmp_path / "b", 10) == bytes(10)
    with pytest.raises(TooLargeError):
        read_file(tmp_path / "b", 9)


def test_a_file_that_grows_is_read_to_its_end_or_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.touch()
    before = path.stat()
    path.write_bytes(bytes(10))
    monkeypatch.setattr("headbench.extract.images.stream.os.stat", lambda _: before)
    assert read_file(path, 10) == bytes(10)
    with pytest.raises(TooLargeError):
        read_file(path, 9)


@needs_posix
def test_what_is_no_file_neither_hangs_nor_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has to be short
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("device").symlink_to("/dev/zero")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name, reason in {
            "folder": "a folder, not a file",
            "pipe": "a pipe, not a file",
            "socket": "a socket, not a file",
            "device": "a device, not a file",
            "dangling": "a link to nothing",
            "loop": "a link that leads in a circle",
            "gone": "cannot be read: No such file or directory",
            "x" * 300: "cannot be read: File name too long",
        }.items():
            with pytest.raises(UnusableImageError, match=f"^{reason}$"):
                read_file(Path(name))
