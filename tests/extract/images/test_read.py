import os
import socket
from pathlib import Path

import pytest

from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import read_file


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "a") == read_file(tmp_path / "b") == b"bytes"


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
