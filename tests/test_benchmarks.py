"""The prepared scripts that measure: they run, at sizes at which their figures mean nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.benchmarks.extract import Contender, check_agreement, rows

TINY = ("--device", "cpu", "--tiny", "--backbone", "mobilenet-0.25", "--size", 32)
Command = Callable[..., "object"]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    # tf2onnx sets it in whatever process converts; what TensorFlow says would be shown then.
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)


@pytest.mark.usefixtures("no_gpu")
def test_the_check_of_a_gpu_says_in_one_line_that_there_is_none(command: Command) -> None:
    done = command("tests.benchmarks.gpu")
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("found no GPU: ")


@pytest.mark.long
def test_the_check_of_a_gpu_runs_on_a_cpu_in_its_place(command: Command, tmp_path: Path) -> None:
    done = command("tests.benchmarks.gpu", *TINY, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {each["name"]: each for each in json.loads((tmp_path / "gpu.json").read_text())}
    assert rows["parity: TensorFlow float32, XLA"]["ratio"] > 1
    assert rows["batches halved, 16 images at once"]["ours"] == 1
    assert 0 < rows["killed in the middle: images embedded again"]["ours"] < 48
    assert "the bottleneck is " in done.stdout
    assert ", 0 not kept" in done.stdout


@pytest.mark.long
def test_processes_with_little_to_do_are_timed(command: Command, tmp_path: Path) -> None:
    network = ("--backbone", "mobilenet-0.25", "--size", 32, "--head", "ridge")
    done = command(
        "tests.benchmarks.start", "--rounds", 1, "--photos", 20, *network, "--out", tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {each["name"]: each for each in json.loads((tmp_path / "start.json").read_text())}
    assert 0 < rows["--help"]["ours"] < rows["predict 1 file, not converted before"]["ours"]
    assert rows["memory: predict 1 file, not converted before"]["ours"] > 100


OURS, PEER = ("headbench", "headbench:openvino"), ("OpenVINO", "OpenVINO")
RACE = [
    Contender(*each, precision) for precision in ("float32", "bfloat16") for each in (OURS, PEER)
]


def test_each_of_ours_meets_the_peers_of_its_precision_and_its_own_float32() -> None:
    keys = ("load", "run", "bare", "process")
    medians = {each: dict.fromkeys(keys, float(number)) for number, each in enumerate(RACE, 1)}
    found = {(each.name, each.peer_name): each for each in rows(medians, 0.1, 100)}
    whole = "whole process: headbench"
    assert (f"{whole} float32", "OpenVINO float32") in found
    assert (f"{whole} bfloat16", "OpenVINO bfloat16") in found
    assert (f"{whole} float32", "headbench bfloat16") not in found
    own = found[f"{whole} bfloat16", "headbench float32"]
    assert (own.ours, own.peer) == (30.0, 10.0)


def test_a_race_of_different_networks_is_void(tmp_path: Path) -> None:
    for number, each in enumerate(RACE):
        with h5py.File(tmp_path / f"0 {each}.h5", "w") as file:
            file["embeddings"] = np.full((3, 2), 1 + 1e-5 * number, np.float32)
    check_agreement(tmp_path, RACE)
    with h5py.File(tmp_path / f"0 {RACE[1]}.h5", "w") as file:
        file["embeddings"] = np.full((3, 2), 1.1, np.float32)
    with pytest.raises(SystemExit, match="OpenVINO float32 ran another network"):
        check_agreement(tmp_path, RACE)
