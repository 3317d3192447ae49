import json
import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.cache.errors import HeadbenchError
from headbench.classify.doctor.model.declared_loss import Loss, calling, read_loss
from headbench.extract.errors import WeightsError
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.user_model import UserModel, load_user_model
from tests.classify.test_untrusted import put_keras
from tests.conftest import ROOT

KERAS_2 = ROOT / "tests/data/keras2"
CROSSENTROPY = "categorical_crossentropy"


def small() -> Any:
    keras = load_keras()
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_model_is_loaded_with_its_loss_and_version(tmp_path: Path, name: str) -> None:
    small().save(tmp_path / name)
    found = load_user_model(tmp_path / name)
    assert found.model.output_shape == (None, 2)
    assert found.keras_version == load_keras().__version__
    assert found.loss["class_name"] == "CategoricalCrossentropy"
    assert found.loss["config"]["from_logits"] is True


@pytest.mark.parametrize(
    ("version", "froze"),
    [("2.2.4", False), ("2.3.1", False), ("2.2.4-tf", True), ("2.4.0", True), ("3.15.1", True)],
)
def test_which_keras_froze_batch_norms(version: str, froze: bool) -> None:
    assert UserModel(Path("m.h5"), None, version, None).froze_batch_norms is froze


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "old.h5"])
def test_a_lambda_runs_nothing(tmp_path: Path, name: str) -> None:
    keras, marker = load_keras(), tmp_path / "code was run"
    place = str(marker)

    def payload(x: Any) -> Any:
        open(place, "w").close()
        return x

    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: payload(x))])
    model.save(tmp_path / name)
    if name == "old.h5":
        with h5py.File(tmp_path / name, "r+") as file:
            file.attrs["keras_version"] = "2.2.4"
    marker.unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        load_user_model(tmp_path / name)
    assert not marker.exists()
    # Keras offers to run it.
    assert "arbitrary code execution" in str(caught.value)
    assert "safe" not in str(caught.value)
    assert "override" not in str(caught.value)


def test_weights_of_an_h5_model_are_not_read_from_another_file(tmp_path: Path) -> None:
    small().save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file.move("model_weights", "weights")
        file["model_weights"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(
        WeightsError, match="/model_weights is a link, which headbench does not follow"
    ):
        load_user_model(tmp_path / "model.h5")


def claim_units(path: Path) -> None:
    """Let the Dense layers of a model have a billion units, and its weights stay as they are."""

    def changed(config: str) -> str:
        return re.sub(r'"units": \d+', '"units": 1000000000', config)

    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json").decode()
        put_keras(path, json.loads(changed(config)))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "sequential.keras", "sequential.h5"])
def test_layers_of_more_weights_than_the_file_holds_are_not_built(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if path.stem == "model":
        small().save(path)
    else:
        path.write_bytes((KERAS_2 / name).read_bytes())
    claim_units(path)
    words = r"layers up to '\w+' declare \d{10,} weights, more than fit in the \d+ bytes"
    with pytest.raises(WeightsError, match=words):
        load_user_model(path)


def test_a_layer_of_the_user_s_own_is_refused_with_the_reason(tmp_path: Path) -> None:
    keras = load_keras()

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    keras.Sequential([keras.Input((3,)), Mine()]).save(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match="built-in layers only"):
        load_user_model(tmp_path / "model.keras")


def test_keras_own_advice_on_a_model_is_not_printed(tmp_path: Path) -> None:
    """As an error it would end the test."""
    keras = load_keras()
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        first = keras.layers.Conv2D(2, 3, input_shape=(8, 8, 3))
    model = keras.Sequential([first, keras.layers.GlobalAveragePooling2D()])
    model.add(keras.layers.Dense(1, activation="softmax"))
    model.save(tmp_path / "model.h5")
    model = load_user_model(tmp_path / "model.h5").model
    images = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.warns(UserWarning, match="softmax over axis -1"):
        model(images)
    with calling(tmp_path / "model.h5"):
        model(images)


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["kernel"] = [1.0]
    with pytest.raises(WeightsError, match="weights only"):
        load_user_model(tmp_path / "model.h5")


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"text")
    with pytest.raises(HeadbenchError, match=name) as caught:
        load_user_model(tmp_path / name)
    assert "make features" not in str(caught.value)
    assert ("written by model.save('model.h5')" in str(caught.value)) is (name == "model.h5")


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (CROSSENTROPY, Loss(CROSSENTROPY, False)),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
            Loss("sparse_categorical_crossentropy", True),
        ),
        ({"class_name": "function", "config": "mse"}, Loss("mse", False)),
        ([CROSSENTROPY], Loss(CROSSENTROPY, False)),
        ({"dense": [CROSSENTROPY]}, Loss(CROSSENTROPY, False)),
        ("bce", Loss("binary_crossentropy", False)),
        ("BCE", Loss("binary_crossentropy", False)),
        ([CROSSENTROPY, "mse"], None),
        ({}, None),
        (None, None),
        ({"config": 3}, None),
    ],
)
def test_a_loss_is_read_as_files_describe_it(described: object, expected: Loss | None) -> None:
    assert read_loss(described, None, None) == expected


def test_the_user_s_word_wins_over_the_file() -> None:
    assert read_loss("mse", "binary_crossentropy", True) == Loss("binary_crossentropy", True)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("is_by_name", [False, True])
def test_a_loss_in_a_list_or_by_name_comes_through_a_file(
    tmp_path: Path, name: str, is_by_name: bool
) -> None:
    keras = load_keras()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="last")])
    model.compile("adam", {"last": CROSSENTROPY} if is_by_name else [CROSSENTROPY])
    model.save(tmp_path / name)
    found = read_loss(load_user_model(tmp_path / name).loss, None, None)
    assert found == Loss(CROSSENTROPY, False)
