import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.cache import disk
from headbench.cache.disk import most_open
from headbench.cache.errors import FeatureFileError, StorageError, UnreadableError
from headbench.cache.format import Identity
from headbench.classify.errors import RunError
from headbench.classify.finetuning import frozen_part as module
from headbench.classify.finetuning.frozen_part import (
    ActivationStore,
    Wanted,
    activation_fingerprint,
    cached_activations,
)
from headbench.classify.wording import n_bytes
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.images.stream import ImageFile
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_keras
from tests.conftest import listen, needs_posix

IDENTITY = Identity("net", "sha256:1", "none", 16, Resizing(16).words, "avg", "float32")


@dataclass
class Backbone:
    identity: Identity = IDENTITY


@dataclass
class Network:
    """Stands for a cut network: its frozen part halves pixels; it counts how often it was asked."""

    factor: float = 0.5
    cut_name: str = "layer"
    n_asked: int = 0
    backbone: Any = None

    def __post_init__(self) -> None:
        self.backbone = Backbone()

    def frozen_part(self) -> Any:
        self.n_asked += 1
        keras = load_keras()
        image = keras.Input((16, 16, 3), dtype="uint8")
        return keras.Model(image, keras.ops.cast(image, "float32") * self.factor)


def hashed(path: Path) -> Wanted:
    return Wanted(ImageFile(path, hashlib.sha256(path.read_bytes()).digest()))


@pytest.fixture
def files(photos: Path) -> list[Wanted]:
    return [hashed(path) for path in sorted(photos.rglob("*.png"))[:40]]


def contents(files: list[Wanted]) -> list[bytes]:
    return [each.key for each in files]


ONE = Devices("cpu", ("CPU:0",))


