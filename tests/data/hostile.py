"""A folder of hostile image files: ``python -m tests.data.hostile FOLDER``.

Each is there with its verdict: usable, or how the reason begins that it is refused with.
"""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tests.data.corpus.case import Case
from tests.data.corpus.jpeg import jpeg, jpeg_cases
from tests.data.corpus.others import (
    bmp_cases,
    gif_cases,
    modern_cases,
    no_image_cases,
    tiff_cases,
    webp_cases,
)
from tests.data.corpus.png import png_cases

UNREADABLE = "places/unreadable.jpg"
ODD_NAMES = (
    "new\nline.jpg",
    "🍣.jpg",
    "quote'\".jpg",
    "-dash.jpg",
    " space .jpg",
    "x" * 251 + ".jpg",
)


def hostile_cases() -> dict[str, Case]:
    """Files that can be had as bytes, by their path: a class folder for each kind."""
    kinds: dict[str, Callable[[], dict[str, Case]]] = {
        "jpeg": jpeg_cases,
        "png": png_cases,
        "webp": webp_cases,
        "bmp": bmp_cases,
        "gif": gif_cases,
        "tiff": tiff_cases,
        "modern": modern_cases,
        "no-image": no_image_cases,
    }
    return {
        f"{kind}/{name}": case for kind, cases in kinds.items() for name, case in cases().items()
    }


def write_hostile(folder: Path) -> dict[str, str | None]:
    """Write all of them, and places that are no files.

    Returns
    -------
    dict of str to (str or None)
        The verdict on each path: how the reason begins, None for usable.
    """
    cases = hostile_cases()
    for path, case in cases.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(case.data)
    places = folder / "places"
    places.mkdir()
    return {
        **{path: case.reason for path, case in cases.items()},
        **{f"places/{name}": verdict for name, verdict in _write_places(places).items()},
    }


def _write_places(places: Path) -> dict[str, str | None]:
    for name in ODD_NAMES:
        (places / name).write_bytes(jpeg() + name.encode())
    (places / "inside.jpg").mkdir()
    (places / "inside.jpg/good.jpg").write_bytes(jpeg() + b"inside")
    (places / "empty.jpg").mkdir()
    (places / "empty").mkdir()
    os.mkfifo(places / "pipe.jpg")
    os.mknod(places / "socket.jpg", stat.S_IFSOCK | 0o600)
    _link(places)
    (places / "unreadable.jpg").write_bytes(jpeg() + b"unreadable")
    (places / "unreadable.jpg").chmod(0)
    return {
        **dict.fromkeys(ODD_NAMES),
        "inside.jpg": "a folder, not a file",
        "inside.jpg/good.jpg": None,
        "empty.jpg": "a folder, not a file",
        "pipe.jpg": "a pipe, not a file",
        "socket.jpg": "a socket, not a file",
        "device.jpg": "a device, not a file",
        "broken.jpg": "a link to nothing",
        "circle.jpg": "a link that leads in a circle",
        "good-link.jpg": None,
        "parent.jpg": "a folder, not a file",
        "unreadable.jpg": "no permission to read it",  # by others than root
    }


def _link(places: Path) -> None:
    for name, target in {
        "device.jpg": "/dev/zero",
        "broken.jpg": "nowhere.jpg",
        "circle.jpg": "circle.jpg",
        "good-link.jpg": "-dash.jpg",
        "parent": "..",
        "parent.jpg": "..",
    }.items():
        (places / name).symlink_to(target)


def main() -> None:
    """Write the folder that the command line names, and show the verdicts."""
    for path, reason in write_hostile(Path(sys.argv[1])).items():
        verdict = "usable" if reason is None else f"refused: {reason}..."
        sys.stdout.write(f"{path!r}: {verdict}\n")


if __name__ == "__main__":
    main()
