"""Shards for tests, written by Python's own tarfile."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def write_tar(path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo]) -> Path:
    """A tar file of such members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link, a folder, a device ..."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def write_shards(photos: Path, folder: Path, n_shards: int = 3) -> Path:
    """The images of class folders, dealt out to shards ``000.tar`` and so on."""
    paths = sorted(photos.rglob("*.png"))
    for number in range(n_shards):
        members = []
        for path in paths[number::n_shards]:
            key = f"{path.parent.name}-{path.stem}"
            members += [
                (f"{key}.png", path.read_bytes()),
                (f"{key}.cls", path.parent.name.encode()),
            ]
        write_tar(folder / f"{number:03}.tar", members)
    return folder