def test_rows_are_what_the_frozen_part_makes_of_each_image(tmp_path: Path, files) -> None:
    store = cached_activations(tmp_path, Network(), files, ONE)
    rows = [7, 3, 3, 39]
    found = store.read([contents(files)[row] for row in rows])
    assert found.dtype == np.float16
    expected = [decode(files[row].file.path.read_bytes(), 16) * 0.5 for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_second_time_nothing_is_computed_and_the_network_is_not_even_built(
    tmp_path: Path, files
) -> None:
    cached_activations(tmp_path, Network(), files, ONE)
    network, said = Network(), listen()
    store = cached_activations(tmp_path, network, files[::-1], ONE)
    assert (network.n_asked, said) == (0, [])
    assert store.missing(contents(files)) == []


@pytest.mark.parametrize(
    ("rows", "n_before", "n_new"),
    [
        pytest.param(range(40), 0, 40, id="all of them"),
        pytest.param(range(40), 39, 1, id="one new image"),
        pytest.param([0, 1, 2, 0, 1, 2], 0, 3, id="copies are one row"),
    ],
)
def test_what_is_new_is_computed_and_its_size_is_said_before(
    tmp_path: Path, files, rows: Sequence[int], n_before: int, n_new: int
) -> None:
    cached_activations(tmp_path, Network(), files[:n_before], ONE)
    said = listen()
    store = cached_activations(tmp_path, Network(), [files[row] for row in rows], ONE)
    size = n_bytes(n_new * 16 * 16 * 3 * 2)
    assert f"computed once for {n_new} of {len(rows)} images, {size} in" in said[0]
    assert store.missing([contents(files)[row] for row in rows]) == []


def test_another_cut_or_other_weights_are_another_cache(tmp_path: Path, files) -> None:
    assert activation_fingerprint(IDENTITY, "layer") == activation_fingerprint(IDENTITY, "layer")
    # The frozen part ends before the pooling.
    maximum = replace(IDENTITY, pooling="max")
    assert activation_fingerprint(maximum, "layer") == activation_fingerprint(IDENTITY, "layer")
    others = [replace(IDENTITY, weights_hash="sha256:2"), replace(IDENTITY, size_px=32)]
    prints = {activation_fingerprint(each, "layer") for each in (IDENTITY, *others)}
    assert len(prints | {activation_fingerprint(IDENTITY, "other")}) == 4
    cached_activations(tmp_path, Network(), files[:2], ONE)
    network = Network(factor=0.25, cut_name="other")
    store = cached_activations(tmp_path, network, files[:2], ONE)
    assert network.n_asked == 1
    expected = decode(files[0].file.path.read_bytes(), 16) * 0.25
    np.testing.assert_allclose(store.read(contents(files[:1]))[0], expected, rtol=1e-3)


def test_a_damaged_row_is_named_and_never_trained_on(tmp_path: Path, files) -> None:
    store = cached_activations(tmp_path, Network(), files[:4], ONE)
    [path] = store.folder.glob("*.h5")
    marker = store.read(contents(files)[2:3]).tobytes()[:64]
    data = bytearray(path.read_bytes())
    data[data.index(marker) + 5] ^= 1
    path.unlink()  # a file that is open is not read again
    path.write_bytes(bytes(data))
    again = cached_activations(tmp_path, Network(), files[:4], ONE)
    again.read(contents(files)[:2])
    with pytest.raises(FeatureFileError, match=r"rows 2 to 2 do not match their checksum"):
        again.read(contents(files)[2:3])


def test_what_was_finished_before_a_kill_is_not_computed_again(
    tmp_path: Path, files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 16 * 16 * 16 * 3 * 2)
    add, n_parts = ActivationStore.add, [0]

    def killed(self: ActivationStore, *arguments: Any) -> None:
        if n_parts[0] == 2:
            raise KeyboardInterrupt
        n_parts[0] += 1
        add(self, *arguments)

    monkeypatch.setattr(ActivationStore, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        cached_activations(tmp_path, Network(), files, ONE)
    monkeypatch.setattr(ActivationStore, "add", add)
    said = listen()
    cached_activations(tmp_path, Network(), files, ONE)
    assert "computed once for 8 of 40 images" in said[0]


def test_without_room_nothing_is_begun(
    tmp_path: Path, files, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="expected 61,440 bytes of free space"):
        cached_activations(tmp_path, Network(), files, ONE)


def test_what_float16_cannot_hold_is_refused_with_the_way_out(tmp_path: Path, files) -> None:
    with pytest.raises(RunError, match=r"too large for float16.*--no-trunk-cache"):
        cached_activations(tmp_path, Network(factor=1e4), files, ONE)


def test_an_image_that_changed_since_extraction_is_named(tmp_path: Path, files) -> None:
    files[5].file.path.write_bytes(files[6].file.path.read_bytes())
    with pytest.raises(RunError, match=f"{files[5].file.path}: its content changed"):
        cached_activations(tmp_path, Network(), files, ONE)


FINGERPRINT = "a" * 64
HASHES = [hashlib.sha256(str(number).encode()).digest() for number in range(60)]


@pytest.fixture
def stored(tmp_path: Path) -> list[Path]:
    """Those of a store of 60 parts, row `number` of which holds that number."""
    store = ActivationStore(tmp_path, FINGERPRINT)
    for number, content in enumerate(HASHES):
        store.add([content], np.full((1, 2, 2, 4), number, np.float16))
    return sorted(store.folder.glob("*.h5"))


@needs_posix
def test_more_parts_than_a_process_may_hold_open(tmp_path: Path, stored) -> None:
    import resource

    store, said = ActivationStore(tmp_path, FINGERPRINT), listen()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir("/dev/fd")))
    twentieth_free = [number for number in range(10_000) if number not in taken][20]
    resource.setrlimit(resource.RLIMIT_NOFILE, (twentieth_free, limits[1]))
    try:
        store.open()
        found = store.read(HASHES[::-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found[:, 0, 0, 0].tolist() == list(range(60))[::-1]
    assert said == []
    assert all(path.exists() for path in stored)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_opened_for_now_is_left_there(
    tmp_path: Path, stored, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UnreadableError, match=f"{stored[0]}.*{os.strerror(code)}.*run the same"):
        ActivationStore(tmp_path, FINGERPRINT).open()
    assert all(path.exists() for path in stored)


def test_a_file_that_cannot_be_read_for_now_is_left_there(
    tmp_path: Path, stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Can't synchronously read data")

    monkeypatch.setattr(h5py.Dataset, "read_direct", fail)
    with pytest.raises(UnreadableError, match=os.strerror(errno.EIO)):
        ActivationStore(tmp_path, FINGERPRINT).open()
    assert all(path.exists() for path in stored)


def test_a_file_whose_content_is_bad_is_deleted_and_said(tmp_path: Path, stored) -> None:
    stored[0].write_bytes(stored[0].read_bytes()[:500])
    stored[1].write_bytes(b"no HDF5 at all")
    said = listen()
    store = ActivationStore(tmp_path, FINGERPRINT)
    store.open()
    assert [line.split(":")[0] for line in said] == [str(path) for path in stored[:2]]
    assert len(store.missing(HASHES)) == 2
    assert [path.exists() for path in stored] == [False] * 2 + [True] * 58


@needs_posix
@pytest.mark.parametrize(("allowed", "most"), [(64, 16), (256, 32), (20_000, 128)])
def test_files_held_open_are_a_share_of_what_the_process_may_open(
    monkeypatch: pytest.MonkeyPatch, allowed: int, most: int
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert most_open() == most


def test_augmented_copies_differ_are_kept_and_stay_the_same_in_another_company(
    tmp_path: Path, files: list[Wanted]
) -> None:
    copies = [each._replace(copy=copy) for copy in (1, 2) for each in files[:4]]
    said = listen()
    store = cached_activations(tmp_path / "a", Network(), [*files[:6], *copies], ONE)
    assert "computed once for 6 of 6 images and 8 of 8 augmented copies" in said[0]
    keys = contents(copies)
    first, second = store.read(keys[:4]), store.read(keys[4:])
    plain = store.read(contents(files[:4]))
    for one, other in ((first, second), (first, plain), (second, plain)):
        assert not np.array_equal(one, other)
    other = cached_activations(tmp_path / "b", Network(), [copies[6], *files[6:9]], ONE)
    np.testing.assert_array_equal(other.read([keys[6]])[0], second[2])
    said.clear()
    cached_activations(tmp_path / "a", Network(), copies, ONE)
    assert said == []
