import numpy as np
import pytest

from classify.finetuning.network import SplitNetwork
from extract.embedder import relative_difference
from extract.keras_backbone import KerasBackbone
from extract.keras_runtime import load_keras
from extract.networks import NETWORKS

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "unfreeze"),
    [(name, "block5") for name in NETWORKS]
    + [("resnet50", each) for each in ("block4", "half", "all", "conv5_block2_2_conv")],
)
def test_trunk_and_top_are_the_network(name: str, unfreeze: str) -> None:
    backbone = KerasBackbone(name, "random", 64)
    expected = np.asarray(backbone.network()(IMAGES, training=False))
    network = SplitNetwork.open(backbone, unfreeze)
    activations = network.trunk()(IMAGES, training=False)
    found = np.asarray(network.top("float32")(activations, training=False))
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize("name", ["resnet50", "resnet50v2", "efficientnetv2b0", "mobilenetv3large"])
def test_the_top_gives_in_training_what_it_gives_in_inference_except_for_dropout(name: str) -> None:
    network = SplitNetwork.open(KerasBackbone(name, "random", 64), "block5")
    top = network.top("float32")
    for layer in top.layers:
        if "Dropout" in type(layer).__name__:
            layer.rate = 0.0
    activations = np.asarray(network.trunk()(IMAGES, training=False))
    # Unlike the moving statistics of weights that were just drawn.
    activations = 3 * activations + 5
    inference = np.asarray(top(activations, training=False))
    before = [variable.numpy() for variable in top.variables]
    np.testing.assert_allclose(top(activations, training=True), inference, rtol=1e-5, atol=1e-6)
    for variable, value in zip(top.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def test_what_the_top_learns_is_in_the_whole_network_and_the_rest_is_as_it_was() -> None:
    network = SplitNetwork.open(KerasBackbone("resnet50", "random", 32), "block5")
    top = network.top("float32")
    before = {layer.name: layer.get_weights() for layer in network.base.layers}
    for variable in top.trainable_variables:
        variable.assign(variable + 1)
    keras = load_keras()
    embeddings = keras.Input((2048,))
    network.whole(top, keras.Model(embeddings, keras.activations.softmax(embeddings)))
    for layer in network.base.layers:
        step = 1 if layer.name in network.trained else 0
        for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(new, old + np.float32(step), err_msg=layer.name)


def test_a_quarter_of_the_activations_goes_from_trunk_to_top() -> None:
    network = SplitNetwork.open(KerasBackbone("resnet50", "random", 64), "block5")
    assert network.cut.shape == (None, 4, 4, 1024)
    assert network.trunk().output_shape == network.top("float32").input_shape == (None, 2, 2, 1024)
    assert network.cut_name == "conv4_block6_out, every 2nd row and column"


def test_a_top_in_float16_keeps_its_weights_in_float32() -> None:
    network = SplitNetwork.open(KerasBackbone("resnet50", "random", 32), "block5")
    top = network.top("mixed_float16")
    assert {str(variable.dtype) for variable in top.variables} == {"float32"}
    assert top.get_layer("conv5_block1_1_conv").compute_dtype == "float16"
