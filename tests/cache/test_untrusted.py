"""Feature files of a stranger: nothing but the file itself is opened, and no size is believed."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache import untrusted
from headbench.cache.blocks import fixed_text
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import OPTIONAL, Rejected
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import MOST_NESTED, open_archive, open_regular, parse_json, read_json
from tests.cache.tables import check, make_table, write_file
from tests.cache.test_reader import seal_attributes
from tests.conftest import needs_posix

Change = Callable[[h5py.File], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "features.h5", make_table(7, (Rejected("a.txt", "no"),)))


def refuse(path: Path, change: Change, *phrases: str) -> None:
    """The file is refused before anything is read of it, by the check too."""
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(FeatureFileError) as caught:
        FeatureFile(path)
    for phrase in (str(path), *phrases):
        assert phrase in str(caught.value)
    assert check(path) == check(path, repair=True) == 2


def made(name: str, **options: object) -> Change:
    """Put another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **options)

    return change


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = link

    return change


def virtual(name: str, other: str) -> Change:
    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((7,), np.int32)
        layout[:] = h5py.VirtualSource(other, "labels", (7,))
        if name in file:
            del file[name]
        file.create_virtual_dataset(name, layout)

    return change


@needs_posix
@pytest.mark.parametrize("name", ["labels", "checksums/labels", "notes", "a/b/notes"])
@pytest.mark.parametrize("target", ["other.h5", "pipe"])
def test_what_lies_in_another_file_is_refused(path: Path, name: str, target: str) -> None:
    """Whole and right as the other file may be; a pipe would be waited for."""
    write_file(path.parent / "other.h5", make_table(7))
    os.mkfifo(path.parent / "pipe")
    other = str(path.parent / target)
    raw = {"shape": (7,), "dtype": np.int32, "external": [(other, 0, 28)]}
    for change, phrase in (
        (linked(name, h5py.ExternalLink(other, "/labels")), "is a link"),
        (linked(name, h5py.SoftLink("/elsewhere")), "is a link"),
        (virtual(name, other), "is a virtual dataset"),
        (virtual(name, "."), "is a virtual dataset"),
        (made(name, **raw), "lies in another file"),
    ):
        refuse(path, change, f"/{name} {phrase}")


def test_groups_without_end_are_refused(path: Path) -> None:
    refuse(path, lambda file: file.create_group("a/" * 3000), f"more than {MOST_NESTED} deep")


def test_a_group_that_holds_itself_is_no_harm(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["checksums/again"] = file["/"]
    with FeatureFile(path) as features:
        assert features.table.equals(make_table(7, (Rejected("a.txt", "no"),)))


LARGE = {"shape": (1, 1 << 30), "chunks": (1, 1 << 30), "dtype": np.uint8}


@pytest.mark.parametrize(
    ("name", "options", "phrase"),
    [
        ("checksums/labels", {"shape": (10**9,), "dtype": np.uint32}, "claims 4000000000 bytes"),
        ("checksums/labels", {"shape": (2,), "dtype": np.uint32}, "another number of checksums"),
        ("checksums/labels", {"shape": (1,), "dtype": np.float64}, "another number of checksums"),
        (
            "checksums/labels",
            {"shape": (1,), "chunks": (10**9,), "maxshape": (None,), "dtype": np.uint32},
            "blocks of 1000000000 rows of 4 bytes",
        ),
        ("rejected/path", {"shape": (10**8,), "dtype": "S100"}, "claims 10000000000 bytes"),
        ("labels", {"shape": (10**12,), "dtype": np.int32}, "claims 4000000000000 bytes"),
        (
            "labels",
            {"shape": (10**12,), "chunks": (1000,), "dtype": np.int32},
            "claims 4000000000000 bytes",
        ),
        ("embeddings", {"shape": (7, 2**62, 2**62), "dtype": np.float32}, "bytes, more than"),
        ("embeddings", LARGE | {"compression": "gzip"}, "is compressed"),
        ("embeddings", LARGE, "blocks of 1 rows of 1073741824 bytes"),
        (
            "embeddings",
            {"shape": (7, 3), "chunks": (7, 2), "dtype": np.float32},
            "in chunks of (7, 2)",
        ),
        ("classes", {"shape": (1,), "dtype": "S1900000000"}, "rows of 1900000000 bytes"),
        ("classes", {"shape": (3,), "dtype": h5py.string_dtype()}, "holds object"),
        ("classes", {"shape": (), "dtype": "S5"}, "holds |S5 ()"),
        ("classes", {"data": h5py.Empty("S5")}, "/classes"),
        ("splits", {"shape": (7,), "dtype": np.dtype([("a", "u1")])}, "/splits holds"),
        *((name, {"shape": (10**9,), "dtype": np.int64}, f"/{name}") for name in OPTIONAL),
    ],
)
def test_no_size_is_believed(path: Path, name: str, options: dict, phrase: str) -> None:
    refuse(path, made(name, **options), phrase)
    assert path.stat().st_size < 100_000


def test_an_attribute_of_variable_length_is_not_read(path: Path) -> None:
    """HDF5 looks for its text in a heap without a checksum, which may have no end."""
    refuse(path, lambda file: file.attrs.__setitem__("config", "{}"), "attribute config cannot")


def test_a_nested_config_is_refused(path: Path) -> None:
    def nest(file: h5py.File) -> None:
        config = json.loads(file.attrs["config"])
        config["data"]["folder"] = 0
        text = json.dumps(config).replace('"folder": 0', '"folder": ' + "[" * 900 + "]" * 900)
        file.attrs["config"] = fixed_text(text)
        seal_attributes(file)

    refuse(path, nest, f"nested more than {MOST_NESTED} levels deep")


@pytest.mark.parametrize("depth", [900, 100_000])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_nested_json_is_an_error_that_callers_expect(depth: int, pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="nested"):
        parse_json(pair[0] * depth + "1" * (pair[0] != "[") + pair[1] * depth)


def test_json_of_any_shape_is_read_up_to_the_bound() -> None:
    deepest = "[" * MOST_NESTED + "]" * MOST_NESTED
    for text in ("7", '"x"', "null", "[]", '{"a": [1, {"b": null}]}', deepest):
        assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@needs_posix
@pytest.mark.parametrize("name", ["pipe", "zero", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for read in (open_regular, read_json, lambda path: open_archive(path).__enter__()):
        with pytest.raises(OSError, match=r"a (pipe|device|folder), not a file"):
            read(tmp_path / name)
    assert check(tmp_path / name) == check(tmp_path / name, repair=True) == 2


def test_an_archive_of_too_many_members_is_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(3):
            archive.writestr(str(number), b"x")
    with open_archive(tmp_path / "a.npz") as archive:
        assert archive.namelist() == ["0", "1", "2"]
    monkeypatch.setattr(untrusted, "MOST_DIRECTORY_BYTES", 100)
    with (
        pytest.raises(ValueError, match="its directory claims 141 bytes"),
        open_archive(tmp_path / "a.npz"),
    ):
        pass


def test_json_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "head.json").open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(OSError, match="larger than the limit of 64 MB"):
        read_json(tmp_path / "head.json")
