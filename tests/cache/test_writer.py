import errno
import os
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from headbench.cache import blocks
from headbench.cache.errors import HeadbenchError, StorageError, UnreadableError
from headbench.cache.format import Rejected
from headbench.cache.reader import FeatureFile
from headbench.cache.verify import inspect_file
from headbench.cache.writer import Location, Parts, n_bytes, write_features
from tests.benchmarks.synthetic_features import write_synthetic_features
from tests.cache.tables import IDENTITY, add_part, content, embeddings_of, make_table, write_file
from tests.conftest import listen, needs_posix

FINGERPRINT = IDENTITY.fingerprint


def find(parts: Parts) -> dict[bytes, Location]:
    """What parts hold, none of which is damaged."""
    lines = listen()
    found = parts.find()
    assert lines == []
    return found


def test_all_that_is_written_is_read_back_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "runs/food/features.h5"
    table = make_table(7, (Rejected("kaputt/ü.jpg", "empty file"),))
    path.parent.mkdir(parents=True)
    parts = Parts(path, FINGERPRINT)
    add_part(parts, [6, 0, 3])
    add_part(parts, [1, 2, 5, 4])
    write_features(path, table, find(parts), dim=3)
    with FeatureFile(path) as features:
        assert features.table.equals(table)
        assert features.dim == 3
        for split, numbers in {"train": [0, 1, 6], "val": [2, 3], "test": [4, 5]}.items():
            X, y = features.load(split)
            assert X.dtype == np.float32
            np.testing.assert_array_equal(X, embeddings_of(numbers))
            np.testing.assert_array_equal(y, np.array(numbers) % 3)


def test_the_file_is_what_plain_h5py_readers_expect(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    add_part(parts, list(range(7)))
    write_features(path, make_table(), find(parts), dim=3)
    with h5py.File(path) as file:
        assert {
            name: (item.dtype.kind, item.shape)
            for name, item in file.items()
            if isinstance(item, h5py.Dataset)
        } == {
            "embeddings": ("f", (7, 3)),
            "labels": ("i", (7,)),
            "splits": ("u", (7,)),
            "paths": ("S", (7,)),
            "content_sha256": ("u", (7, 32)),
            "classes": ("S", (3,)),
        }
        assert list(file["splits"].attrs["names"]) == [b"train", b"val", b"test"]
        assert file["rejected/path"].shape == file["rejected/reason"].shape == (0,)
        assert file.attrs["fingerprint"].decode() == FINGERPRINT


def test_many_blocks_and_any_order_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MOST_ROWS", 4)
    monkeypatch.setattr(blocks, "SPAN_BYTES", 100)
    path = tmp_path / "features.h5"
    numbers = np.random.default_rng(0).permutation(50).tolist()
    parts = Parts(path, FINGERPRINT)
    for start in range(0, 50, 7):
        add_part(parts, numbers[start : start + 7])
    write_features(path, make_table(50), find(parts), dim=3)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"], embeddings_of(list(range(50))))


@needs_posix
def test_more_parts_than_a_process_may_hold_open(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    for number in range(40):
        add_part(parts, [number])
    source = find(parts)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir("/dev/fd")))
    twentieth_free = [number for number in range(10_000) if number not in taken][20]
    resource.setrlimit(resource.RLIMIT_NOFILE, (twentieth_free, limits[1]))
    try:
        write_features(path, make_table(40), source, dim=3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with FeatureFile(path) as features:
        np.testing.assert_array_equal(
            features.dataset("embeddings").read(), embeddings_of(list(range(40)))
        )


def test_a_part_that_cannot_be_opened_for_now_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    add_part(parts, [1])

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UnreadableError, match="Too many open files"):
        find(parts)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    parts = Parts(path, FINGERPRINT)
    add_part(parts, list(range(7)))
    write_features(path, make_table(), find(parts), dim=3)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_features(path, make_table(8), find(parts), dim=3)
    parts.remove()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["features.h5"]


