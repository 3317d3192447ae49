"""A Keras model of one's own as backbone, through every command."""

import shutil
from pathlib import Path

import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.conftest import listen
from tests.headbench.command import call
from tests.headbench.test_light import heavy_modules
from tests.own_models import SIZE_PX, nested, write_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "model.keras"
    nested().whole.save(path)
    return path


@pytest.fixture(scope="module")
def own_run(model: Path, network_photos: Path) -> Run:
    run = Run(model.parent / "runs/own")
    arguments = ("--name", run.features_path, "--backbone", model, "--preprocessing", "tf")
    assert call("features", network_photos, *arguments) == 0
    assert call("heads", run.folder, "--heads", "logreg") == 0
    return run


def test_features_are_those_of_the_model(own_run: Run, model: Path, network_photos: Path) -> None:
    with FeatureFile(own_run.features_path) as features:
        identity, config = features.identity, features.config
        assert (identity.backbone, identity.size_px) == ("own-model", SIZE_PX)
        assert (config.weights, features.dim) == (str(model), 24)
    assert call("verify", own_run.folder, "--rerun", 10) == 0
    again = ("--name", own_run.features_path, "--backbone", model, "--preprocessing", "tf")
    assert heavy_modules("features", network_photos, *again) == set()


def test_reported_fine_tuned_predicted_and_exported(
    own_run: Run, network_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("report", own_run.folder) == 0
    assert "own-model" in (own_run.folder / "report/results.md").read_text("utf-8")
    arguments = ("--start", "logreg", "--epochs", 1)
    assert call("finetune", own_run.folder, *arguments) == 0
    assert "from conv_3 on" in capsys.readouterr().out
    for head in ("logreg", "finetuned"):
        assert call("predict", own_run.folder, "--images", network_photos, "--head", head) == 0
    assert "top-1" in capsys.readouterr().err
    assert call("export", own_run.folder, "--head", "logreg", "--formats", "keras") == 0
    assert (own_run.folder / "export/logreg/model.keras").exists()


def test_a_moved_model_is_named_by_weights(
    own_run: Run, model: Path, network_photos: Path, tmp_path: Path
) -> None:
    moved, image = tmp_path / "moved.keras", network_photos / "red/000.png"
    shutil.move(model, moved)
    try:
        arguments = ("predict", own_run.folder, "--images", image, "--head", "logreg")
        assert call(*arguments) == 2
        assert call(*arguments, "--weights", moved) == 0
    finally:
        shutil.move(moved, model)


def test_a_wrong_declared_preprocessing_is_named_when_something_was_embedded(
    model: Path, tmp_path: Path
) -> None:
    said, photos = listen(), write_pictures(tmp_path / "photos")
    options = ("--backbone", model, "--preprocessing", "0-1", "--name", tmp_path / "wrong.h5")
    assert call("features", photos, *options) == 0
    [warning] = [line for line in said if "WARNING" in line]
    assert "trained with pixels of another scaling (tf) than the declared one (/255)" in warning
    assert "Declare --preprocessing tf, and run" in warning
    said.clear()
    assert call("features", photos, *options) == 0
    assert not [line for line in said if "WARNING" in line]


def test_a_network_of_the_table_takes_no_declared_preprocessing(
    tmp_path: Path, photos: Path
) -> None:
    options = ("--backbone", "mean-color", "--size", 16, "--preprocessing", "tf")
    assert call("features", photos, *options, "--name", tmp_path / "x.h5") == 2
