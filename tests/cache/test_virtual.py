"""Files that stand on parts: the same reader, the same checks, nothing filled in."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import __main__ as command
from cache import blocks, cli, open_files, runs, virtual
from cache.errors import FeatureFileError, HeadbenchError
from cache.format import Table, row_hashes
from cache.hdf5 import open_hdf5
from cache.parts import Location, Parts
from cache.reader import FeatureFile
from cache.verify import inspect_file, repair_file
from cache.virtual import in_order_of_parts, link_features
from cache.writer import n_bytes, write_features
from tests.benchmarks.synthetic_virtual import write_synthetic_virtual
from tests.cache.tables import (
    IDENTITY,
    add_part,
    content,
    embeddings_of,
    make_table,
    write_file,
)

FINGERPRINT = IDENTITY.fingerprint
N_IMAGES = 40
# Parts of ten, none of them in the order of the table.
PARTS = [
    [23, 3, 8, 1, 30, 31, 32, 9, 10, 11],
    [0, 2, 4, 5, 6, 7, 12, 13, 14, 15],
    [39, 38, 37, 36, 35, 34, 33, 29, 28, 27],
    [16, 17, 18, 19, 20, 21, 22, 24, 25, 26],
]
TABLE_ORDER = [number for part in (PARTS[1], PARTS[0], PARTS[3], PARTS[2]) for number in part]


def link(path: Path, table: Table, source: dict[bytes, Location]) -> Table:
    table = in_order_of_parts(table, source)
    link_features(path, table, source, dim=3)
    return table


def add_parts(path: Path, store: str = "float32") -> dict[bytes, Location]:
    parts = Parts(path, FINGERPRINT, store)
    for numbers in PARTS:
        add_part(parts, numbers)
    return parts.find(pytest.fail)


def old_rows(path: Path) -> dict[bytes, Location]:
    with FeatureFile(path) as features:
        return {each: Location(path, row) for row, each in enumerate(features.table.contents())}


def numbers_of(features: FeatureFile) -> list[int]:
    number_of = {content(number): number for number in range(200)}
    return [number_of[each] for each in features.table.contents()]


def holds_what_it_should(path: Path, store: str = "float32") -> bool:
    """Whether each embedding is that of its image; the same as other programs see it."""
    with FeatureFile(path) as features:
        expected = embeddings_of(numbers_of(features)).astype(store).astype(np.float32)
        found = features.dataset("embeddings").read()
    with h5py.File(path) as file:
        return bool((found == expected).all() and (file["embeddings"][:] == expected).all())


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file on four parts of ten rows, with blocks of 8 rows, which straddle them."""
    monkeypatch.setattr(blocks, "MOST_ROWS", 8)
    path = tmp_path / "run/features.h5"
    link(path, make_table(N_IMAGES), add_parts(path))
    return path


def part_of(path: Path, row: int) -> Path:
    with FeatureFile(path) as features:
        [part] = features.parts_under(slice(row, row + 1))
        return part


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_it_is_read_like_any_other_file(tmp_path: Path, store: str) -> None:
    path = tmp_path / "features.h5"
    table = link(path, make_table(N_IMAGES, store=store), add_parts(path, store))
    whole = write_file(tmp_path / "whole/features.h5", make_table(N_IMAGES, store=store))
    assert holds_what_it_should(path, store)
    with FeatureFile(path) as features, FeatureFile(whole) as merged:
        assert (features.is_virtual, merged.is_virtual) == (True, False)
        assert numbers_of(features) == TABLE_ORDER
        assert features.table.equals(table)
        assert features.digest() == table.digest()
        assert features.splits.tolist() == table.splits.tolist()
        for split in ("train", "val", "test"):
            X, y = features.load(split)
            pieces = list(features.blocks(split, n_rows=3))
            np.testing.assert_array_equal(np.concatenate([piece for piece, _ in pieces]), X)
            np.testing.assert_array_equal(np.sort(X, axis=0), np.sort(merged.load(split)[0], 0))
            np.testing.assert_array_equal(y, table.labels[features.rows(split)])
        rows = np.array([39, 0, 7, 7, 21])
        np.testing.assert_array_equal(
            features.read(rows), features.dataset("embeddings").read()[rows]
        )
        assert features.dataset("embeddings").dtype == store
    assert inspect_file(path).damage == ()
    assert path.read_bytes().count(embeddings_of([5]).astype(store).tobytes()) == 0


