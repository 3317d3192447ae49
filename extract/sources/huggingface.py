"""A data set that ``save_to_disk`` of Hugging Face's ``datasets`` wrote: images in Arrow files."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.format import Rejected
from extract.errors import DataError, UnusableImageError
from extract.read import ImageFile
from extract.sources.folder import SPLIT_FOLDERS, file_stamp
from extract.sources.source import (
    N_STAMPS,
    Found,
    LabelledImage,
    Listing,
    order_of_numbers,
    text_of,
)

LAYOUT = "Hugging Face data set"
SPLITS_FILE = "dataset_dict.json"
TABLE_FILES = ("dataset_info.json", "state.json")
EXTRA = "make install EXTRAS=hf (pip install datasets)"
# Labels read at a time.
BATCH_ROWS = 1 << 16


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote: of one table, or of several splits."""
    return (folder / SPLITS_FILE).is_file() or all(
        (folder / name).is_file() for name in TABLE_FILES
    )


@dataclass(frozen=True)
class HuggingFace:
    """Rows of a saved data set, or of its splits train, validation and test.

    Images are called ``train/000000123``: the split, where there are several, and the row. Labels
    are those of its one column of class labels; if it has none, of its column ``label``.

    Attributes
    ----------
    root : Path
    """

    root: Path
    is_near = True

    def __getstate__(self) -> dict[str, Any]:
        # To other processes goes no open table: they open it themselves.
        return {"root": self.root}

    @property
    def name(self) -> str:
        """The folder as the user named it."""
        return str(self.root)

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder."""
        return is_saved_dataset(self.root)

    def find(self) -> Listing:
        """All rows of it; `DataError` if its columns do not say which image shows what."""
        found: list[Found] = []
        names: dict[str, None] = {}
        for split, table in self._tables.items():
            if split and split.lower() not in SPLIT_FOLDERS:
                raise DataError(
                    f"{self.name}: expected splits called {', '.join(SPLIT_FOLDERS)}, found "
                    f"{split!r}. Rename or remove it, and save the data set again."
                )
            self._image_column(table)
            label = self._label_column(table)
            names |= dict.fromkeys(getattr(table.features[label], "names", ()))
            found += _labelled(split, table, label)
        labels = {each.class_name for each in found if isinstance(each, LabelledImage)}
        order = list(names) if labels <= names.keys() else order_of_numbers(labels)
        return Listing(LAYOUT, found, order)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read."""
        return ImageFile(path, content, self._read)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """What changes when any of the files changes that a split lies in; int64 (n_paths, 4)."""
        stamps = {split: _folder_stamp(self.root / split) for split in self._tables}
        rows = [stamps[path.rpartition("/")[0]] for path in paths]
        return np.array(rows, dtype=np.int64).reshape(-1, N_STAMPS)

    @cached_property
    def _tables(self) -> dict[str, Any]:
        """Tables by split, under an empty name if there is one only; images stay as they are."""
        datasets = _datasets(self.name)
        _refuse_empty(self.root)
        try:
            found = datasets.load_from_disk(self.name)
        except Exception as error:  # of Arrow, of JSON, of the disk
            raise DataError(f"{self.name}: cannot be opened ({error}).") from error
        tables = dict(found) if isinstance(found, dict) else {"": found}
        for split, table in tables.items():
            for column in _columns_of(table, datasets.Image):
                tables[split] = table.cast_column(column, datasets.Image(decode=False))
        return tables

    def _image_column(self, table: Any) -> str:
        return self._only(table, _columns_of(table, _datasets(self.name).Image), "images")

    def _label_column(self, table: Any) -> str:
        datasets = _datasets(self.name)
        named = [column for column in table.column_names if column.lower() == "label"]
        labels = dict.fromkeys([*_columns_of(table, datasets.ClassLabel), *named])
        column = self._only(table, list(labels), "labels")
        feature = table.features[column]
        if not isinstance(feature, datasets.ClassLabel | datasets.Value):
            raise DataError(
                f"{self.name}: column {column} holds {feature}, expected one label a row."
            )
        return column

    def _only(self, table: Any, columns: list[str], what: str) -> str:
        if len(columns) != 1:
            raise DataError(
                f"{self.name}: expected one column of {what}, found "
                f"{', '.join(columns) or 'none'}; its columns are {', '.join(table.column_names)}. "
                "Keep, or rename, one (remove_columns, rename_column), and save it again."
            )
        return columns[0]

    def _read(self, path: str) -> bytes:
        split, _, row = path.rpartition("/")
        table = self._tables.get(split)
        if table is None or not row.isdecimal() or int(row) >= len(table):
            raise UnusableImageError("no such row")
        column = self._image_column(table)
        image = table.select_columns([column])[int(row)][column] or {}
        if image.get("bytes") is None:
            raise UnusableImageError("the data set does not hold its bytes")
        return bytes(image["bytes"])


def _refuse_empty(root: Path) -> None:
    """`DataError` for a table without rows, which is saved without a file and cannot be opened."""
    for state in (*root.glob("state.json"), *sorted(root.glob("*/state.json"))):
        if not any(state.parent.glob("*.arrow")):
            raise DataError(
                f"{state.parent}: expected rows in .arrow files, found none. Remove this split, or "
                "fill it, and save the data set again."
            )


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{name}: to read it, {EXTRA}.") from error
    return datasets


def _columns_of(table: Any, kind: type) -> list[str]:
    return [column for column, feature in table.features.items() if isinstance(feature, kind)]


def _labelled(split: str, table: Any, column: str) -> Iterator[Found]:
    """Rows of one split; no image is touched."""
    names = getattr(table.features[column], "names", None)
    given, prefix = SPLIT_FOLDERS.get(split.lower()), f"{split}/" if split else ""
    batches = table.select_columns([column]).iter(BATCH_ROWS)
    labels = (label for batch in batches for label in batch[column])
    for row, label in enumerate(labels):
        path = f"{prefix}{row:09}"
        text = text_of(label)
        if not text or (names and label < 0):
            yield Rejected(path, "has no label")
        else:
            yield LabelledImage(path, names[label] if names else text, given)


def _folder_stamp(folder: Path) -> tuple[int, int, int, int]:
    """Sizes, the last times of modification and change, and all else of the files in a folder."""
    files = sorted(each.path for each in os.scandir(folder) if each.is_file())
    stamps = np.array([file_stamp(each) for each in files], dtype=np.int64)
    digest = hashlib.sha256(stamps.tobytes()).digest()
    modified, changed = stamps[:, 1:3].max(axis=0).tolist()
    return (int(stamps[:, 0].sum()), modified, changed, int.from_bytes(digest[:8]) >> 1)
