"""Images by what the user names: files, folders, patterns, a list, and runs."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from headbench.cache.format import Config, leads_inside
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.extract.errors import DataError
from headbench.extract.sources import manifest
from headbench.extract.sources.folder import has_image_name, image_files
from headbench.extract.sources.tables import EXTENSIONS, extension
from headbench.extract.sources.urls import is_url

STDIN = "-"


class NamedImages(NamedTuple):
    """Image files that somebody named.

    Attributes
    ----------
    paths : list of Path
    contents : dict of Path to bytes
        The SHA-256 of those that a run lists; they are read only if they have to be embedded.
    stores : list of Path
        Feature files that may hold their embeddings.
    """

    paths: list[Path]
    contents: dict[Path, bytes]
    stores: list[Path]


def name_images(
    named: Sequence[str], run_of: Callable[[str], Path | None], is_null_separated: bool = False
) -> NamedImages:
    """The images of what was named: files, folders, patterns, and runs.

    Parameters
    ----------
    named : sequence of str
        What `expand` takes, and names and folders of runs.
    run_of : callable
        The feature file of a run, or of the run that was made of a folder; None if there is none.
    """
    found = NamedImages([], {}, [])
    for each in named:
        store = None if each in ("", STDIN) else run_of(each)
        if store is not None:
            found.stores.append(store)
        if store is not None and is_run(each, store):
            with FeatureFile(store) as features:
                table = features.table
            places = [place_of(table.config, path) for path in table.paths]
            found.contents.update(zip(places, table.contents(), strict=True))
            refused = (each.path for each in table.rejected if has_image_name(each.path))
            found.paths.extend([*places, *(place_of(table.config, path) for path in refused)])
        else:
            found.paths.extend(expand([each], is_null_separated))
    return found


def is_run(named: str, store: Path) -> bool:
    """Whether a run is meant by its name, folder or file, and not the images in a folder."""
    return not os.path.exists(named) or Path(named) in (store, store.parent)


def place_of(config: Config, path: str) -> Path:
    """Where an image of a feature file lies: below its folder, or as its list names it.

    Raises `DataError` if that is elsewhere and not allowed: the file may come from a stranger.
    """
    name = str(config.data["folder"])
    if not leads_inside(path):
        raise DataError(f"{path!r}: a path that leaves the data folder {name} is not opened.")
    manifest.require_allowed(path)
    if is_url(name):
        return Path(path)
    is_list = extension(name) in EXTENSIONS and not Path(name).is_dir()
    return Path(manifest.place(name, path) if is_list else Path(name, path))


def expand(
    named: Sequence[str],
    is_null_separated: bool = False,
    read_stdin: Callable[[], bytes] = lambda: sys.stdin.buffer.read(),
) -> Iterator[Path]:
    """The files that were named, in that order; a file that is named twice comes twice.

    Parameters
    ----------
    named : sequence of str
        Files, which may be missing; folders, for the image files in them at any depth; patterns as
        in a shell, with ``**`` for any depth; and ``-`` for a list of files on standard input, one
        a line.
    is_null_separated : bool
        Whether paths in that list end with NUL and not with a line end.
    read_stdin : callable
        Gives the list.

    Raises
    ------
    RunError
        If a folder, a pattern or the list has no file, or a name is empty.
    """
    for each in named:
        if not each:
            # `Path` would take it for the current folder, with all that is in it.
            raise RunError(
                "--images: expected a file, a folder, a pattern or -, found an empty name. If it "
                "comes from a variable of the shell, check its value. The current folder is '.'."
            )
        path = Path(each)
        if each == STDIN:
            yield from _listed(read_stdin(), is_null_separated)
        elif path.is_dir():
            yield from _in_folder(path)
        elif glob.has_magic(each) and not path.exists():
            yield from _matching(each)
        else:
            # A missing file does not end the whole call: it is reported like a damaged one.
            yield path


def _in_folder(folder: Path) -> list[Path]:
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