def test_room_for_the_merged_file_is_asked_for_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, table = Parts(tmp_path / "features.h5", FINGERPRINT), make_table()
    add_part(parts, list(range(7)))
    needed = n_bytes(table, 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    match = f"expected {needed:,} bytes of free space for the merged file, found {needed - 1:,}"
    with pytest.raises(StorageError, match=match):
        write_features(tmp_path / "features.h5", table, find(parts), dim=3)
    assert [path.name for path in tmp_path.iterdir()] == ["features.h5.parts"]
    assert len(find(parts)) == 7


def test_merging_takes_little_memory_however_large_the_file(tmp_path: Path) -> None:
    path, dim, rng = tmp_path / "features.h5", 2048, np.random.default_rng(0)
    parts, source = Parts(path, FINGERPRINT), {}
    for start in range(0, 8000, 500):
        contents = [content(number) for number in range(start, start + 500)]
        source |= parts.add(contents, rng.standard_normal((500, dim), dtype=np.float32))
    table = make_table(8000)
    tracemalloc.start()
    write_features(path, table, source, dim)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 65e6
    assert peak < 30e6


def test_a_damaged_part_is_reported_and_the_others_count(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    add_part(parts, [0, 1])
    add_part(parts, [2, 3])
    [damaged, _] = sorted(parts.directory.iterdir())
    data = bytearray(damaged.read_bytes())
    position = data.find(embeddings_of([0]).tobytes())
    position = position if position >= 0 else data.find(embeddings_of([2]).tobytes())
    data[position + 1] ^= 1
    damaged.write_bytes(data)
    said = listen()
    assert len(parts.find()) == 2
    assert len(said) == 1
    assert str(damaged) in said[0]


def test_parts_of_another_fingerprint_are_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    add_part(Parts(path, FINGERPRINT), [0, 1])
    other = replace(IDENTITY, size_px=32).fingerprint
    assert find(Parts(path, other)) == {}


def test_float16_parts_are_nothing_for_a_run_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    add_part(Parts(path, FINGERPRINT, "float16"), [0, 1])
    add_part(Parts(path, FINGERPRINT), [2, 3])
    assert set(find(Parts(path, FINGERPRINT))) == {content(2), content(3)}
    assert len(find(Parts(path, FINGERPRINT, "float16"))) == 4


def test_the_name_of_a_part_is_that_of_all_it_holds(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    add_part(parts, [0, 1])
    add_part(parts, [0, 2])
    add_part(parts, [0, 1])
    add_part(Parts(tmp_path / "features.h5", FINGERPRINT, "float16"), [0, 1])
    assert len(list(parts.directory.iterdir())) == 3


def test_no_row_at_all_is_a_file_too(tmp_path: Path) -> None:
    path = write_file(tmp_path / "features.h5", make_table(0))
    with FeatureFile(path) as features:
        assert features.dataset("embeddings").read().shape == (0, 3)
    assert inspect_file(path).damage == ()


def test_float16_is_said_in_the_config_and_halves_the_embeddings(tmp_path: Path) -> None:
    path = write_file(tmp_path / "features.h5", make_table(store="float16"))
    with h5py.File(path) as file:
        assert file["embeddings"].dtype == np.float16
    with FeatureFile(path) as features:
        assert features.config.store == "float16"
        assert features.table.digest() != make_table().digest()


@pytest.mark.parametrize(
    ("numbers", "largest"),
    [([1, 1e5, 0], "1e\\+05"), ([1e-9, 0, -2e-8], "2e-08"), ([65520, 1, 1], r"6\.6e\+04")],
)
def test_what_does_not_fit_into_float16_is_refused_with_its_image(
    tmp_path: Path, numbers: list[float], largest: str
) -> None:
    parts = Parts(tmp_path / "features.h5", FINGERPRINT)
    X = embeddings_of(list(range(7)))
    X[5] = numbers
    X[6] = 0  # what is zero stays zero
    source = parts.add([content(number) for number in range(7)], X)
    message = f"its embedding does not fit into float16. .* {largest}, .*--store float32"
    with pytest.raises(HeadbenchError, match=f"{content(5).hex()}: {message}"):
        Parts(tmp_path / "features.h5", FINGERPRINT, "float16").add(list(source), X)
    with pytest.raises(HeadbenchError, match=rf"5\.jpg: {message}"):
        write_features(tmp_path / "features.h5", make_table(store="float16"), source, dim=3)
    assert not (tmp_path / "features.h5").exists()


def test_the_size_is_estimated_before_it_is_needed(tmp_path: Path) -> None:
    for n_images in (2000, 5000):
        path = write_file(tmp_path / "features.h5", make_table(n_images), 64)
        assert 0.5 < path.stat().st_size / n_bytes(make_table(n_images), 64) <= 1


def test_synthetic_files_are_whole_and_their_classes_can_be_told_apart(tmp_path: Path) -> None:
    path = write_synthetic_features(tmp_path, 3000, 16, 5, seed=1)
    assert inspect_file(path).damage == ()
    with FeatureFile(path) as features:
        assert (features.n_images, features.dim, len(features.classes)) == (3000, 16, 5)
        assert len(set(features.table.contents())) == len(set(features.table.paths)) == 3000
        (X, y), (X_val, y_val) = features.load("train"), features.load("val")
    means = np.stack([X[y == label].mean(axis=0) for label in range(5)])
    nearest = ((X_val[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.6 < (nearest == y_val).mean() < 0.99
