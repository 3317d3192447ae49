"""Rows of a manifest to labelled images, or a clear line about what they may not say."""

import re
from array import array
from collections.abc import Collection, Sequence

import numpy as np

from extract.errors import DataError, UnusableImageError
from extract.sources.addresses import refuse_secrets, without_secrets
from extract.sources.layouts import SPLIT_FOLDERS
from extract.sources.places import FILE, address, is_url
from extract.sources.samples import checked_class
from extract.sources.source import LabelledImage
from extract.sources.tables import at
from extract.sources.urls import require_reader

COLUMNS = ("path", "label", "split", "group", "weight")
REQUIRED = COLUMNS[:2]
# What people call the columns of images that have several labels.
SEVERAL_LABELS = re.compile(r"labels?[ _-]?\d*")
# Characters of a label, in an error.
MOST_SHOWN = 40
# Weights are kept in float32, where smaller and larger ones are 0 and infinite.
LEAST_WEIGHT, MOST_WEIGHT = (float(limit) for limit in (np.finfo("f4").tiny, np.finfo("f4").max))


def choose_columns(name: str, found: Sequence[str], lists: Sequence[str]) -> dict[str, str]:
    """The name in the file of each of `COLUMNS` that is there.

    Raises
    ------
    DataError
        If a required one is missing, one stands twice, or images have several labels.
    """
    labels = [column for column in found if SEVERAL_LABELS.fullmatch(column.lower())]
    if labels and (len(labels) > 1 or labels[0].lower() != "label" or labels[0] in lists):
        raise DataError(
            f"{name}: found several labels for an image (column {', '.join(labels)}), expected "
            "one. Keep one label in each row, in a column called label."
        )
    known = [column for column in found if column.lower() in COLUMNS]
    columns = {column.lower(): column for column in known}
    if len(columns) < len(known):
        raise DataError(f"{name}: a column stands twice: found {', '.join(found)}.")
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise DataError(
            f"{name}: no column {' and no column '.join(missing)}; found "
            f"{', '.join(found) or 'no columns'}. Expected {', '.join(COLUMNS)}, of which the "
            "first two are required."
        )
    return columns


class ManifestRows:
    """Rows on their way to labelled images, and what has to be remembered of them for that.

    Parameters
    ----------
    name, unit : str
        Of the list, and what its rows are counted in.
    columns : sequence of str
        Those of `COLUMNS` that are read, in the order of the values.
    """

    def __init__(self, name: str, unit: str, columns: Sequence[str]) -> None:
        self._name, self._unit, self._columns = name, unit, columns
        self.schemes: set[str] = set()
        self._images: list[LabelledImage] = []
        self._numbers = array("q")
        # Text that many rows share, kept once.
        self._labels: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        # Of a group: its split, and the first row that names it.
        self._splits: dict[str, tuple[str, int]] = {}

    def add(self, number: int, values: Sequence[str]) -> None:
        """Take up a row; `DataError` for what it may not say."""
        row = {column: value.strip() for column, value in zip(self._columns, values, strict=True)}
        if any("\0" in value for value in row.values()):
            raise self._error(number, "holds a zero byte")
        group, split = self._group(row.get("group", "")), self._split(number, row.get("split", ""))
        if group is not None and split is not None:
            self._note_split(number, group, split)
        self._images.append(
            LabelledImage(
                self._path(number, row["path"]),
                self._label(number, row["label"]),
                split,
                group,
                self._weight(number, row["weight"]) if "weight" in row else 1.0,
            )
        )
        self._numbers.append(number)

    def finish(self) -> list[LabelledImage]:
        """All images, those of a group in the split that one of them names."""
        if not self._images:
            raise DataError(
                f"{self._name}: expected a row for each image below the names of the columns, "
                "found none."
            )
        self._refuse_repeated()
        return [
            image._replace(given_split=self._splits[image.group][0])
            if image.group in self._splits
            else image
            for image in self._images
        ]

    @property
    def labels(self) -> Collection[str]:
        """Those seen so far, each once."""
        return self._labels.keys()

    def _path(self, number: int, path: str) -> str:
        if not path:
            raise self._error(number, "path is empty")
        try:
            found = address(self._name, path)
        except ValueError as error:
            raise self._error(number, f"path {path!r}: {error}") from error
        if is_url(found) and not found.startswith(FILE):
            self._check_url(number, found)
        return found

    def _check_url(self, number: int, url: str) -> None:
        scheme = url.partition("://")[0]
        try:
            refuse_secrets(url)
            if scheme not in self.schemes:
                require_reader(url)
        except DataError as error:
            raise self._error(number, str(error)) from error
        self.schemes.add(scheme)

    def _label(self, number: int, label: str) -> str:
        if not label:
            raise self._error(number, "label is empty")
        if "|" in label:
            raise self._error(number, f"label {label!r}: expected one label, found several")
        if label not in self._labels:
            try:
                self._labels[label] = checked_class(label)
            except UnusableImageError as error:
                shown = label[:MOST_SHOWN]
                raise self._error(number, f"label {shown!r}: {error}") from error
        return self._labels[label]

    def _group(self, group: str) -> str | None:
        return self._groups.setdefault(group, group) if group else None

    def _split(self, number: int, split: str) -> str | None:
        if not split:
            return None
        if split.lower() not in SPLIT_FOLDERS:
            expected = ", ".join(SPLIT_FOLDERS)
            raise self._error(number, f"split {split!r}: expected {expected}, or nothing")
        return SPLIT_FOLDERS[split.lower()]

    def _note_split(self, number: int, group: str, split: str) -> None:
        first_split, first_number = self._splits.setdefault(group, (split, number))
        if first_split != split:
            raise self._error(
                number,
                f"group {group!r} is in {split} here and in {first_split} on {self._unit} "
                f"{first_number}: a group has one split",
            )

    def _weight(self, number: int, text: str) -> float:
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise self._error(number, f"weight {text!r}: expected a positive, finite number")
        return weight

    def _refuse_repeated(self) -> None:
        """By their hashes, which take a tenth of the memory of a dictionary of paths."""
        hashes = np.fromiter((hash(each.path) for each in self._images), "i8", len(self._images))
        order = np.argsort(hashes, kind="stable")
        alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        pairs = sorted(zip(order[alike + 1].tolist(), order[alike].tolist(), strict=True))
        for second, first in pairs:
            path = self._images[second].path
            if path == self._images[first].path:
                raise self._error(
                    self._numbers[second],
                    f"path {path!r} is on {self._unit} {self._numbers[first]} already",
                )

    def _error(self, number: int, what: str) -> DataError:
        said = without_secrets(what).rstrip(".")
        return DataError(f"{at(self._name, self._unit, number)}: {said}.")
