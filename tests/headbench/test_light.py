"""What must never import TensorFlow, or what is large and not needed, tried in other processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.command_line import VERBS
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT
from tests.small_network import SIZE_PX, SMALL

PROBE = """
import sys
from headbench.command_line import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print(*{name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names)
"""
TENSORFLOW = {"tensorflow", "keras"}
# Whatever only some commands need.
NEEDED_LATER = TENSORFLOW | {
    *("cleanlab", "dask", "datasets", "distributed", "fastapi", "fsspec", "onnx", "onnxruntime"),
    *("openTSNE", "openvino", "pillow_heif", "s3fs", "tf2onnx", "torch", "uvicorn"),
}


def output(code: str, *arguments: object) -> str:
    """The last line that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def heavy_modules(*arguments: object) -> set[str]:
    """What a command imports of TensorFlow."""
    return set(output(PROBE, *arguments).split()) & TENSORFLOW


def test_the_name_itself_imports_nothing_of_others() -> None:
    code = (
        "import sys; before = set(sys.modules); import headbench; print(*set(sys.modules) - before)"
    )
    new = {name.partition(".")[0] for name in output(code).split()}
    assert new - set(sys.stdlib_module_names) == {"headbench"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        *((verb, "--help") for verb in VERBS),
    ],
)
def test_help_is_light(arguments: tuple[str, ...]) -> None:
    assert not NEEDED_LATER & set(output(PROBE, *arguments).split())


def test_training_without_a_network_is_light(run: Run) -> None:
    heads = ("--heads", "logreg", "lightgbm", "ridge", "knn", "centroid", "prior")
    assert heavy_modules("heads", run.features_path, *heads) == set()


def test_heads_that_read_the_file_are_light(run: Run) -> None:
    heads = ("--heads", "ridge", "logreg", "lightgbm", "--stream", "always")
    assert heavy_modules("heads", run.features_path, *heads) == set()


def test_a_report_is_light_whatever_was_trained(network_run: Run) -> None:
    assert heavy_modules("report", network_run.folder) == set()


def test_a_features_run_with_nothing_to_do_is_light(random_run: Run, network_photos: Path) -> None:
    network = ("--backbone", SMALL, "--weights", "random", "--size", SIZE_PX)
    arguments = ("features", network_photos, "--name", random_run.features_path, *network)
    assert heavy_modules(*arguments) == set()


@pytest.fixture
def unlabelled(network_photos: Path, tmp_path: Path) -> Path:
    """The same images by the same network, without labels."""
    out = tmp_path / "unlabelled/features.h5"
    network = ExtractSettings(SMALL, "random", SIZE_PX, unlabelled=True)
    extract_features(network_photos / "red", out, network)
    return out


def test_stored_embeddings_are_classified_without_tensorflow(
    random_run: Run, unlabelled: Path, network_photos: Path
) -> None:
    for images in (unlabelled, unlabelled.parent, network_photos / "red"):
        assert heavy_modules("predict", random_run.folder, "--images", images) == set()
        assert heavy_modules("similar", random_run.folder, "--images", images) == set()


def test_a_choice_of_networks_with_nothing_to_embed_is_light(
    random_run: Run, network_photos: Path
) -> None:
    names = ("--try", f"{SMALL},mean-color", "--name", random_run.folder)
    network = ("--weights", f"{SMALL}=random", "--size", SIZE_PX, "--folds", 3)
    assert heavy_modules("backbones", network_photos, *names, *network) == set()


def test_images_and_mean_colours_are_examined_without_tensorflow(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    arguments = ("doctor", run.folder, photos, "--out", tmp_path / "page")
    assert heavy_modules(*arguments) == set()


def test_the_probe_sees_tensorflow(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    assert heavy_modules("heads", run.features_path, "--heads", "mlp-128") == TENSORFLOW
