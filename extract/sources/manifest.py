"""A list of images: a CSV or Parquet file with the path and the label of each image."""

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import UNLABELLED, Rejected, leads_inside
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.stream import N_READERS, ImageFile, map_ahead
from headbench.extract.sources.folder import file_stamp
from headbench.extract.sources.source import (
    N_STAMPS,
    Found,
    LabelledImage,
    Listing,
    checked_class,
    order_of_numbers,
)
from headbench.extract.sources.split_folders import SPLIT_FOLDERS
from headbench.extract.sources.tables import at, open_rows
from headbench.extract.sources.tar import LONGEST_PATH
from headbench.extract.sources.urls import (
    ARCHIVES,
    FILE,
    Answers,
    Stamp,
    is_url,
    protocols_of,
    read_url,
    refuse_secrets,
    require_reader,
    url_stamp,
    without_file,
    without_secrets,
)

LAYOUT = "manifest"
# Protocols that lists may name besides files below them: a list may come from a stranger.
ALLOWED = "HEADBENCH_PROTOCOLS"
COLUMNS = ("path", "label", "split", "group", "weight")
REQUIRED = COLUMNS[:2]
# A column that `headbench suggest` writes: such a list is one to fill in.
GUESS = "guess"
TO_FILL_IN = "no label yet: fill in the column label"
# Usual names of columns where images have several labels.
SEVERAL_LABELS = re.compile(r"labels?[ _-]?\d*")
# Characters of a label that an error shows.
MOST_SHOWN = 40
# Weights are stored in float32, where smaller and larger ones become 0 and infinite.
LEAST_WEIGHT, MOST_WEIGHT = (float(limit) for limit in (np.finfo("f4").tiny, np.finfo("f4").max))


