"""Models of the user's own as backbones: where they are cut, and what they are known by."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.extract.errors import DataError, WeightsError
from headbench.extract.networks.applications import PREPROCESSINGS
from headbench.extract.networks.backbone import create_backbone, reopen_backbone
from headbench.extract.networks.engines import (
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.own_model import OwnModel, hash_of_model
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import ROOT, listen
from tests.own_models import MADE, SIZE_PX, OwnNetwork, functional, mobilenet, pictures

IMAGES = pictures(5)
KERAS_2 = ROOT / "tests/data/keras2"


def own(path: Path, **options: Any) -> OwnModel:
    found = create_backbone(str(path), "imagenet", preprocessing="tf", **options)
    assert isinstance(found, OwnModel)
    return found


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "model.keras"
    functional().whole.save(path)
    return path


def pooled(made: OwnNetwork, pooling: str) -> np.ndarray:
    """By the model itself, with nothing of ours."""
    maps = made.features.predict(IMAGES.astype(np.float32) / 127.5 - 1, verbose=0)
    return maps.mean(axis=(1, 2)) if pooling == "avg" else maps.max(axis=(1, 2))


@pytest.mark.parametrize(
    ("name", "make"), [*MADE.items(), pytest.param("mobilenet", mobilenet, marks=pytest.mark.long)]
)
def test_a_model_is_cut_after_its_last_feature_map(
    name: str, make: Callable[[], OwnNetwork], tmp_path: Path
) -> None:
    made = make()
    path = tmp_path / f"model.{'h5' if name == 'functional' else 'keras'}"
    made.whole.save(path)
    size_px = SIZE_PX if name == "headless" else None
    for pooling in ("avg", "max"):
        backbone = own(path, size_px=size_px, pooling=pooling)
        expected = pooled(made, pooling)
        assert (backbone.size_px, backbone.dim) == (SIZE_PX, expected.shape[1])
        network = backbone.network()
        assert relative_difference(np.asarray(network(IMAGES)), expected) < 1e-5
    folded = backbone.folded_network()
    for engine in (tensorflow_engine, openvino_engine):
        found = engine(lambda: folded).infer(IMAGES)
        assert relative_difference(found, expected) < 1e-5, engine


def test_where_it_is_cut_is_said_once(saved: Path) -> None:
    said = listen()
    own(saved).open(Runtime(engine="tensorflow"), IMAGES[:2], Stopwatch())
    assert said[0] == (
        f"{saved}: cut after relu_3, without avg_pool, dropout, predictions; 24 columns"
    )
    assert sum("cut after" in line for line in said) == 1


def test_it_is_cut_at_a_layer_inside_a_model_inside_it_too(tmp_path: Path) -> None:
    keras, path, made = load_keras(), tmp_path / "model.keras", MADE["nested"]()
    made.whole.save(path)
    inside = keras.Model(made.features.input, made.features.get_layer("relu_2").output)
    found = own(path, layer="relu_2").network().predict(IMAGES, verbose=0)
    expected = pooled(OwnNetwork(made.whole, inside), "avg")
    assert relative_difference(found, expected) < 1e-5
    with pytest.raises(DataError, match="Did you mean relu_2"):
        own(path, layer="relu2").base()


@pytest.mark.parametrize("declared", PREPROCESSINGS)
def test_the_declared_preprocessing_is_computed(saved: Path, declared: str) -> None:
    keras, pixels = load_keras(), np.float32(IMAGES)
    expected = {
        "caffe": pixels[..., ::-1] - np.float32((103.939, 116.779, 123.68)),
        "tf": pixels / 127.5 - 1,
        "torch": (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
        "0-1": pixels / 255,
    }.get(declared, pixels)
    backbone = replace(own(saved), declared=declared)
    inputs = keras.Input((SIZE_PX, SIZE_PX, 3))
    found = keras.Model(inputs, backbone.preprocess(inputs + 0.0)).predict(pixels, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-5)
    assert backbone.identity.preprocessing == PREPROCESSINGS[declared]
    assert reopen_backbone(backbone.identity, str(saved)) == replace(backbone, name="own-model")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_model_keeps_its_hash_when_it_is_trained_on_or_saved_again_and_with_no_other_weights(
    tmp_path: Path, ending: str
) -> None:
    keras, first, again = load_keras(), tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    model = functional().whole
    model.save(first)
    loaded = keras.saving.load_model(first, compile=False)
    loaded.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    loaded.evaluate(np.float32(IMAGES), np.zeros(len(IMAGES)), verbose=0)
    loaded.optimizer.build(loaded.trainable_variables)
    loaded.save(again)
    assert hash_of_model(again) == hash_of_model(first)
    assert own(again).identity == own(first).identity
    layer = loaded.get_layer("conv_2")
    layer.set_weights([weight + 1e-3 for weight in layer.get_weights()])
    loaded.save(again)
    assert hash_of_model(again) != hash_of_model(first)


def test_another_structure_with_the_same_weights_has_another_hash(tmp_path: Path) -> None:
    model = functional().whole
    config = json.loads(json.dumps(model.get_config()))
    for layer in config["layers"]:
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["epsilon"] = 0.1
    other = load_keras().Model.from_config(config)
    other.set_weights(model.get_weights())
    for each, name in ((model, "a.keras"), (other, "b.keras")):
        each.save(tmp_path / name)
    assert hash_of_model(tmp_path / "a.keras") != hash_of_model(tmp_path / "b.keras")


def test_its_identity_and_size_need_no_tensorflow(saved: Path) -> None:
    code = f"""
