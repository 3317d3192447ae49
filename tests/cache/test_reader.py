import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache.blocks import CheckedDataset, fixed_text
from headbench.cache.errors import FeatureFileError, HeadbenchError
from headbench.cache.format import ATTRIBUTES, FORMAT_VERSION, Rejected, attributes_checksum
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from tests.cache.tables import (
    CLASSES,
    content,
    embeddings_of,
    make_full_table,
    make_table,
    make_unlabelled_table,
    write_file,
)
from tests.conftest import ROOT
from tests.data.formats.write import REJECTED

FILES = sorted((ROOT / "tests/data/formats").glob("v*/*.h5"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "features.h5", make_table(7, (Rejected("a.txt", "no"),)))


def rewrite(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Replace a dataset and its checksums: a file that someone else wrote wrongly."""
    names = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=values, chunks=values.shape).attrs.update(names)
    file[f"checksums/{name}"][:] = [zlib.crc32(np.ascontiguousarray(values).data)]


def text_of(file: h5py.File, name: str) -> str:
    value = file.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def seal_attributes(file: h5py.File) -> None:
    values = [text_of(file, name) for name in ATTRIBUTES]
    file["checksums"].attrs["attributes"] = attributes_checksum(values)


def refuse(path: Path, *phrases: str) -> None:
    with pytest.raises(FeatureFileError) as caught:
        FeatureFile(path)
    for phrase in (str(path), *phrases):
        assert phrase in str(caught.value)


def test_no_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    refuse(tmp_path / "features.h5", "headbench features")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    refuse(tmp_path, "found a folder")


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000)])
def test_a_file_that_is_not_hdf5(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    refuse(path, "not a readable HDF5 file")


def test_a_file_of_another_program(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["embeddings"] = np.zeros((2, 3))
    refuse(path, "another program")


@pytest.mark.parametrize(
    ("version", "way_out"),
    [
        (4, "Upgrade"),
        (
            2,
            "lie in parts beside it. Run 'headbench features' again with --overwrite",
        ),
    ],
)
def test_another_version_names_the_way_out(path: Path, version: int, way_out: str) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = version
        seal_attributes(file)
    refuse(path, f"expected format version 1, found version {version}", way_out)


def resealed(name: str, value: str) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        file.attrs[name] = fixed_text(value)
        seal_attributes(file)

    return damage


def rewritten(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    return lambda file: rewrite(file, name, values)


def _other_names(file: h5py.File) -> None:
    file["splits"].attrs["names"] = fixed_text(["test", "val", "train"])


def _config_without_its_checksum(file: h5py.File) -> None:
    file.attrs["config"] = fixed_text(text_of(file, "config").replace("photos", "phatos"))


@pytest.mark.parametrize(
    ("damage", "phrase"),
    [
        (
            lambda file: file.__delitem__("labels"),
            "/labels or its checksums cannot be opened. Move it away",
        ),
        (
            lambda file: file.__delitem__("checksums/labels"),
            "/labels or its checksums cannot be opened",
        ),
        (rewritten("labels", np.zeros(6, np.int32)), "differ in length"),
        (rewritten("labels", np.zeros(7, np.int64)), "/labels is int64"),
        (
            rewritten("content_sha256", np.zeros((7, 16), np.uint8)),
            "/content_sha256 is uint8 (7, 16), expected uint8 (n, 32)",
        ),
        (
            rewritten("labels", np.array([0, 1, 2, 3, 0, 1, 2], np.int32)),
            "a label of /labels is outside /classes",
        ),
        (rewritten("splits", np.array([0, 1, 2, 9, 0, 1, 2], np.uint8)), "/splits"),
        (_other_names, "names of /splits"),
        (lambda file: file["splits"].attrs.__setitem__("names", 1), "names of /splits"),
        (_config_without_its_checksum, "attributes do not match"),
        (resealed("fingerprint", "0" * 64), "fingerprint"),
        (resealed("config", "{}"), "config"),
    ],
)
def test_damage_is_named(path: Path, damage: Callable[[h5py.File], None], phrase: str) -> None:
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(FeatureFileError, match="damaged") as caught, FeatureFile(path) as features:
        assert features.table
    assert str(path) in str(caught.value)
    assert phrase in str(caught.value)


def test_a_nan_is_refused_with_its_row_and_path(path: Path) -> None:
    X = embeddings_of(list(range(7)))
    X[3, 1] = np.nan
    with h5py.File(path, "a") as file:
        rewrite(file, "embeddings", X)
    with FeatureFile(path) as features:
        features.load("train")
        with pytest.raises(FeatureFileError, match=r"row 3 .*3\.jpg"):
            features.load("val")
    [damage] = inspect_file(path).damage
    assert str(damage) == "/embeddings row 3: not finite"


@pytest.mark.parametrize(
    "rows", [[], [0], [6], [0, 1, 2, 3, 4, 5, 6], [1, 2, 5], [5, 1, 2, 1], [3, 3, 3], [6, 5, 4]]
)
@pytest.mark.parametrize("store", ["float32", "float16"])
def test_rows_come_in_the_order_asked_for_as_float32(
    tmp_path: Path, rows: list[int], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.cache.blocks.MOST_ROWS", 2)
    path = write_file(tmp_path / "features.h5", make_table(store=store))
    expected = embeddings_of(list(range(7))).astype(store).astype(np.float32)
    with FeatureFile(path) as features:
        found = features.dataset("embeddings").read(np.array(rows, dtype=np.intp))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected[rows])
        np.testing.assert_array_equal(features.dataset("embeddings").read(), expected)


READERS: dict[str, Callable[[CheckedDataset], object]] = {
    "all rows": lambda dataset: dataset.read(),
    "some rows": lambda dataset: dataset.read(np.array([0, 5])),
    "rows in another order": lambda dataset: dataset.read(np.array([6, 4, 1])),
    "a block": lambda dataset: dataset.read_block(2),
    "spans": lambda dataset: list(dataset.spans()),
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("store", ["float32", "float16"])
def test_no_block_is_read_without_its_checksum(
    tmp_path: Path, how: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of two rows; the third is damaged so that plain h5py reads it without an error."""
    monkeypatch.setattr("headbench.cache.blocks.MOST_ROWS", 2)
    path = write_file(tmp_path / "features.h5", make_table(store=store))
    read = READERS[how]
    with FeatureFile(path) as features:
        read(features.dataset("embeddings"))
    with h5py.File(path, "a") as file:
        file["embeddings"][5, 0] += 1
    with (
        FeatureFile(path) as features,
        pytest.raises(FeatureFileError, match="/embeddings rows 4 to 5 do not match their checks"),
    ):
        read(features.dataset("embeddings"))


def test_text_is_not_read_without_its_checksum(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["paths"][2] = b"x"
    with (
        FeatureFile(path) as features,
        pytest.raises(FeatureFileError, match=r"/paths .* not match their checksum"),
    ):
        features.dataset("paths").strings()


def test_blocks_are_the_split_in_pieces(path: Path) -> None:
    with FeatureFile(path) as features:
        X, y = features.load("train")
        pieces = list(features.blocks("train", n_rows=2))
    assert [len(piece) for piece, _ in pieces] == [2, 1]
    np.testing.assert_array_equal(np.concatenate([piece for piece, _ in pieces]), X)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in pieces]), y)


