"""Models of Keras 2; tests/data/keras2/write.py wrote them."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.declared_loss import read_loss
from headbench.extract.errors import WeightsError
from headbench.extract.networks.user_model import load_user_model
from tests.classify.test_untrusted import KERAS_CONFIGS, put_keras
from tests.conftest import ROOT

FOLDER = ROOT / "tests/data/keras2"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".h5", ".keras"))
FROZEN = {"sequential": 1, "functional": 4, "nested": 20, "teachable": 0}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_model_of_keras_2_predicts_what_it_did_there(path: Path) -> None:
    before = path.read_bytes()
    found = load_user_model(path)
    with np.load(FOLDER / "predicted.npz") as predicted:
        images, expected = predicted["images"].astype(np.float32), predicted[path.stem]
    np.testing.assert_allclose(found.model(images), expected, rtol=1e-5, atol=1e-6)
    assert sum(leaf.is_frozen for leaf in leaves(found.model)) == FROZEN[path.stem]
    loss = read_loss(found.loss, None, None)
    assert loss
    assert loss.name == "sparse_categorical_crossentropy"
    assert found.keras_version == "2.21.0"
    assert path.read_bytes() == before


def changed(folder: Path, config: Any) -> Path:
    """The Sequential model with another description."""
    path = folder / "model.h5"
    path.write_bytes((FOLDER / "sequential.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


def with_layer(layer: Any) -> dict[str, Any]:
    with h5py.File(FOLDER / "sequential.h5") as file:
        config: dict[str, Any] = json.loads(file.attrs["model_config"])
    config["config"]["layers"].insert(1, layer)
    return config


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "config": {"name": "x", "function": ["4wEAAAA=", None, None]}},
        {"class_name": "AtrousConvolution2D", "config": {"name": "x"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "math.multiply"}},
    ],
    ids=lambda layer: layer["class_name"],
)
def test_what_cannot_be_loaded_is_said_with_what_can_be(
    tmp_path: Path, layer: dict[str, Any]
) -> None:
    with pytest.raises(WeightsError, match=r"Build the model again in Keras 3, call load_weights"):
        load_user_model(changed(tmp_path, with_layer(layer)))


def test_keras_2_2_s_description_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """There a Sequential model was a list, without an input layer."""
    layers = with_layer(None)["config"]["layers"][2:]
    with pytest.raises(WeightsError, match="Build the model again in Keras 3"):
        load_user_model(changed(tmp_path, {"class_name": "Sequential", "config": layers}))


@pytest.mark.parametrize("kind", KERAS_CONFIGS)
def test_what_a_stranger_wrote_into_a_keras_file_of_2_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    marker, path = tmp_path / "code was run", tmp_path / "model.keras"
    (tmp_path / "payload_of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    path.write_bytes((FOLDER / "sequential.keras").read_bytes())
    put_keras(path, KERAS_CONFIGS[kind](marker))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_user_model(path)
    assert not marker.exists()


@pytest.mark.parametrize("kind", KERAS_CONFIGS)
@pytest.mark.parametrize("is_inside", [False, True])
def test_what_a_stranger_wrote_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_inside: bool
) -> None:
    marker = tmp_path / "code was run"
    (tmp_path / "payload_of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    described = KERAS_CONFIGS[kind](marker)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_user_model(changed(tmp_path, with_layer(described) if is_inside else described))
    assert not marker.exists()
