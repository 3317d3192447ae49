from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.cache import blocks
from headbench.cache.disk import one_writer
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import COLUMNS, DATASETS, OPTIONAL, REJECTED, Rejected
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file, repair_file
from tests.cache.tables import embeddings_of, flip, make_full_table, make_table, write_file
from tests.cache.test_open_mark import kill_notebook, notebook, require_all_there
from tests.cache.test_reader import rewrite
from tests.headbench.command import call

N_IMAGES = 40
LEFT_OUT = tuple(Rejected(f"bad/{number}.jpg", "empty file") for number in range(12))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with several blocks in each dataset."""
    monkeypatch.setattr(blocks, "MOST_ROWS", 8)
    return write_file(tmp_path / "features.h5", make_full_table(N_IMAGES, LEFT_OUT))


def check(path: Path, *options: str) -> int:
    return call("verify", path, *options)


def test_a_whole_file_is_said_to_be_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = path.read_bytes()
    assert check(path) == check(path, "--repair") == 0
    out = capsys.readouterr().out
    assert "40 images, 3 classes, 3 columns in float32, 12 rejected; 42 blocks" in out
    assert "\nwhole" in out
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", [*COLUMNS, *OPTIONAL])
def test_one_flipped_bit_is_named_and_its_rows_are_dropped(
    path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(path, name, row=19)
    assert check(path) == 1
    out = capsys.readouterr().out
    assert f"/{name} rows 16 to 23: damaged" in out
    assert "8 of 40 images are lost" in out
    match = f"/{name} rows 16 to 23"
    with FeatureFile(path) as features, pytest.raises(FeatureFileError, match=match):
        features.dataset(name).read()
    assert check(path, "--repair") == 0
    assert check(path) == 0
    kept = [*range(16), *range(24, 40)]
    with FeatureFile(path) as features:
        whole = make_full_table(N_IMAGES, LEFT_OUT)
        assert features.table.equals(whole.select(np.isin(np.arange(N_IMAGES), kept)))
        np.testing.assert_array_equal(features.dataset("embeddings").read(), embeddings_of(kept))


@pytest.mark.parametrize("name", REJECTED)
def test_damage_among_the_rejected_costs_no_image(
    path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(path, name, row=9)
    assert check(path, "--repair") == 0
    assert "0 of 40 images and 4 entries of /rejected dropped" in capsys.readouterr().out
    with FeatureFile(path) as features:
        assert features.table.equals(make_full_table(N_IMAGES, LEFT_OUT[:8]))


def test_damaged_class_names_leave_nothing_to_repair(path: Path) -> None:
    flip(path, "classes", row=1)
    with pytest.raises(FeatureFileError, match="/classes rows 0 to 2"):
        repair_file(path)


def test_a_sample_says_how_much_it_looked_at(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(path, "embeddings", row=19)
    codes, outs = set(), []
    for seed in range(12):
        codes.add(check(path, "--sample", "1", "--seed", str(seed)))
        outs.append(capsys.readouterr().out)
        assert "in a sample of 11 blocks (26.19%). Other blocks were not read." in outs[-1]
        assert "whole" not in outs[-1]
    assert codes == {0, 1}
    assert any("8 of 40 images, and those that a full check finds, are lost" in out for out in outs)
    assert check(path, "--sample", "1", "--seed", "5") == check(
        path, "--sample", "1", "--seed", "5"
    )
    assert check(path, "--sample", "99") == 1
    assert "\ndamaged\n" in capsys.readouterr().out
    assert check(path, "--sample", "1", "--repair") == 2


def test_values_that_match_their_checksums_and_are_wrong(tmp_path: Path) -> None:
    path = write_file(tmp_path / "features.h5", make_full_table(7))
    X = embeddings_of(list(range(7)))
    X[1, 2] = np.inf
    paths = [b"a/1.jpg", b"../../etc/passwd", b"/etc/passwd", b"a/1.jpg", b"", b"b/\xff.jpg", b"c"]
    weights = np.array([1, 1, 1, 1, 0, np.nan, 1], dtype=np.float32)
    with h5py.File(path, "a") as file:
        rewrite(file, "embeddings", X)
        rewrite(file, "weights", weights)
        rewrite(file, "labels", np.array([0, 1, -1, 3, 0, 1, 2], dtype=np.int32))
        rewrite(file, "splits", np.array([3, 1, 2, 0, 0, 1, 2], dtype=np.uint8))
        rewrite(file, "paths", np.array(paths, dtype=h5py.string_dtype("utf-8", 20)))
    assert [str(each) for each in inspect_file(path).damage] == [
        "/embeddings row 1: not finite",
        "/labels row 2: outside /classes",
        "/labels row 3: outside /classes",
        "/splits row 0: not one of train, val, test",
        "/paths row 1: not a path inside the data folder",
        "/paths row 2: not a path inside the data folder",
        "/paths row 4: not a path inside the data folder",
        "/paths row 5: not a path inside the data folder",
        "/weights row 4: not a positive number",
        "/weights row 5: not a positive number",
        "/paths row 3: the same path as an earlier row",
    ]
    repair_file(path)
    with FeatureFile(path) as features:
        assert features.table.paths == ("c",)


def test_if_no_image_is_whole_there_is_no_repair(tmp_path: Path) -> None:
    path = write_file(tmp_path / "features.h5", make_table(7))
    flip(path, "embeddings", row=0)
    before = path.read_bytes()
    with pytest.raises(FeatureFileError, match="every image in it is damaged"):
        repair_file(path)
    assert path.read_bytes() == before


def test_repair_is_a_writer_and_checking_is_not(path: Path) -> None:
    with one_writer(path):
        assert inspect_file(path).damage == ()
        with pytest.raises(FeatureFileError, match="is being written"):
            repair_file(path)


def all_of(path: Path) -> dict[str, bytes]:
    with FeatureFile(path) as features:
        names = (*DATASETS, *OPTIONAL)
        found = {name: features.dataset(name).read().tobytes() for name in names}
        return found | {"config": repr((features.config, features.created_by)).encode()}


@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_byte_anywhere_gives_a_wrong_row_or_a_traceback(path: Path, seed: int) -> None:
    """Wherever the byte lies, in data or in HDF5's own structures."""
    whole, right = path.read_bytes(), all_of(path)
    rng = np.random.default_rng(seed)
    n_found = 0
    for position in rng.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            is_clean = inspect_file(path).damage == ()
            assert all_of(path) == right
        except FeatureFileError:
            n_found += 1
        else:
            assert is_clean
    assert n_found > 30


