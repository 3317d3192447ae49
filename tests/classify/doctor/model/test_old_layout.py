"""Files in the layout of Keras 2.2: see `tests.classify.doctor.keras22`."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from classify.doctor.model.anatomy import leaves
from classify.doctor.model.load import load_user_model
from classify.errors import RunError
from extract.keras_runtime import load_keras
from tests.classify.doctor.keras22 import save_as_keras_22
from tests.classify.test_untrusted import KERAS_CONFIGS

SIDE_PX = 8


def network() -> Any:
    """Two convolutions beside each other, one of them frozen with its BatchNormalization."""
    layers = load_keras().layers
    inputs = load_keras().Input((SIDE_PX, SIDE_PX, 3))
    frozen = layers.Conv2D(4, 3, padding="same", trainable=False, name="frozen")(inputs)
    norm = layers.BatchNormalization(trainable=False, name="frozen_bn")
    frozen = norm(frozen)
    norm.set_weights([np.full(4, value) for value in (1.5, 0.5, 0.3, 2.0)])
    trained = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, padding="same")(inputs))
    return load_keras().Model(inputs, layers.Add()([frozen, trained]), name="network")


def flat() -> Any:
    layers = load_keras().layers
    first = layers.Conv2D(4, 3, strides=2, activation="relu", trainable=False, name="first")
    return sequential(first, layers.BatchNormalization(), layers.Dropout(0.2))


def nested() -> Any:
    return sequential(network())


def functional() -> Any:
    layers = load_keras().layers
    inputs = load_keras().Input((SIDE_PX, SIDE_PX, 3))
    pooled = layers.GlobalAveragePooling2D()(network()(inputs))
    return load_keras().Model(inputs, layers.Dense(2, activation="softmax")(pooled))


def sequential(*first: Any) -> Any:
    layers = load_keras().layers
    model = load_keras().Sequential(
        [*first, layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    )
    model.build((None, SIDE_PX, SIDE_PX, 3))
    return model


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("make", [flat, nested])
def test_sequential_models_are_loaded_with_weights_and_flags(
    tmp_path: Path, make: Any, is_list: bool
) -> None:
    model = make()
    path = save_as_keras_22(model, tmp_path / "model.h5", "categorical_crossentropy", is_list)
    assert_same(load_user_model(path), model)


def test_functional_models_are_loaded_too(tmp_path: Path) -> None:
    model = functional()
    path = save_as_keras_22(model, tmp_path / "model.h5", "categorical_crossentropy")
    assert_same(load_user_model(path), model)


def assert_same(found: Any, model: Any) -> None:
    images = np.random.default_rng(0).normal(size=(5, SIDE_PX, SIDE_PX, 3)).astype(np.float32)
    np.testing.assert_allclose(found.model(images), model(images), rtol=1e-5, atol=1e-6)
    assert frozen_in(found.model) == frozen_in(model)
    assert (found.keras_version, found.loss) == ("2.2.4", "categorical_crossentropy")
    assert not found.froze_batch_norms


def frozen_in(model: Any) -> list[str]:
    return [leaf.layer.name for leaf in leaves(model) if leaf.is_frozen]


def test_the_file_is_not_modified(tmp_path: Path) -> None:
    path = save_as_keras_22(nested(), tmp_path / "model.h5", "mse")
    before = path.read_bytes()
    load_user_model(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "config": {"name": "x", "function": ["4wEAAAA=", None, None]}},
        {"class_name": "AtrousConvolution2D", "config": {"name": "x"}},
    ],
)
def test_what_cannot_be_loaded_is_said_with_what_can_be(
    tmp_path: Path, layer: dict[str, Any]
) -> None:
    path = save_as_keras_22(flat(), tmp_path / "model.h5", "mse")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].insert(1, layer)
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(RunError, match=r"that are Sequential or functional, .* Build it anew"):
        load_user_model(path)


@pytest.mark.parametrize("kind", KERAS_CONFIGS)
@pytest.mark.parametrize("is_inside", [False, True])
def test_what_a_stranger_wrote_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_inside: bool
) -> None:
    marker = tmp_path / "code was run"
    (tmp_path / "payload_of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    described = KERAS_CONFIGS[kind](marker)
    path = save_as_keras_22(flat(), tmp_path / "model.h5", "mse")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].insert(1, described)
        file.attrs["model_config"] = json.dumps(config if is_inside else described)
    with pytest.raises(RunError, match="cannot be loaded"):
        load_user_model(path)
    assert not marker.exists()
