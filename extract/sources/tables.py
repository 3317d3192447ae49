"""Rows of CSV and Parquet files, read in blocks, each with where it stands."""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from extract.errors import DataError
from extract.sources.source import text_of
from extract.sources.urls import fetch

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
EXTENSIONS = (*DELIMITERS, PARQUET)
# Of a Parquet file, in memory at a time.
BATCH_ROWS = 1 << 16
EXTRA = "make install EXTRAS=tables (pip install pyarrow)"


class Rows(Protocol):
    """Rows of an open table.

    Attributes
    ----------
    unit : str
        What rows are counted in: ``line`` or ``row``.
    columns : tuple of str
        Names, as they stand in the file.
    lists : tuple of str
        Those of them that hold several values in a row.
    """

    unit: str
    columns: tuple[str, ...]
    lists: tuple[str, ...]

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Where each row stands, from 1 on, and its text in some columns; empty for none."""


def extension(name: str) -> str:
    """The ending of a path or URL, in small letters."""
    return PurePosixPath(name.partition("::")[0]).suffix.lower()


@contextmanager
def open_rows(name: str) -> Iterator[Rows]:
    """Open a table by its path or URL; what lies behind a URL is copied to a temporary file first.

    Raises
    ------
    DataError
        If it cannot be read, or is damaged; while it is read too, with the line or row.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(name)
        if "://" in name:
            path = Path(folder, "table")
            fetch(name, path)
        try:
            with path.open("rb") as file:
                yield _rows(name, file)
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror or error}).") from error


def at(name: str, unit: str, number: int) -> str:
    """Where something stands, as errors say it."""
    return f"{name}, {unit} {number}"


def _rows(name: str, file: BinaryIO) -> Rows:
    ending = extension(name)
    return ParquetRows(name, file) if ending == PARQUET else CsvRows(name, file, DELIMITERS[ending])


class CsvRows:
    """Rows of a CSV file: UTF-8, with or without byte order mark; the first one names columns.

    Parameters
    ----------
    name : str
        For errors.
    file : binary file
    delimiter : str
    """

    unit = "line"
    lists: tuple[str, ...] = ()

    def __init__(self, name: str, file: BinaryIO, delimiter: str) -> None:
        self._name = name
        self._reader = csv.reader(self._lines(file), delimiter=delimiter, strict=True)
        _, columns = next(self._rows(), (0, []))
        self.columns = tuple(column.strip() for column in columns)

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """See `Rows.read`; a row that is broken over several lines stands on the first of them."""
        positions = [self.columns.index(column) for column in wanted]
        for line, fields in self._rows():
            if len(fields) != len(self.columns):
                raise DataError(
                    f"{at(self._name, self.unit, line)}: expected {len(self.columns)} fields, as "
                    f"in the header, found {len(fields)}."
                )
            yield line, [fields[position] for position in positions]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows that are not blank, and the line that each begins on."""
        line = self._reader.line_num + 1
        try:
            for fields in self._reader:
                if fields:
                    yield line, fields
                line = self._reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{at(self._name, self.unit, line)}: not CSV ({error}).") from error

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{at(self._name, self.unit, number)}: expected UTF-8 text, found something "
                    "else. Save it as UTF-8."
                ) from error


class ParquetRows:
    """Rows of a Parquet file, some at a time.

    Parameters
    ----------
    name : str
        For errors.
    file : binary file
    """

    unit = "row"

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DataError(f"{name}: to read Parquet, {EXTRA}.") from error
        self._arrow = pyarrow
        try:
            self._file = pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{name}: not a readable Parquet file ({_first_line(error)})."
            ) from error
        self._schema = self._file.schema_arrow
        self.columns = tuple(self._schema.names)
        self.lists = tuple(field.name for field in self._schema if self._is_list(field.type))

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """See `Rows.read`; numbers come as their text, see `text_of`."""
        for column in wanted:
            self._require_values(column)
        number = 0
        try:
            for batch in self._file.iter_batches(BATCH_ROWS, columns=list(wanted)):
                columns = [batch.column(column).to_pylist() for column in wanted]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, list(map(text_of, values))
        except (self._arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{at(self._name, self.unit, number + 1)} or one soon after cannot be read "
                f"({_first_line(error)})."
            ) from error

    def _is_list(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(
            types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        )

    def _require_values(self, column: str) -> None:
        kind, types = self._schema.field(column).type, self._arrow.types
        if types.is_nested(kind) or "binary" in str(kind):
            raise DataError(
                f"{self._name}: column {column} holds {kind}, expected text or numbers."
            )


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", maxsplit=1)[0]