def test_a_truncated_file_is_refused_at_any_length(path: Path) -> None:
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 100).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(FeatureFileError, match="not a readable HDF5 file"):
            inspect_file(path)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000), b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_a_file_that_is_none_of_ours_ends_with_exit_code_2(
    path: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(data)
    assert check(path) == check(path, "--repair") == 2
    assert capsys.readouterr().err.count("error: ") == 2
    assert path.read_bytes() == data


def test_a_folder_or_nothing_in_its_place_ends_with_exit_code_2(tmp_path: Path) -> None:
    assert check(tmp_path) == check(tmp_path / "nothing.h5") == 2
    assert check(tmp_path / "nowhere/nothing.h5", "--repair") == 2
    assert not (tmp_path / "nowhere").exists()


def test_verify_names_the_mark_and_repair_removes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(tmp_path / "marked.h5", make_full_table())
    whole = path.read_bytes()
    kill_notebook(path)
    assert check(path) == 0
    out = capsys.readouterr().out
    assert "\nwhole" in out
    assert "--repair' removes the mark" in out
    assert check(path, "--repair") == 0
    assert "was removed" in capsys.readouterr().out
    assert path.read_bytes() == whole
    require_all_there(path)
    assert check(path) == 0
    assert "open for writing" not in capsys.readouterr().out


def test_repair_leaves_a_file_alone_that_is_open(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with notebook(path):
        before = path.read_bytes()
        assert check(path, "--repair") == 2
        assert "has this file open for writing. Close it there" in capsys.readouterr().err
        assert path.read_bytes() == before
        assert check(path) == 0
