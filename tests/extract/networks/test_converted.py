"""Converted networks: found again whole or not at all, whoever writes, and whatever is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from headbench.cache.errors import HeadbenchError
from headbench.extract.networks import converted, keras_network
from headbench.extract.networks.converted import Check, find, keep, key_of, known_dim
from headbench.extract.networks.engines import run_by_openvino
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import ROOT, listen, needs_posix
from tests.small_network import SIZE_PX, SMALL, write_weights

DIM = 1000
CHECK = Check(1.5e-7, 1e-4, 4)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def network(seed: int = 0) -> openvino.Model:
    """Mean colours times a matrix: a network that is made without TensorFlow."""
    pixels = ops.parameter([-1, 4, 4, 3], np.uint8, name="images")
    means = ops.reduce_mean(ops.convert(pixels, "f32"), np.array([1, 2]), keep_dims=False)
    matrix = np.random.default_rng(seed).normal(size=(3, DIM)).astype(np.float32)
    return openvino.Model([ops.matmul(means, matrix, False, False)], [pixels], "means")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path / "cache"))
    converted._say_once.cache_clear()
    return tmp_path / "cache/networks"


def keep_as(key: str, seed: int = 0) -> None:
    keep(key, network(seed), "means", DIM, CHECK)


def test_a_kept_network_gives_the_same_bits() -> None:
    said = listen()
    keep_as("a")
    found = find("a")
    assert found is not None
    assert found.check == CHECK
    assert known_dim("a") == DIM
    expected = run_by_openvino(network()).infer(IMAGES)
    np.testing.assert_array_equal(run_by_openvino(found.path).infer(IMAGES), expected)
    assert not said
    assert find("b") is None
    assert known_dim("b") is None


def test_whatever_decides_a_network_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of("a"), key_of("b")}
    for name in ("keras", "tensorflow", "openvino", "headbench", "keras-hub"):
        with monkeypatch.context() as patch:
            patch.setattr(converted, "installed_version", lambda each, name=name: each == name)
            keys.add(key_of("a"))
    with monkeypatch.context() as patch:
        patch.setattr(converted, "_code", lambda: "other code")
        keys.add(key_of("a"))
    assert len(keys) == 8
    assert key_of("a") in keys
    assert {len(key) for key in keys} == {64}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path, **facts: object) -> None:
    """Change a record as somebody would who knows how its digest is made."""
    record = json.loads(path.read_text())
    del record["sha256"]
    record |= facts
    path.write_text(json.dumps(record | {"sha256": converted._digest(record)}))


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["network.xml", "network.bin", "record.json"])
def test_what_is_damaged_is_not_used_and_is_replaced(
    folder: Path, name: str, damage: Callable[[Path], object]
) -> None:
    keep_as("a")
    damage(folder / "a" / name)
    said = listen()
    assert find("a") is None
    if (name, damage) != ("record.json", Path.unlink):
        assert len(said) == 1
        assert f"{folder}/a: the converted network there is not used" in said[0]
    keep_as("a")
    assert find("a") is not None


@pytest.mark.parametrize(
    "facts",
    [
        {"version": 2},
        {"key": "b"},
        {"dim": 0},
        {"dim": "1000"},
        {"dim": 1 << 40},
        {"check": [1, 2, 3]},
        {"check": {"difference": 0}},
        {"files": {}},
        {"files": {"../../secret": {}, "network.bin": {}}},
        {"files": 3},
    ],
)
def test_a_record_with_other_values_is_not_believed(folder: Path, facts: dict[str, object]) -> None:
    keep_as("a")
    change(folder / "a/record.json", **facts)
    assert find("a") is None
    assert known_dim("a") is None


def test_a_full_disk_that_openvino_does_not_notice_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save, said = openvino.save_model, listen()

    def save_half(model: openvino.Model, path: Path, **options: bool) -> None:
        save(model, path, **options)
        cut(path.with_suffix(".bin"))

    monkeypatch.setattr(openvino, "save_model", save_half)
    keep_as("a")
    assert find("a") is None
    assert len(said) == 1
    assert "cannot be kept" in said[0]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"in the way")
    said = listen()
    keep_as("a")
    keep_as("b")
    assert find("a") is None
    assert len(said) == 1
    assert "the converted network cannot be kept (Not a directory)" in said[0]
    assert "HEADBENCH_CACHE may name another folder" in said[0]


@needs_posix
def test_a_folder_that_others_may_fill_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_as("a")
    assert folder.stat().st_mode & 0o777 == 0o700
    said = listen()
    folder.chmod(0o777)
    assert find("a") is None
    folder.chmod(0o700)
    assert find("a") is not None
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert find("a") is None
    keep_as("b")
    assert not (folder / "b").exists()
    reasons = ["every user may write to it", "it belongs to another user"]
    assert [reason in line for reason, line in zip([*reasons, reasons[1]], said, strict=True)]
    assert reasons[1] in said[2]


def test_the_network_not_used_for_longest_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = listen()
    for number, key in enumerate("abc"):
        keep_as(key)
        os.utime(folder / key / "record.json", (1000 + number, 1000 + number))
    assert find("a") is not None  # used just now
    n_bytes = sum(path.stat().st_size for path in (folder / "a").iterdir())
    monkeypatch.setenv("HEADBENCH_CACHE_SIZE", str(2.5 * n_bytes / 1e9))
    keep_as("d")
    assert [key for key in "abcd" if find(key)] == ["a", "d"]
    assert len(said) == 1
    assert "2 converted networks deleted, not used for longest" in said[0]
    assert "(HEADBENCH_CACHE_SIZE)" in said[0]


def test_nothing_is_kept_without_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_CACHE_SIZE", "0")
    keep_as("a")
    assert not folder.exists()
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv("HEADBENCH_CACHE_SIZE", wrong)
        with pytest.raises(HeadbenchError, match="expected a number of GB, 0 or more, found"):
            keep_as("a")


def test_what_was_left_over_is_deleted_after_a_day(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    for name, hours in ((".old.new", 25), (".young.new", 23)):
        (folder / name).mkdir()
        (folder / name / "network.bin").write_bytes(b"half")
        os.utime(folder / name, times=(time.time() - hours * 3600,) * 2)
    (folder / "k.lock").touch()
    os.utime(folder / "k.lock", times=(0, 0))
    keep_as("a")
    assert sorted(path.name for path in folder.iterdir()) == [".young.new", "a"]


# Keeps one network after another until it is killed.
KEEPING = """
from itertools import count
from tests.extract.networks.test_converted import keep_as
for number in count():
    keep_as(str(number))
    if number == 0:
        print("begun", flush=True)
