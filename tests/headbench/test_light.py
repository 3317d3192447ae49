"""What must never import TensorFlow, or what is large and not needed, tried in other processes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays, save_arrays
from headbench.classify.run import PROBA_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.command_line import VERBS
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, write_class_folders, write_image
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


def test_a_report_with_maps_that_are_kept_is_light(network_run: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(network_run.folder, tmp_path / "colors")))
    path = run.trained_folder("logreg") / PROBA_FILE
    arrays = load_arrays(path)  # wrong for every image, so that there are mistakes
    save_arrays(path, {split: np.roll(proba, 1, axis=1) for split, proba in arrays.items()})
    asked = ("report", run.folder, "--head", "logreg")
    assert heavy_modules(*asked, "--explain") == TENSORFLOW
    assert heavy_modules(*asked) == set()
    assert "What spoke for" in (run.report_folder / "index.html").read_text("utf-8")


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


NETWORK = ("--backbone", SMALL, "--size", SIZE_PX)


def test_new_images_are_embedded_by_a_converted_network_without_tensorflow(
    network_features: Path, tmp_path: Path
) -> None:
    photos, weights = write_class_folders(tmp_path / "new", 9, 500), weights_of(network_features)
    out = tmp_path / "features.h5"
    arguments = ("features", photos, "--name", out, "--weights", weights, *NETWORK)
    assert heavy_modules(*arguments) == set()
    with FeatureFile(out) as features:
        assert len(features.table.paths) == 27


def test_verify_embeds_images_again_without_tensorflow(network_features: Path) -> None:
    assert heavy_modules("verify", network_features, "--rerun", 4) == set()


def weights_of(path: Path) -> str:
    with FeatureFile(path) as features:
        return features.config.weights


@pytest.mark.parametrize("head", ["logreg", "mlp-128"])
def test_predict_imports_what_its_head_needs(network_run: Run, tmp_path: Path, head: str) -> None:
    # A new one: embeddings that are stored need no network.
    image = tmp_path / "new.png"
    write_image(image, seed=77)
    arguments = ("predict", network_run.folder, "--head", head, "--images", image)
    found = set(output(PROBE, *arguments).split())
    assert "openvino" in found
    assert not (NEEDED_LATER | {"lightgbm", "matplotlib"}) - {"openvino"} & found


def test_predict_converts_a_fine_tuned_network_once(
    network_run: Run, network_photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path))
    image = network_photos / "red/000.png"
    arguments = ("predict", network_run.folder, "--head", "finetuned", "--images", image)
    assert heavy_modules(*arguments) == TENSORFLOW
    assert heavy_modules(*arguments) == set()


SERVE = """
from headbench.classify.deployment.server import process
class Server:
    handle_exit = print
    def run(sockets):
        pass
process.make_server = lambda engine, settings: Server
"""


def test_serve_starts_without_tensorflow(network_run: Run) -> None:
    arguments = ("serve", network_run.folder, "--head", "mlp-128", "--port", 0)
    found = set(output(SERVE + PROBE, *arguments).split())
    assert "openvino" in found
    assert not TENSORFLOW & found


EMBED = """
import sys
from headbench import Embedder
network = Embedder(sys.argv[1], weights=sys.argv[2], size=int(sys.argv[3]))
print(network.transform([sys.argv[4]] * 4).shape, *{name.split(".")[0] for name in sys.modules})
"""


def test_an_embedder_of_a_converted_network_is_light(
    network_features: Path, network_photos: Path
) -> None:
    image = network_photos / "red/000.png"
    said = output(EMBED, SMALL, weights_of(network_features), SIZE_PX, image)
    assert said.startswith("(4, 256)")
    assert not TENSORFLOW & set(said.split())


@pytest.mark.parametrize("head", ["logreg", "mlp-128"])
def test_a_head_that_is_reused_is_light(network_run: Run, head: str) -> None:
    found = set(output(PROBE, "heads", network_run.features_path, "--heads", head).split())
    assert not NEEDED_LATER & found


def test_images_and_mean_colours_are_examined_without_tensorflow(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    arguments = ("doctor", run.folder, photos, "--out", tmp_path / "page")
    assert heavy_modules(*arguments) == set()


def test_the_probe_sees_tensorflow(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    assert heavy_modules("heads", run.features_path, "--heads", "mlp-128") == TENSORFLOW


def test_a_prediction_needs_no_scikit_learn(run: Run, photos: Path) -> None:
    train_heads(run, ["logreg", "ridge"], seed=0)
    image = next(photos.rglob("*.png"))
    for head in ("logreg", "ridge"):
        arguments = ("predict", run.folder, "--head", head, "--images", image)
        found = set(output(PROBE, *arguments).split())
        assert not {"sklearn", "pandas", "joblib", "lightgbm", "matplotlib"} & found