def test_a_row_of_parts_is_one_mapping(path: Path) -> None:
    with h5py.File(path) as file:
        mappings = file["embeddings"].virtual_sources()
        assert [Path(each.file_name).is_absolute() for each in mappings] == [False] * 4
        assert file["runs/rows"][:].tolist() == [[0, 10]] * 4


def test_its_order_stays_when_it_is_its_own_source(path: Path) -> None:
    with FeatureFile(path) as features:
        table = features.table
    in_path_order = make_table(N_IMAGES)
    assert in_order_of_parts(in_path_order, old_rows(path)).equals(table)


def test_copies_are_there_twice_and_cost_one_more_mapping(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    table = make_table(N_IMAGES)
    contents = table.content_sha256.copy()
    contents[35] = contents[12]
    link(path, replace(table, content_sha256=contents), add_parts(path))
    assert holds_what_it_should(path)
    with h5py.File(path) as file:
        # The one within its part, and the row that is used no more.
        assert len(file["runs/rows"]) == 4 + 1 + 1
    with FeatureFile(path) as features:
        again = in_order_of_parts(
            replace(table, content_sha256=contents), old_rows(path)
        ).content_sha256
        np.testing.assert_array_equal(again, features.table.content_sha256)


def test_the_folder_moves_as_a_whole(path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere/run 2"
    moved.parent.mkdir()
    shutil.move(path.parent, moved)
    assert holds_what_it_should(moved / "features.h5")
    assert inspect_file(moved / "features.h5").damage == ()


def test_alone_it_names_the_part_that_it_misses(path: Path, tmp_path: Path) -> None:
    alone = tmp_path / "features.h5"
    shutil.move(path, alone)
    with (
        FeatureFile(alone) as features,
        pytest.raises(FeatureFileError, match=r"parts/\w+/\w+\.h5: expected a part .* nothing"),
    ):
        features.load("train")


def delete(part: Path, _other: Path) -> None:
    part.unlink()


def truncate(part: Path, _other: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def flip_a_byte(part: Path, _other: Path) -> None:
    with h5py.File(part) as file:
        position = file["embeddings"].id.get_chunk_info(0).byte_offset
    data = bytearray(part.read_bytes())
    data[position + 5 * 3 * 4 + 2] ^= 1  # in its sixth row
    part.write_bytes(data)


def swap(part: Path, other: Path) -> None:
    first, second = part.read_bytes(), other.read_bytes()
    part.write_bytes(second)
    other.write_bytes(first)


def shorten(part: Path, _other: Path) -> None:
    """A part that is whole and of fewer rows."""
    with h5py.File(part, "a") as file:
        X = file["embeddings"][:-1]
        del file["embeddings"]
        file.create_dataset("embeddings", data=X, chunks=X.shape)


def narrow(part: Path, _other: Path) -> None:
    """A part that is whole and of other columns."""
    with h5py.File(part, "a") as file:
        X = file["embeddings"][:, :-1]
        del file["embeddings"]
        file.create_dataset("embeddings", data=X, chunks=X.shape)


@pytest.mark.parametrize("damage", [delete, truncate, flip_a_byte, swap, shorten, narrow])
def test_a_part_that_is_not_as_it_was_is_never_let_through(
    path: Path, damage: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    part, other = part_of(path, 22), part_of(path, 35)
    right = embeddings_of(TABLE_ORDER)
    damage(part, other)
    with FeatureFile(path) as features:
        embeddings = features.dataset("embeddings")
        np.testing.assert_array_equal(embeddings.read(np.arange(16)), right[:16])
        for rows in (np.arange(40), np.arange(22, 30), np.array([29]), None):
            with pytest.raises(FeatureFileError, match=r"\.h5"):
                embeddings.read(rows)
    assert cli.run(command.main, [str(path)]) == 1
    out = capsys.readouterr().out
    assert "/embeddings rows 24 to 31: damaged" in out
    assert str(part) in out


@pytest.mark.parametrize("damage", [delete, truncate, flip_a_byte, swap])
def test_repair_drops_damaged_rows_and_the_next_run_finds_what_was_whole(
    path: Path, damage: Callable[[Path, Path], None]
) -> None:
    part, other = part_of(path, 22), part_of(path, 35)
    damage(part, other)
    found = repair_file(path)
    assert inspect_file(path).damage == ()
    assert holds_what_it_should(path)
    with FeatureFile(path) as features:
        assert features.is_virtual
        kept = [number for number, whole in zip(TABLE_ORDER, found.is_whole, strict=True) if whole]
        assert numbers_of(features) == kept
        assert set(TABLE_ORDER[:16]) <= set(kept)
        assert not set(TABLE_ORDER[24:29]) & set(kept)
    parts = Parts(path, FINGERPRINT)
    damaged: list[str] = []
    everything = parts.find(damaged.append) | old_rows(path)
    assert set(map(content, TABLE_ORDER[:20])) <= set(everything)
    missing = [number for number in range(N_IMAGES) if content(number) not in everything]
    if missing:
        add_part(parts, missing)
    link(path, make_table(N_IMAGES), parts.find(lambda _: None) | old_rows(path))
    parts.remove()
    assert holds_what_it_should(path)
    assert set(parts.directory.iterdir()) == runs.parts_behind(path)
    assert len(damaged) == (damage in (truncate, flip_a_byte))


def test_an_old_virtual_file_is_followed_to_its_parts(path: Path) -> None:
    before = runs.parts_behind(path)
    parts = Parts(path, FINGERPRINT)
    parts.remove()
    add_part(parts, list(range(40, 50)))
    source = parts.find(pytest.fail) | old_rows(path)
    link(path, make_table(50), source)
    parts.remove()
    assert holds_what_it_should(path)
    assert before < runs.parts_behind(path) == set(parts.directory.iterdir())
    with FeatureFile(path) as features:
        assert numbers_of(features) == [*TABLE_ORDER, *range(40, 50)]


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_an_old_virtual_file_may_be_merged(path: Path, store: str) -> None:
    link(path, make_table(N_IMAGES, store=store), old_rows(path))
    write_features(path, make_table(N_IMAGES, store=store), old_rows(path), dim=3)
    Parts(path, FINGERPRINT).remove()
    assert [each.name for each in path.parent.iterdir()] == ["features.h5"]
    with FeatureFile(path) as features:
        assert not features.is_virtual
        np.testing.assert_array_equal(
            features.dataset("embeddings").read(),
            embeddings_of(list(range(N_IMAGES))).astype(store).astype(np.float32),
        )


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_what_an_old_file_holds_itself_is_copied_to_parts(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "COPIED_BYTES", 16 * 3 * 4)
    path = write_file(tmp_path / "features.h5", make_table(N_IMAGES))
    parts = Parts(path, FINGERPRINT, store)
    add_part(parts, list(range(40, 50)))
    link(path, make_table(50, store=store), parts.find(pytest.fail) | old_rows(path))
    assert holds_what_it_should(path, store)
    assert len(runs.parts_behind(path)) == 1 + 3
    assert inspect_file(path).damage == ()


def test_parts_of_another_store_are_written_anew(path: Path) -> None:
    link(path, make_table(N_IMAGES, store="float16"), old_rows(path))
    assert holds_what_it_should(path, "float16")
    [part] = runs.parts_behind(path)
    with open_hdf5(part) as file:
        assert file["embeddings"].dtype == np.float16
    found = Parts(path, FINGERPRINT).find(pytest.fail)
    assert set(found) == {content(number) for number in range(N_IMAGES)}
    parts = Parts(path, FINGERPRINT, "float16")
    parts.remove()
    assert list(parts.directory.iterdir()) == [part]


def test_too_large_for_float16_names_the_image(path: Path) -> None:
    parts = Parts(path, FINGERPRINT)
    X = embeddings_of([40, 41])
    X[1, 0] = 1e5
    source = old_rows(path) | parts.add([content(40), content(41)], X)
    before = path.read_bytes()
    with pytest.raises(HeadbenchError, match=r"41\.jpg.*float16"):
        link(path, make_table(42, store="float16"), source)
    with pytest.raises(HeadbenchError, match=content(41).hex() + r".*float16"):
        Parts(path, FINGERPRINT, "float16").add([content(40), content(41)], X)
    assert path.read_bytes() == before


def test_float16_parts_are_nothing_for_a_run_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    add_part(Parts(path, FINGERPRINT, "float16"), [0, 1])
    add_part(Parts(path, FINGERPRINT), [2, 3])
    assert set(Parts(path, FINGERPRINT).find(pytest.fail)) == {content(2), content(3)}
    assert len(Parts(path, FINGERPRINT, "float16").find(pytest.fail)) == 4


def test_a_damaged_part_is_not_linked(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    source = add_parts(path)
    flip_a_byte(source[content(20)].path, path)
    with pytest.raises(FeatureFileError, match="do not match their checksum"):
        link(path, make_table(N_IMAGES), source)
    assert not path.exists()


def test_swapped_parts_are_not_linked_again(path: Path) -> None:
    """Each is whole in itself: only what it holds tells that it is another one."""
    swap(part_of(path, 22), part_of(path, 35))
    parts = Parts(path, FINGERPRINT)
    add_part(parts, [40, 41])
    source = parts.find(pytest.fail) | old_rows(path)
    before = path.read_bytes()
    with pytest.raises(FeatureFileError, match="of other images"):
        link(path, make_table(42), source)
    assert path.read_bytes() == before


def test_parts_that_a_file_stands_on_are_kept_and_not_read_again(path: Path) -> None:
    parts = Parts(path, FINGERPRINT)
    standing = runs.parts_behind(path)
    other = Parts(path, replace(IDENTITY, size_px=32).fingerprint)
    add_part(other, [1, 2])
    add_part(parts, [50, 51])
    flip_a_byte(part_of(path, 22), path)
    assert set(parts.find(pytest.fail)) == {content(50), content(51)}
    parts.remove()
    assert set(parts.directory.iterdir()) == standing
    assert other.others() == [parts.directory]
    assert len(list(other.directory.iterdir())) == 1


def test_the_name_of_a_part_is_that_of_all_it_holds(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    add_part(parts, [0, 1])
    add_part(parts, [0, 2])
    add_part(parts, [0, 1])
    add_part(Parts(tmp_path / "features.h5", FINGERPRINT, "float16"), [0, 1])
    assert len(list(parts.directory.iterdir())) == 3


@pytest.mark.parametrize("most_runs", [22, 21])
def test_rows_that_are_scattered_over_parts_are_copied_side_by_side(
    path: Path, monkeypatch: pytest.MonkeyPatch, most_runs: int
) -> None:
    monkeypatch.setattr(virtual, "MOST_RUNS", most_runs)
    monkeypatch.setattr(virtual, "COPIED_BYTES", 25 * 3 * 4)
    link_features(path, make_table(N_IMAGES), old_rows(path), dim=3)
    assert holds_what_it_should(path)
    with FeatureFile(path) as features:
        assert numbers_of(features) == list(range(N_IMAGES))
    with h5py.File(path) as file:
        assert len(file["runs/rows"]) == (22 if most_runs == 22 else 2)


def test_more_copies_of_images_than_there_may_be_runs_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "MOST_RUNS", 20)
    twice = make_table(N_IMAGES).take(np.repeat(np.arange(N_IMAGES), 2))
    before = path.read_bytes()
    with pytest.raises(HeadbenchError, match=r"found 41: .*MERGE_ROWS=80 "):
        link_features(path, twice, old_rows(path), dim=3)
    assert path.read_bytes() == before


def test_more_parts_than_are_held_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "most_open", lambda: 2)
    path = tmp_path / "features.h5"
    link(path, make_table(N_IMAGES), add_parts(path))
    with FeatureFile(path) as features:
        rows = np.array([0, 15, 35, 25, 1, 39])
        np.testing.assert_array_equal(
            features.read(rows), embeddings_of([TABLE_ORDER[row] for row in rows])
        )
    assert holds_what_it_should(path)


def test_its_size_without_embeddings_is_estimated(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts, table = Parts(path, FINGERPRINT), make_table(5000)
    add_part(parts, list(range(5000)))
    link(path, table, parts.find(pytest.fail))
    assert 0.5 < path.stat().st_size / n_bytes(table, 0) <= 1


def test_synthetic_files_are_whole_and_their_classes_can_be_told_apart(tmp_path: Path) -> None:
    path = write_synthetic_virtual(tmp_path, 3000, 16, 5, part_rows=400, seed=1)
    assert inspect_file(path).damage == ()
    with FeatureFile(path) as features:
        assert (features.n_images, features.dim, len(features.classes)) == (3000, 16, 5)
        assert len(set(features.table.contents())) == len(set(features.table.paths)) == 3000
        assert len(runs.parts_behind(path)) == 8
        (X, y), (X_val, y_val) = features.load("train"), features.load("val")
    means = np.stack([X[y == label].mean(axis=0) for label in range(5)])
    nearest = ((X_val[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.6 < (nearest == y_val).mean() < 0.99


def test_no_row_at_all_is_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    link(path, make_table(0), {})
    with FeatureFile(path) as features:
        assert features.dataset("embeddings").read().shape == (0, 3)
    assert inspect_file(path).damage == ()


def test_parts_outside_the_folder_are_not_opened(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["runs/file"], file["checksums/runs/file"]
        blocks.write_strings(file, "runs/file", ["../secret.h5"] * 4)
    with pytest.raises(FeatureFileError, match=r"\.\./secret\.h5.*not opened"):
        FeatureFile(path)


def test_no_flipped_byte_in_it_gives_a_wrong_row_or_a_traceback(path: Path) -> None:
    """Nor in the heap of HDF5, where other programs look for the parts."""
    whole, right = path.read_bytes(), embeddings_of(TABLE_ORDER)
    heap = whole.index(b"GCOL")
    rng = np.random.default_rng(0)
    n_found = 0
    for position in [*range(heap, heap + 64), *rng.choice(len(whole), 200, replace=False)]:
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        try:
            with FeatureFile(path) as features:
                assert features.table
                np.testing.assert_array_equal(features.dataset("embeddings").read(), right)
        except FeatureFileError:
            n_found += 1
    assert n_found > 20


def test_a_table_of_the_same_rows_in_another_order() -> None:
    table = make_table(N_IMAGES)
    rows = np.array([5, 3, 39])
    taken = table.take(rows)
    assert taken.paths == tuple(table.paths[row] for row in rows)
    assert row_hashes(taken.content_sha256) == [content(row) for row in rows]
    assert (taken.labels.tolist(), taken.splits.tolist()) == ([2, 0, 0], [2, 1, 1])


def test_other_programs_find_the_parts_wherever_they_run(path: Path, tmp_path: Path) -> None:
    code = "import sys, h5py; print(h5py.File(sys.argv[1])['embeddings'][:].tobytes().hex())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bytes.fromhex(done.stdout) == embeddings_of(TABLE_ORDER).tobytes()