"""


@needs_posix
@pytest.mark.parametrize("n_kills", [8, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_any_instant_all_networks_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_kills: int
) -> None:
    chance, n_whole = random.Random(0), 0  # noqa: S311, not for cryptography
    for kill in range(n_kills):
        monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path / str(kill)))
        arguments = [sys.executable, "-c", KEEPING]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        kept = [path for path in (tmp_path / f"{kill}/networks").glob("[!.]*") if path.is_dir()]
        assert [path for path in kept if not find(path.name)] == []
        n_whole += len(kept)
        # What the kill left is no obstacle.
        keep_as(str(len(kept)))
        assert find(str(len(kept))) is not None
    assert n_whole > n_kills  # the first of each, and more


ONCE = """
import sys, time
from tests.extract.networks.test_converted import keep_as
from headbench.extract.networks.converted import find
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[1])):
    keep_as(str(number))
    end = time.monotonic() + 30
    while not find(str(number)):  # the other process is keeping it
        assert time.monotonic() < end, number
print("done", flush=True)
"""


def test_two_processes_at_once_keep_and_find_whole_networks(folder: Path) -> None:
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-c", ONCE, "20"]
    both = [
        subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(2)
    ]
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    said = [each.communicate("go\n")[0] for each in both]
    assert said == ["done\n"] * 2
    assert {path.name for path in folder.iterdir()} == {str(number) for number in range(20)}
    assert all(find(str(number)) for number in range(20))


PIXELS = np.random.default_rng(1).integers(0, 256, (5, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_weights(tmp_path_factory.mktemp("weights"))


def embeddings(backbone: KerasBackbone, n_images: int = 4) -> np.ndarray:
    embedder = backbone.open(Runtime("cpu"), PIXELS[:n_images], Stopwatch())
    return embedder.infer(PIXELS)


def test_a_network_is_converted_once(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = listen()
    first = embeddings(KerasBackbone(SMALL, weights, SIZE_PX))
    assert "converted before" not in said.pop()
    with monkeypatch.context() as patch:
        patch.setattr(keras_network, "load_tensorflow", pytest.fail)
        np.testing.assert_array_equal(embeddings(KerasBackbone(SMALL, weights, SIZE_PX)), first)
        checked = "; converted before, and checked against the unmodified network on 4 images: "
        assert checked in said.pop()
        with pytest.raises(pytest.fail.Exception):  # another network
            embeddings(KerasBackbone(SMALL, weights, SIZE_PX, pooling="max"))
        with pytest.raises(pytest.fail.Exception):  # a check on fewer images than there are now
            embeddings(KerasBackbone(SMALL, weights, SIZE_PX), n_images=5)


def test_the_length_of_an_embedding_is_known_from_before(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = "conv_pw_5_relu"
    embeddings(KerasBackbone(SMALL, weights, SIZE_PX, layer=layer))
    monkeypatch.setattr(KerasBackbone, "_built", pytest.fail)
    assert KerasBackbone(SMALL, weights, SIZE_PX, layer=layer).dim == 64


def test_a_file_that_openvino_cannot_read_is_converted_again(folder: Path, weights: str) -> None:
    backbone = KerasBackbone(SMALL, weights, SIZE_PX)
    first, said = embeddings(backbone), listen()
    path = folder / backbone.key / "network.xml"
    path.write_text("<net/>")
    record = json.loads(path.with_name("record.json").read_text())
    record["files"]["network.xml"] = converted._facts_of(path)
    change(path.with_name("record.json"), files=record["files"])
    np.testing.assert_array_equal(embeddings(backbone), first)
    assert "network.xml: cannot be read" in said[0]
    assert "converted before" not in said[1]
    assert find(backbone.key) is not None
