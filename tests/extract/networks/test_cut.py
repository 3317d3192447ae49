from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.extract.errors import DataError, WeightsError
from headbench.extract.networks.backbone import create_backbone, reopen_backbone
from headbench.extract.networks.cut import cut_at
from headbench.extract.networks.engines import (
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.small_network import SIZE_PX, SMALL, write_weights

EARLY, LATE = "conv_pw_5_relu", "conv_pw_11_relu"
IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> KerasBackbone:
    return create_backbone(SMALL, write_weights(tmp_path_factory.mktemp("weights")), SIZE_PX)


@pytest.fixture(scope="module")
def base(whole: KerasBackbone) -> Any:
    return whole.base()


@pytest.fixture(scope="module")
def stops(base: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of the network up to a layer, as Keras saves such a part."""
    path = tmp_path_factory.mktemp("part") / "part.weights.h5"
    load_keras().Model(base.input, base.get_layer(LATE).output).save_weights(path)
    return str(path)


def cut(weights: str, layer: str, **options: Any) -> KerasBackbone:
    return create_backbone(SMALL, weights, SIZE_PX, layer=layer, **options)


def maps(base: Any, layer: str) -> np.ndarray:
    """What Keras gives at a layer, (n, height, width, channels)."""
    part = load_keras().Model(base.input, base.get_layer(layer).output)
    preprocess_input = load_keras().applications.mobilenet.preprocess_input
    return part.predict(preprocess_input(IMAGES.astype(np.float32)), verbose=0)


@pytest.mark.parametrize("make", [tensorflow_engine, openvino_engine])
def test_layers_are_pooled_and_joined_in_the_order_they_are_named(
    whole: KerasBackbone, base: Any, make: Any
) -> None:
    backbone = cut(whole.weights_source, f"{LATE},{EARLY}")
    expected = np.hstack([maps(base, layer).mean(axis=(1, 2)) for layer in (LATE, EARLY)])
    assert expected.shape[1] == backbone.dim == 128 + 64
    found = make(backbone.folded_network).infer(IMAGES)
    assert relative_difference(found, expected) < 1e-5


def test_pooling_max_takes_the_largest_of_that_layer(whole: KerasBackbone, base: Any) -> None:
    network = cut(whole.weights_source, EARLY, pooling="max").network()
    found = network.predict(IMAGES, verbose=0)
    assert relative_difference(found, maps(base, EARLY).max(axis=(1, 2))) < 1e-5


def test_of_a_network_in_float16_every_layer_is_pooled_in_float32(whole: KerasBackbone) -> None:
    backbone = cut(whole.weights_source, f"{EARLY},{LATE}", precision="mixed_float16")
    [folded] = [each for each in backbone.folded_network().layers if hasattr(each, "layers")]
    dtypes = {each.name: each.compute_dtype for each in folded.layers}
    assert dtypes[EARLY] == "float16"
    assert dtypes[f"{EARLY}_pooled"] == dtypes[f"{LATE}_pooled"] == dtypes["joined"] == "float32"


def test_a_vector_stays_as_it_is_and_nothing_later_is_kept() -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    vector = keras.layers.Dense(5, name="five")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, name="later")(vector))
    found = cut_at(network, "five", "avg")
    assert found.output is vector
    assert "later" not in [layer.name for layer in found.layers]


def test_layers_are_in_the_fingerprint_and_no_layer_is_not(whole: KerasBackbone) -> None:
    fingerprints = {
        cut(whole.weights_source, layer).identity.fingerprint
        for layer in ("", EARLY, LATE, f"{EARLY},{LATE}", f"{LATE},{EARLY}")
    }
    assert len(fingerprints) == 5
    assert whole.identity.fingerprint in fingerprints
    assert "layer" not in whole.identity.items
    backbone = cut(whole.weights_source, EARLY)
    assert reopen_backbone(backbone.identity, whole.weights_source) == backbone


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("conv_pw_5_rel", r"expected the name of a layer .*Did you mean conv_pw_5_relu or"),
        (f"{EARLY}, {LATE}", "expected the name of a layer"),
        (f"{EARLY},{EARLY}", "expected each layer once"),
        ("input_layer", "expected the name of a layer"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(base: Any, layer: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"--layer .*: {reason}"):
        cut_at(base, layer, "avg")


def test_what_is_neither_a_feature_map_nor_a_vector_is_refused() -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    tokens = keras.layers.Reshape((8, 8, 3, 1), name="tokens")(inputs)
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling3D()(tokens))
    words = r"feature map .*, a sequence .* or a vector .*, found \(None, 8, 8, 3, 1\)"
    with pytest.raises(DataError, match=words):
        cut_at(network, "tokens", "avg")


def test_mean_color_has_no_layers() -> None:
    with pytest.raises(DataError, match="--layer conv1: mean-color has no layers"):
        create_backbone("mean-color", "none", 8, layer="conv1")


@pytest.mark.parametrize("layer", [LATE, EARLY, f"{EARLY},{LATE}"])
def test_weights_that_stop_at_a_layer_serve_a_network_that_is_cut_there_or_before(
    whole: KerasBackbone, stops: str, layer: str
) -> None:
    expected = cut(whole.weights_source, layer).network().predict(IMAGES, verbose=0)
    found = cut(stops, layer).network().predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("layer", ["", "conv_pw_12_relu", f"{EARLY},conv_pw_12_relu"])
def test_weights_that_stop_before_the_cut_are_refused_and_the_last_layer_is_named(
    stops: str, layer: str
) -> None:
    with pytest.raises(WeightsError, match=r"part.weights.h5: .* --layer conv_pad_12\."):
        cut(stops, layer).network()


@pytest.mark.real
def test_imagenet_weights_up_to_conv4_give_what_keras_gives_there(shared: Path) -> None:
    keras, layer = load_keras(), "conv3_block4_out,conv4_block6_out"
    path = shared / "weights/resnet50_conv4_imagenet.weights.h5"
    resnet = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    keras.Model(resnet.input, resnet.get_layer("conv4_block6_out").output).load_weights(path)
    pooled = keras.layers.GlobalAveragePooling2D()
    outputs = [pooled(resnet.get_layer(name).output) for name in layer.split(",")]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    given = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    networks = [keras.Model(resnet.input, output) for output in outputs]
    expected = np.hstack([network.predict(given, verbose=0) for network in networks])
    backbone = create_backbone("resnet50", str(path), 64, layer=layer)
    assert relative_difference(backbone.network().predict(pixels, verbose=0), expected) < 1e-5
