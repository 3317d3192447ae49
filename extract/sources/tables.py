"""Rows of CSV and Parquet files, read in blocks, each with its line or row number."""

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from headbench.cache.untrusted import open_regular
from headbench.extract.errors import DataError, TooLargeError
from headbench.extract.sources.source import text_of
from headbench.extract.sources.urls import fetch, is_url

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
EXTENSIONS = (*DELIMITERS, PARQUET)
# Rows of a Parquet file in memory at a time.
BATCH_ROWS = 1 << 14
# Largest size of a text in it, and of all texts of a column in a row group.
MAX_TEXT_BYTES, MAX_GROUP_BYTES = 1 << 14, 1 << 28
# Largest size of a list, and of a line in it.
MAX_LIST_BYTES, MAX_LINE_BYTES = 4_000_000_000, 1 << 20
EXTRA = 'pip install "headbench[tables]"'


def extension(name: str) -> str:
    """The ending of a path or URL, in lower case."""
    return PurePosixPath(name.partition("::")[0]).suffix.lower()


def at(name: str, unit: str, number: int) -> str:
    """The position of a row, as errors name it."""
    return f"{name}, {unit} {number}"


@contextmanager
def open_rows(name: str) -> Iterator["CsvRows | ParquetRows"]:
    """Open a table by its path or URL.

    Raises `DataError` if it cannot be read or is damaged; later too, with the line or row, while it
    is read.
    """
    try:
        with _on_disk(name) as path, open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_LIST_BYTES:
                raise TooLargeError("")
            if extension(name) == PARQUET:
                yield ParquetRows(name, file)
            else:
                yield CsvRows(name, file, DELIMITERS[extension(name)])
    except TooLargeError as error:
        raise DataError(
            f"{name}: expected a list of at most {MAX_LIST_BYTES} bytes, found a larger one. Split "
            "the list."
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error}).") from error


@contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """The file itself, or a copy if it is behind a URL: a list may be larger than memory."""
    if not is_url(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "list"
        fetch(name, copy, MAX_LIST_BYTES)
        yield copy


class CsvRows:
    """Rows of a CSV file: UTF-8, with or without byte order mark; the first names the columns.

    Attributes
    ----------
    unit : str
        The unit of row numbers.
    columns : tuple of str
        Names, as written in the file.
    lists : tuple of str
        Columns that hold several values in a row.
    """

    unit = "line"
    lists: tuple[str, ...] = ()

    def __init__(self, name: str, file: BinaryIO, delimiter: str) -> None:
        self._name = name
        self._reader = csv.reader(self._lines(file), delimiter=delimiter, strict=True)
        _, columns = next(self._rows(), (0, []))
        self.columns = tuple(column.strip() for column in columns)

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The line number of each row, from 1, and its text in some columns.

        A row that spans several lines has the number of the first.
        """
        positions = [self.columns.index(column) for column in wanted]
        for line, fields in self._rows():
            if len(fields) != len(self.columns):
                raise DataError(
                    f"{at(self._name, self.unit, line)}: expected {len(self.columns)} fields, as "
                    f"in the header, found {len(fields)}."
                )
            yield line, [fields[position] for position in positions]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows that are not blank, and the line on which each begins."""
        line = self._reader.line_num + 1
        try:
            for fields in self._reader:
                if fields:
                    yield line, fields
                line = self._reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{at(self._name, self.unit, line)}: not CSV ({error}).") from error

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{at(self._name, self.unit, number)}: expected at most {MAX_LINE_BYTES} bytes "
                    "in a line, found more."
                )
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{at(self._name, self.unit, number)}: expected UTF-8 text, found something "
                    "else. Save it as UTF-8."
                ) from error


class ParquetRows:
    """Rows of a Parquet file, some at a time; its attributes are those of `CsvRows`."""

    unit = "row"

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DataError(f"{name}: reading Parquet needs pyarrow: {EXTRA}.") from error
        self._arrow = pyarrow
        try:
            self._open = partial(pyarrow.parquet.ParquetFile, file)
            self._file = self._open()
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{name}: not a readable Parquet file ({_first_line(error)})."
            ) from error
        self._schema = self._file.schema_arrow
        self.columns = tuple(self._schema.names)
        self.lists = tuple(field.name for field in self._schema if "list" in str(field.type))

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The number of each row, from 1, and its text in some columns; see `text_of`."""
        for column in wanted:
            kind: Any = self._schema.field(column).type
            if self._arrow.types.is_nested(kind) or "binary" in str(kind):
                raise DataError(
                    f"{self._name}: column {column} holds {kind}, expected text or numbers."
                )
        number = 0
        try:
            for batch in self._batches(list(wanted)):
                columns = [batch.column(column).to_pylist() for column in wanted]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, list(map(text_of, values))
        except (self._arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{at(self._name, self.unit, number + 1)} or one soon after cannot be read "
                f"({_first_line(error)})."
            ) from error

    def _batches(self, wanted: list[str]) -> Iterator[Any]:
        """Some rows at a time, from one row group after the other."""
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            chunks = [group.column(column) for column in range(group.num_columns)]
            texts = [
                each
                for each in chunks
                if each.path_in_schema in wanted and each.physical_type == "BYTE_ARRAY"
            ]
            for text in texts:
                self._require_bounded(text, number)
            yield from self._file.iter_batches(BATCH_ROWS, row_groups=[number], columns=wanted)

    def _require_bounded(self, text: Any, row_group: int) -> None:
        """Refuse text that may be far longer in memory than in the file.

        It is if it is compressed, or if many rows name one long entry of a dictionary.
        """
        name, n_bytes = text.path_in_schema, text.total_uncompressed_size
        if n_bytes > MAX_GROUP_BYTES:
            raise DataError(
                f"{self._name}: expected at most {MAX_GROUP_BYTES} bytes of column {name} in a row "
                f"group, found {n_bytes}. Write it with smaller row groups."
            )
        from pyarrow.compute import binary_length

        file = self._open(read_dictionary=[name], metadata=self._file.metadata)
        # With the first row comes the whole dictionary.
        for batch in file.iter_batches(1, row_groups=[row_group], columns=[name]):
            longest = max(binary_length(batch.column(0).dictionary).to_pylist(), default=0)
            if longest > MAX_TEXT_BYTES:
                raise DataError(
                    f"{self._name}: expected at most {MAX_TEXT_BYTES} bytes in a row of column "
                    f"{name}, found {longest}."
                )
            break


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", maxsplit=1)[0]