def test_opening_reads_neither_embeddings_nor_columns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = CheckedDataset.read

    def noting(self: CheckedDataset, *arguments: object) -> np.ndarray:
        read.append(self.name)
        return original(self, *arguments)

    monkeypatch.setattr(CheckedDataset, "read", noting)
    with FeatureFile(path) as features:
        assert read == ["classes"]
        assert (features.n_images, features.dim) == (7, 3)
        features.labels("train")
        assert read == ["classes", "labels", "splits"]


def test_groups_and_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = make_full_table()
    with FeatureFile(write_file(tmp_path / "full.h5", table)) as features:
        assert features.optional == ("groups", "weights")
        assert features.table.equals(table)
        assert features.groups("val").tolist() == table.groups[2:4].tolist()
        weights = features.weights("val")
    assert (weights.dtype, weights.tolist()) == (np.float32, [2.5, 3.5])


def test_without_groups_and_weights_each_image_is_alone_and_counts_for_one(path: Path) -> None:
    with FeatureFile(path) as features:
        assert features.optional == ()
        assert (features.table.groups, features.table.weights) == (None, None)
        assert features.groups("val").tolist() == [
            int.from_bytes(content(number)[:8], signed=True) for number in (2, 3)
        ]
        weights = features.weights("val")
    assert (weights.dtype, weights.tolist()) == (np.float32, [1.0, 1.0])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("weights", np.zeros(7, np.float32), "a weight of /weights is not a positive number"),
        ("weights", np.ones(7), "/weights is float64"),
        ("groups", np.ones(7, np.int32), "/groups is int32"),
        ("groups", np.ones(6, np.int64), "datasets differ in length"),
    ],
)
def test_groups_and_weights_that_cannot_be_are_refused(
    tmp_path: Path, name: str, values: np.ndarray, message: str
) -> None:
    path = write_file(tmp_path / "full.h5", make_full_table())
    with h5py.File(path, "a") as file:
        rewrite(file, name, values)
    with pytest.raises(FeatureFileError, match=message), FeatureFile(path) as features:
        features.weights("train")