import sys
from headbench.extract.networks.backbone import create_backbone
backbone = create_backbone({str(saved)!r}, "imagenet", preprocessing="tf")
assert backbone.identity.weights_hash == "sha256:{hash_of_model(saved)}"
assert backbone.size_px == {SIZE_PX}
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_moved_model_is_found_by_its_new_path_and_another_one_is_refused(
    saved: Path, tmp_path: Path
) -> None:
    identity, moved = own(saved).identity, tmp_path / "moved.keras"
    shutil.copy(saved, moved)
    assert reopen_backbone(identity, str(moved)).identity == identity
    with pytest.raises(WeightsError, match=r"found nothing\. If it was moved: --weights PATH"):
        reopen_backbone(identity, str(tmp_path / "nowhere.keras"))
    model = functional().whole
    model.layers[1].set_weights([2 * each for each in model.layers[1].get_weights()])
    model.save(moved)
    with pytest.raises(WeightsError, match=r"made with another network .*weights_hash"):
        reopen_backbone(identity, str(moved))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preprocessing": None}, "--preprocessing: caffe (RGB to BGR, minus mean"),
        ({"weights_source": "random"}, "has its own. Leave --weights out."),
        ({"size_px": 96}, "takes 32 px only. Leave --size out."),
        ({"name": "resnet50"}, "preprocessing tf: resnet50 has its own."),
    ],
)
def test_what_does_not_belong_together_is_refused(
    saved: Path, options: dict[str, Any], words: str
) -> None:
    given = {"name": str(saved), "weights_source": "imagenet", "preprocessing": "tf"}
    with pytest.raises(DataError, match=re.escape(words)):
        create_backbone(**(given | options))


def test_images_of_another_kind_are_refused(tmp_path: Path) -> None:
    layers = load_keras().layers
    for shape in ((8, 8, 1), (8, 9, 3), (20,)):
        path = tmp_path / "model.keras"
        load_keras().Sequential([load_keras().Input(shape), layers.Dense(2)]).save(path)
        with pytest.raises(WeightsError, match="expected a model of square RGB images"):
            own(path)


def test_a_model_without_a_feature_map_is_refused(tmp_path: Path) -> None:
    keras, path = load_keras(), tmp_path / "model.keras"
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential(layers).save(path)
    with pytest.raises(WeightsError, match="found no feature map in it"):
        own(path).base()


@pytest.mark.parametrize("name", ["nested.h5", "nested.keras", "teachable.keras"])
def test_models_of_keras_2_are_backbones_too(name: str) -> None:
    backbone = own(KERAS_2 / name)
    assert backbone.size_px == 32
    assert backbone.network().output_shape == (None, backbone.dim)


def test_weights_that_claim_more_than_the_file_holds_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    functional().whole.save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("bomb", (1 << 40,), chunks=(1 << 20,))
    with pytest.raises(WeightsError, match="its weights claim"):
        hash_of_model(path)


def test_mixed_precision_computes_in_float16(saved: Path) -> None:
    backbone = own(saved, precision="mixed_float16")
    folded = backbone.folded_network()
    [base] = [each for each in folded.layers if hasattr(each, "layers")]
    assert base.get_layer("conv_2").compute_dtype == "float16"
    found = tensorflow_engine(lambda: folded).infer(IMAGES)
    assert 1e-6 < relative_difference(found, pooled(functional(), "avg")) < 5e-2


def test_blocks_begin_where_feature_maps_halve(saved: Path) -> None:
    backbone = own(saved)
    depths = backbone.depths_of(backbone.base())
    assert [depths[f"conv_{number}"] for number in (1, 2, 3)] == [2, 1, 0]
