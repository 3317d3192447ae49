"""What a user names, as files: files, folders, patterns, and a list on standard input."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from classify.errors import RunError
from extract.sources.folder import image_files

STDIN = "-"


def expand(
    named: Sequence[str],
    is_null_separated: bool = False,
    read_stdin: Callable[[], bytes] = lambda: sys.stdin.buffer.read(),
) -> Iterator[Path]:
    """The files that were named, in that order; one named twice comes twice.

    Parameters
    ----------
    named : sequence of str
        Files, which need not be there; folders, whose image files are taken at any depth; patterns
        as of a shell, with ``**`` for any depth, which stand for the files that they match; and
        ``-`` for a list of files on standard input, taken as they are, one a line as Unix or
        Windows ends it.
    is_null_separated : bool
        Whether NUL ends a path of that list, and not a line's end.
    read_stdin : callable
        Gives the list.

    Raises
    ------
    RunError
        If a folder, a pattern or the list gives no file, or a name is empty.
    """
    for each in named:
        if not each:
            # `Path` would take it for the current folder, with all that is in it.
            raise RunError(
                "--images (make: IMAGES=...): expected a file, a folder, a pattern or -, found an "
                "empty name. Where it comes from a variable, see what that holds; . is the current "
                "folder."
            )
        path = Path(each)
        if each == STDIN:
            yield from _listed(read_stdin(), is_null_separated)
        elif path.is_dir():
            yield from in_folder(path)
        elif glob.has_magic(each) and not path.exists():
            yield from _matching(each)
        else:
            # A missing file is not an error of the whole call: it is reported like a damaged one.
            yield path


def in_folder(folder: Path) -> list[Path]:
    """The image files of a folder; `RunError` if there are none."""
    found = list(image_files(folder))
    if not found:
        raise RunError(f"{folder}: expected image files in this folder, found none.")
    return found


def _matching(pattern: str) -> Iterator[Path]:
    found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]
    if not found:
        raise RunError(f"{pattern}: expected files that match this pattern, found none.")
    return map(Path, found)


def _listed(text: bytes, is_null_separated: bool) -> Iterator[Path]:
    if is_null_separated:
        names = list(filter(None, text.split(b"\0")))
    else:
        lines = (line.removesuffix(b"\r") for line in text.split(b"\n"))
        names = [line for line in lines if line.strip()]
    if not names:
        raise RunError("-: expected paths on standard input, one a line, found none.")
    return (Path(os.fsdecode(name)) for name in names)
