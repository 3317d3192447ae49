"""A DINOv2 of two layers, saved by KerasHub, through every command."""

from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.headbench.command import call
from tests.headbench.test_light import PROBE, heavy_modules, output
from tests.hub_presets import SIZE_PX, save_preset


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "dinov2"
    save_preset("dinov2", folder)
    return folder


@pytest.fixture(scope="module")
def hub_run(preset: Path, network_photos: Path) -> Run:
    run = Run(preset.parent / "runs/hub")
    arguments = ("--name", run.features_path, "--backbone", f"hub:{preset}")
    assert call("features", network_photos, *arguments, "--pooling", "cls+avg") == 0
    assert call("heads", run.folder, "--heads", "logreg") == 0
    return run


def test_from_features_to_an_exported_model(
    hub_run: Run, network_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("verify", hub_run.folder, "--rerun", 10) == 0
    assert call("report", hub_run.folder) == 0
    assert "hub:DINOV2Backbone" in (hub_run.folder / "report/results.md").read_text("utf-8")
    assert call("predict", hub_run.folder, "--images", network_photos, "--head", "logreg") == 0
    capsys.readouterr()
    # Each format is compared with what predict says before it is written.
    assert call("export", hub_run.folder, "--head", "logreg") == 0
    said = capsys.readouterr().out
    for name in ("saved_model", "keras", "onnx"):
        assert name in said


def test_exported_embeddings_are_the_stored_ones(hub_run: Run, preset: Path) -> None:
    """By KerasHub alone, with nothing of ours but the decoded pixels."""
    import keras_hub

    backbone = keras_hub.models.Backbone.from_preset(str(preset))
    converter = keras_hub.layers.ImageConverter.from_preset(str(preset), image_size=None)
    with FeatureFile(hub_run.features_path) as features:
        X, _ = features.load("train")
        root, paths = Path(features.config.data["folder"]), features.table.paths
        rows = features.rows("train")[:3]
    from headbench.extract.images.decode import decode

    pixels = np.stack([decode((root / paths[row]).read_bytes(), SIZE_PX) for row in rows])
    tokens = np.asarray(backbone({"images": converter(np.float32(pixels))}))
    expected = np.hstack([tokens[:, 0], tokens[:, 5:].mean(axis=1)])
    np.testing.assert_allclose(X[:3], expected, rtol=1e-4, atol=1e-5)


def test_a_run_with_nothing_to_do_is_light(
    hub_run: Run, preset: Path, network_photos: Path
) -> None:
    arguments = ("--name", hub_run.features_path, "--backbone", f"hub:{preset}")
    again = ("features", network_photos, *arguments, "--pooling", "cls+avg")
    assert heavy_modules(*again) == set()


def test_fine_tuning_takes_a_layer_and_says_that_there_are_no_blocks(
    hub_run: Run, network_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("finetune", hub_run.folder, "--start", "logreg", "--epochs", 1)
    assert call(*arguments) == 2
    assert "has no blocks" in capsys.readouterr().err
    assert call(*arguments, "--unfreeze", "dinov2_backbone_encoder") == 0
    # In another process, which knows nothing of KerasHub yet.
    name, image = "finetuned-dinov2_backbone_encoder", network_photos / "red/000.png"
    predict = ("predict", hub_run.folder, "--images", image, "--head", name)
    assert "keras_hub" in output(PROBE, *predict).split()
