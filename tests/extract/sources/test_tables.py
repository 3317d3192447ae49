"""What CSV and Parquet files may look like, and how their errors say where."""

import builtins
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headbench.extract.errors import DataError
from headbench.extract.sources import tables
from headbench.extract.sources.tables import open_rows
from tests.extract.sources.manifests import write_parquet
from tests.extract.sources.web_server import web_server


def read(path: Path | str, wanted: Sequence[str]) -> list[tuple[int, list[str]]]:
    with open_rows(str(path)) as rows:
        return list(rows.read(wanted))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"path,label\na.png,cat\nb.png,dog\n"),
        ("bom.csv", b"\xef\xbb\xbfpath,label\na.png,cat\nb.png,dog"),
        ("crlf.csv", b"path,label\r\na.png,cat\r\nb.png,dog\r\n"),
        ("quotes.CSV", b'"path", label\n"a.png","cat"\nb.png,dog\n'),
        ("a.tsv", b"path\tlabel\na.png\tcat\nb.png\tdog\n"),
    ],
)
def test_every_dialect_says_the_same(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with open_rows(str(tmp_path / name)) as rows:
        assert rows.columns == ("path", "label")
        assert list(rows.read(["label", "path"])) == [(2, ["cat", "a.png"]), (3, ["dog", "b.png"])]


def test_lines_are_those_that_an_editor_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'path,label\n"a\nb\nc.png","cat, or ""dog"""\n\nd.png,dog\n')
    assert read(path, ["path", "label"]) == [
        (2, ["a\nb\nc.png", 'cat, or "dog"']),
        (6, ["d.png", "dog"]),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"path,label\na,b\nc,d,e\n", "line 3: expected 2 fields, as in the header, found 3"),
        (b'path,label\n"a\nb",c\nd\n', "line 4: expected 2 fields, as in the header, found 1"),
        (b"path,label\na,b\nc,\xe9t\xe9\n", "line 3: expected UTF-8 text"),
        (b"\xff\xfep\0a\0", "line 1: expected UTF-8 text"),
        (b'path,label\na,b\n"c,d\ne,f\n', "line 3: not CSV"),
        (b"path,label\na,b\n" + b"x" * 200_000 + b",d\n", "line 3: not CSV"),
    ],
)
def test_what_is_no_csv_is_named_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path}, {message}"):
        read(path, ["path", "label"])


def test_parquet_comes_as_text_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 2)
    kinds = pa.array(["x", None, "y", "x", "x"]).dictionary_encode()
    path = write_parquet(
        tmp_path / "a.parquet",
        weight=[0.5, 1.0, 2.0, 1e-3, 4.0],
        path=["a", "b", "c", "d", "e"],
        label=[1, 2, -3, 4, None],
        split=kinds,
    )
    assert read(path, ["path", "label", "split", "weight"]) == [
        (1, ["a", "1", "x", "0.5"]),
        (2, ["b", "2", "", "1"]),
        (3, ["c", "-3", "y", "2"]),
        (4, ["d", "4", "x", "0.001"]),
        (5, ["e", "", "x", "4"]),
    ]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_what_pandas_made_floats_of_comes_as_what_it_was(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = pa.array([0.0, float("nan"), None, -3.0, 0.5], kind)
    path = write_parquet(tmp_path / "a.parquet", label=numbers, text=["nan", "", None, "1.0", "x"])
    assert [row for _, row in read(path, ["label", "text"])] == [
        ["0", "nan"],
        ["", ""],
        ["", ""],
        ["-3", "1.0"],
        ["0.5", "x"],
    ]


def test_parquet_that_is_damaged_or_of_other_things_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(path, ["path"])
    write_parquet(path, path=[b"a"], label=[{"a": 1}], split=[datetime(2020, 1, 1, tzinfo=UTC)])
    for column in ("path", "label"):
        with pytest.raises(DataError, match=f"column {column} holds .*, expected text or numbers"):
            read(path, [column])
    pq.write_table(pa.table({"path": ["a" * 50, "b" * 50] * 500}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[100:200] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(DataError, match="row 1 or one soon after cannot be read"):
        read(path, ["path"])


def test_one_long_text_that_many_rows_of_parquet_name_is_refused(tmp_path: Path) -> None:
    texts = pa.array(["x", "x" * 20_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), texts)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"path": column}), path, store_schema=False)
    with pytest.raises(DataError, match="16384 bytes in a row of column path, found 20000"):
        read(path, ["path"])


def test_more_text_in_a_row_group_than_fits_in_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", path=["x" * 500] * 9, label=["y"] * 9, n=[1] * 9)
    monkeypatch.setattr(tables, "MAX_GROUP_BYTES", 400)
    assert len(read(path, ["label", "n"])) == 9
    with pytest.raises(DataError, match=r"of column path in a row group, found .* smaller row gr"):
        read(path, ["path"])


def test_without_pyarrow_parquet_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", path=["a"])
    there = builtins.__import__

    def missing(name: str, *arguments, **named):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return there(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DataError, match=r"pip install \"headbench\[tables\]\""):
        read(path, ["path"])


def test_what_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"a\.csv: cannot be read"):
        read(tmp_path / "a.csv", ["path"])
    with pytest.raises(DataError, match=r"memory://nowhere\.csv: no such file"):
        read("memory://nowhere.csv", ["path"])


def test_a_list_behind_a_url_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    line = b"x" * 1000 + b".png,cat\n"
    (tmp_path / "a.csv").write_bytes(b"path,label\n" + line * 40_000)
    with web_server(tmp_path) as url:
        tracemalloc.start()
        with open_rows(f"{url}/a.csv") as rows:
            assert sum(1 for _ in rows.read(["path", "label"])) == 40_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20e6


def test_a_line_without_end_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"path,label\n")
    with path.open("r+b") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(DataError, match=r"a.csv, line 2: expected at most 1048576 bytes in a line"):
        read(path, ["path"])


def test_a_list_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(4_000_000_001)
    with pytest.raises(DataError, match="expected a list of at most 4000000000 bytes"):
        read(path, ["path"])