def test_the_table_as_pandas_sees_it(path: Path) -> None:
    with FeatureFile(path) as features:
        frame = features.to_pandas()
    assert list(frame.columns) == ["path", "class", "label", "split", "content_sha256"]
    row = frame.iloc[4]
    assert (row["path"], row["class"], row["label"]) == (f"{CLASSES[1]}/4.jpg", CLASSES[1], 1)
    assert (row["split"], row["content_sha256"]) == ("test", content(4).hex())


def test_without_pandas_the_way_out_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with FeatureFile(path) as features, pytest.raises(HeadbenchError, match="pip install pandas"):
        features.to_pandas()


def test_a_reader_keeps_the_old_file_while_a_new_one_takes_its_place(path: Path) -> None:
    with FeatureFile(path) as features:
        write_file(path, make_table(5))
        assert features.n_images == len(features.table.paths) == 7
        np.testing.assert_array_equal(features.load("val")[0], embeddings_of([2, 3]))
    with FeatureFile(path) as features:
        assert features.n_images == 5


def test_reading_is_light() -> None:
    code = (
        "import sys, headbench.cache.reader; "
        "print(sorted({'pandas', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_that_is_written_has_its_file() -> None:
    assert f"v{FORMAT_VERSION}" in {path.parent.name for path in FILES}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_without_labels_are_in_no_split_to_train_on(tmp_path: Path, split: str) -> None:
    path = write_file(tmp_path / "features.h5", make_unlabelled_table())
    with FeatureFile(path) as features:
        assert features.to_pandas()["class"].tolist() == [""] * 7
        assert features.labels("unlabelled").tolist() == [-1] * 7
        for read in (features.load, features.labels, features.rows, features.weights):
            with pytest.raises(FeatureFileError, match="found images without labels"):
                read(split)


@pytest.mark.parametrize(("name", "value"), [("labels", 0), ("splits", 2)])
def test_a_label_where_there_are_no_classes_is_damage(
    tmp_path: Path, name: str, value: int
) -> None:
    path = write_file(tmp_path / "features.h5", make_unlabelled_table())
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        values[3] = value
        rewrite(file, name, values)
    with FeatureFile(path) as features, pytest.raises(FeatureFileError, match=f"/{name}"):
        features.rows("unlabelled") if name == "splits" else features.labels("unlabelled")
    assert [(each.dataset, each.start) for each in inspect_file(path).damage] == [(name, 3)]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("labels", 99, "/labels is outside"), ("paths", b"\xff", "not UTF-8")],
)
def test_what_a_stranger_writes_about_a_row_is_not_believed(
    path: Path, name: str, value: object, says: str
) -> None:
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        values[3] = value
        rewrite(file, name, values)
    with FeatureFile(path) as features, pytest.raises(FeatureFileError, match=says):
        features.about(np.array([3]))


def test_a_version_with_classes_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    for table, version in ((make_unlabelled_table(), 1), (make_table(), 3)):
        path = write_file(tmp_path / f"{version}.h5", table)
        with h5py.File(path, "r+") as file:
            file.attrs["format_version"] = version
            seal_attributes(file)
        refuse(path, f"format version {version} with")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_it_holds_what_was_put_into_it(path: Path) -> None:
    has_labels = path.parent.name != "v3"
    splits = {"train": [0, 1, 6], "val": [2, 3], "test": [4, 5]}
    with FeatureFile(path) as features:
        table = make_table(7, REJECTED) if has_labels else make_unlabelled_table(7, REJECTED)
        assert features.table.equals(table)
        for split, numbers in (splits if has_labels else {"unlabelled": list(range(7))}).items():
            np.testing.assert_array_equal(features.load(split)[0], embeddings_of(numbers))
    assert inspect_file(path).damage == ()