@dataclass(frozen=True)
class Manifest:
    """A CSV or Parquet file with a row for each image.

    Columns are found by name, in small or capital letters. ``path`` is below the folder of the
    file; or elsewhere on this machine or a URL, if the environment variable `ALLOWED` names its
    protocol. ``label`` is required too; ``split``, ``group`` and ``weight`` are optional. White
    space around a value is ignored. If all labels are integers, classes are in the order of
    numbers, otherwise in that of text. In a list to fill in, with a column `GUESS`, images without
    a label are rejected. Without labels, only ``path`` is read.
    """

    name: str
    has_labels: bool = True
    _schemes: set[str] = field(default_factory=set, repr=False, compare=False)
    _answers: Answers = field(default_factory=Answers, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["Manifest"], tuple[str]]:
        # What this process found out does not go to others.
        return Manifest, (self.name,)

    @property
    def is_near(self) -> bool:
        """Whether the list and all its images are on disks of this machine; known after `find`."""
        return not self._schemes and not is_url(self.name)

    @property
    def is_there(self) -> bool:
        """Whether the file exists; assumed for a URL."""
        return is_url(self.name) or Path(self.name).is_file()

    def find(self) -> Listing:
        """Read the list; `DataError`, with the line, for a mistake in it."""
        if not self.is_there:
            raise DataError(f"{self.name}: expected a list of images, found nothing.")
        with open_rows(self.name) as rows:
            columns = choose_columns(self.name, rows.columns, rows.lists, self.has_labels)
            is_to_fill_in = GUESS in map(str.lower, rows.columns)
            reading = ManifestRows(self.name, rows.unit, list(columns), is_to_fill_in)
            for number, values in rows.read(list(columns.values())):
                reading.add(number, values)
            unused = [name for name in rows.columns if name not in columns.values()]
        found: list[Found] = [*reading.finish(), *reading.rejected]
        self._schemes.update(reading.schemes)
        notes = [f"{self.name}: columns not used: {', '.join(unused)}"] if unused else []
        if reading.rejected:
            notes.append(f"{self.name}: {len(reading.rejected)} of {len(found)} rows: {TO_FILL_IN}")
        layout = LAYOUT if self.has_labels else UNLABELLED
        return Listing(layout, found, order_of_numbers(reading.labels), notes)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of the list, for reading; `DataError` for a path that it could not contain."""
        if not leads_inside(path):
            raise DataError(
                f"{path!r}: a path that leaves the folder of {self.name} is not opened."
            )
        require_allowed(path)
        found = place(self.name, path)
        if isinstance(found, Path):
            return ImageFile(found, content)
        return ImageFile(found, content, self._read_far)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """`file_stamp` of local files, `url_stamp` of the others; int64 (n_paths, 4)."""
        if self.is_near:
            stamps: Iterable[Stamp] = map(self._stamp, paths)
        else:
            stamps = map_ahead(self._stamp, paths, N_READERS, 2 * N_READERS)
        return np.array(list(stamps), dtype=np.int64).reshape(-1, N_STAMPS)

    def _read_far(self, url: str, max_bytes: int) -> bytes:
        return self._answers.read(partial(read_url, max_bytes=max_bytes), url, self.name)

    def _stamp(self, path: str) -> Stamp:
        found = place(self.name, path)
        return file_stamp(found) if isinstance(found, Path) else url_stamp(found)


def choose_columns(
    name: str, found: Sequence[str], lists: Sequence[str], has_labels: bool
) -> dict[str, str]:
    """The name in the file of each of `COLUMNS` that exists; without labels, of the path alone.

    Raises `DataError` if a required column is missing, one appears twice, or there are several
    labels.
    """
    required, optional = (REQUIRED, COLUMNS[2:]) if has_labels else (COLUMNS[:1], ())
    labels = [column for column in found if SEVERAL_LABELS.fullmatch(column.lower()) and has_labels]
    if labels and (len(labels) > 1 or labels[0].lower() != "label" or labels[0] in lists):
        raise DataError(
            f"{name}: found several labels for an image (column {', '.join(labels)}), expected "
            "one. Keep one label in each row, in a column called label."
        )
    known = [column for column in found if column.lower() in (*required, *optional)]
    columns = {column.lower(): column for column in known}
    if len(columns) < len(known):
        raise DataError(f"{name}: a column appears twice: found {', '.join(found)}.")
    missing = [column for column in required if column not in columns]
    if missing:
        also = f", and optionally {', '.join(optional)}" if optional else ""
        hint = " For images without labels: --unlabelled." if missing == [REQUIRED[1]] else ""
        raise DataError(
            f"{name}: no column {' and no column '.join(missing)}; found "
            f"{', '.join(found) or 'no columns'}. Expected {', '.join(required)}{also}.{hint}"
        )
    return columns


class ManifestRows:
    """Rows of a list that become labelled images.

    `columns` are the `COLUMNS` that are read, in the order of the values. In a list to fill in,
    rows without a label are `rejected`.
    """

    def __init__(
        self, name: str, unit: str, columns: Sequence[str], is_to_fill_in: bool = False
    ) -> None:
        self._name, self._unit, self._columns = name, unit, columns
        self._is_to_fill_in = is_to_fill_in
        self.rejected: list[Rejected] = []
        self.schemes: set[str] = set()
        self._images: list[LabelledImage] = []
        # The row of each path.
        self._numbers: dict[str, int] = {}
        # Text that many rows share, stored once.
        self.labels: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        # Of a group: its split, and the first row that names it.
        self._splits: dict[str, tuple[str, int]] = {}

    def add(self, number: int, values: Sequence[str]) -> None:
        """Add a row; `DataError` for a mistake in it."""
        row = {column: value.strip() for column, value in zip(self._columns, values, strict=True)}
        if any("\0" in value for value in row.values()):
            raise self._error(number, "holds a zero byte")
        path = self._path(number, row["path"])
        if self._is_to_fill_in and row.get("label") == "":
            self.rejected.append(Rejected(path, TO_FILL_IN))
            return
        label = self._label(number, row["label"]) if "label" in row else ""
        split, group = self._split(number, row.get("split", "")), row.get("group") or None
        if group is not None:
            group = self._groups.setdefault(group, group)
            self._note_split(number, group, split)
        weight = self._weight(number, row["weight"]) if "weight" in row else 1.0
        self._images.append(LabelledImage(path, label, split, group, weight))

    def finish(self) -> list[LabelledImage]:
        """All images; a group whose split is named once is in that split."""
        if not self._images:
            found = f"{len(self.rejected)} rows without a label" if self.rejected else "none"
            raise DataError(
                f"{self._name}: expected a row for each image below the names of the columns, "
                f"found {found}."
            )
        return [
            image._replace(given_split=self._splits[image.group][0])
            if image.group in self._splits
            else image
            for image in self._images
        ]

    def _path(self, number: int, path: str) -> str:
        if not path:
            raise self._error(number, "path is empty")
        if len(path) > LONGEST_PATH:
            raise self._error(number, f"path is longer than {LONGEST_PATH} characters")
        try:
            found = address(self._name, path)
        except ValueError as error:
            raise self._error(number, f"path {path!r}: {error}") from error
        if is_url(found) or is_url(self._name):
            self._check_url(number, found)
        first = self._numbers.setdefault(found, number)
        if first != number:
            raise self._error(number, f"path {found!r} is already on {self._unit} {first}")
        return found

    def _check_url(self, number: int, path: str) -> None:
        lies = place(self._name, path)
        try:
            if isinstance(lies, str):
                refuse_secrets(lies)
                protocols = "::".join(protocols_of(lies))
                if protocols not in self.schemes:
                    require_reader(lies)
                self.schemes.add(protocols)
            require_allowed(path)
        except DataError as error:
            raise self._error(number, str(error)) from error

    def _label(self, number: int, label: str) -> str:
        if not label:
            raise self._error(number, "label is empty")
        if "|" in label:
            raise self._error(number, f"label {label!r}: expected one label, found several")
        if label not in self.labels:
            try:
                self.labels[label] = checked_class(label)
            except UnusableImageError as error:
                raise self._error(number, f"label {label[:MOST_SHOWN]!r}: {error}") from error
        return self.labels[label]

    def _split(self, number: int, split: str) -> str | None:
        if not split:
            return None
        if split.lower() not in SPLIT_FOLDERS:
            expected = ", ".join(SPLIT_FOLDERS)
            raise self._error(number, f"split {split!r}: expected {expected}, or nothing")
        return SPLIT_FOLDERS[split.lower()]

    def _note_split(self, number: int, group: str, split: str | None) -> None:
        if split is None:
            return
        first_split, first_number = self._splits.setdefault(group, (split, number))
        if first_split != split:
            raise self._error(
                number,
                f"group {group!r} is in {split} here and in {first_split} on {self._unit} "
                f"{first_number}: all images of a group must be in one split",
            )

    def _weight(self, number: int, text: str) -> float:
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise self._error(number, f"weight {text!r}: expected a positive, finite number")
        return weight

    def _error(self, number: int, what: str) -> DataError:
        said = without_secrets(what).rstrip(".")
        return DataError(f"{at(self._name, self._unit, number)}: {said}.")


def address(manifest: str, path: str) -> str:
    """The one name of a file, for all paths in a list that lead to it.

    It is POSIX and relative to the folder of the list, if the file is in there; otherwise a URL,
    which begins with ``file://`` for a file of this machine. Raises `ValueError` if the path leads
    nowhere.
    """
    if is_url(path) and not path.startswith(f"{FILE}/"):
        found = path
    elif is_url(manifest):
        found = _beside_url(path)
    else:
        found = _on_disk(manifest, without_file(path))
    if not leads_inside(found):
        raise ValueError("expected the path or URL of a file")
    return found


def require_allowed(path: str) -> None:
    """`DataError` for a result of `address` that is elsewhere, unless the user allowed that."""
    if not is_url(path):
        return
    allowed = {each.strip() for each in os.environ.get(ALLOWED, "").split(",")}
    missing = set(protocols_of(path)) - allowed - set(ARCHIVES)
    if missing:
        raise DataError(
            f"{without_secrets(path)}: is outside the folder of the list. headbench opens it only "
            f"if you allow it: {ALLOWED}={','.join(sorted(missing))}"
        )


def place(manifest: str, path: str) -> Path | str:
    """Where to read a result of `address`: a path of this machine, or a URL."""
    if path.startswith(FILE):
        return Path(without_file(path))
    if is_url(path):
        return path
    if is_url(manifest):
        # Of a chain such as zip://list.csv::s3://bucket/photos.zip the first link is the list.
        first, chained, others = manifest.partition("::")
        return f"{first.rpartition('/')[0]}/{path}{chained}{others}"
    return Path(manifest).parent / path


def _beside_url(path: str) -> str:
    if is_url(path):
        return path
    if path.startswith("/"):
        raise ValueError("expected a path relative to the list, or a URL, since the list is one")
    found = posixpath.normpath(path)
    if not leads_inside(found):
        raise ValueError("leads out of the folder of the list: write a URL instead")
    return found


def _on_disk(manifest: str, path: str) -> str:
    if leads_inside(path):
        parts = path.replace(os.sep, "/").split("/")
        return "/".join(part for part in parts if part not in ("", "."))
    folder = os.path.abspath(os.path.dirname(manifest))
    whole, below = _from_root(os.path.join(folder, path)), _from_root(folder).rstrip("/") + "/"
    return whole.removeprefix(below) if whole.startswith(below) else f"{FILE}{whole}"


def _from_root(path: str) -> str:
    """An absolute path as in ``file://`` URLs; on Windows ``/C:/photos``."""
    return "/" + os.path.normpath(path).replace(os.sep, "/").lstrip("/")
