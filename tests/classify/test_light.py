"""What must never import TensorFlow, tried in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from tests.conftest import ROOT

PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert end.code in (0, None), end.code
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras"})
print("HEAVY", heavy)
"""


def heavy_modules(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "--help"),
        ("classify", "--help"),
        ("classify", "train", "--help"),
        ("classify", "export", "--help"),
    ],
)
def test_help_is_light(arguments: tuple[str, ...]) -> None:
    assert heavy_modules(*arguments) == "HEAVY []"


@pytest.mark.parametrize("head", ["logreg", "lightgbm", "ridge", "knn", "centroid"])
def test_training_without_a_network_is_light(run: Run, head: str) -> None:
    assert heavy_modules("classify", "train", run.features_path, "--heads", head) == "HEAVY []"


def test_heads_that_read_the_file_are_light(run: Run) -> None:
    heads = ("--heads", "ridge", "logreg", "lightgbm", "--stream", "always")
    assert heavy_modules("classify", "train", run.features_path, *heads) == "HEAVY []"


def test_a_report_is_light_whatever_was_trained(network_run: Run) -> None:
    assert heavy_modules("classify", "report", network_run.folder) == "HEAVY []"


def test_a_features_run_with_nothing_to_do_is_light(network_run: Run, network_photos: Path) -> None:
    features = network_run.features_path
    arguments = ("extract", network_photos, "--out", features, "--weights", "random", "--size", 32)
    assert heavy_modules(*arguments) == "HEAVY []"


def test_the_probe_sees_tensorflow(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    assert heavy_modules("classify", "train", run.features_path, "--heads", "mlp-128") == (
        "HEAVY ['keras', 'tensorflow']"
    )
