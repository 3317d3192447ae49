from functools import cache
from typing import Any

import numpy as np
import pytest

from headbench.classify.errors import RunError
from headbench.classify.finetuning.split_network import (
    SplitNetwork,
    common_stride,
    find_cut,
    trained_layers,
)
from headbench.extract.networks.applications import NETWORKS
from headbench.extract.networks.cut import cut_at
from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.small_network import smallest_px


class BuiltOnce(KerasBackbone):
    """A backbone that shares its network with the tests that do not change it."""

    @cache  # noqa: B019, for the tests of this file
    def base(self) -> Any:
        return super().base()


BACKBONES = {name: BuiltOnce(name, "random", max(64, smallest_px(name))) for name in NETWORKS}
# The others are built in `make test-long`: they take seconds each.
QUICK = ("resnet50", "mobilenetv3large")
EVERY = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in NETWORKS]


@pytest.fixture(scope="module")
def base():
    return BACKBONES["resnet50"].base()


def trained_by(base: Any, unfreeze: str) -> list[str]:
    return trained_layers(base, BACKBONES["resnet50"].depths_of(base), unfreeze)


def blocks_of(names: list[str]) -> set[str]:
    return {name.split("_")[0] for name in names}


def test_block5_is_the_last_block_and_block4_the_last_two(base) -> None:
    assert blocks_of(trained_by(base, "block5")) == {"conv5"}
    assert blocks_of(trained_by(base, "block4")) == {"conv4", "conv5"}
    assert len(trained_by(base, "block5")) == 10


def test_half_is_the_second_half_of_all_layers(base) -> None:
    trained = set(trained_by(base, "half"))
    names = [layer.name for layer in base.layers]
    with_weights = {layer.name for layer in base.layers if "_conv" in layer.name}
    assert trained == with_weights & set(names[len(names) // 2 :])


def test_a_layer_trains_with_all_that_follow_it(base) -> None:
    trained = trained_by(base, "conv5_block3_2_conv")
    assert trained == ["conv5_block3_2_conv", "conv5_block3_3_conv"]


def test_all_are_all_convolutions_and_never_a_batch_normalization(base) -> None:
    trained = trained_by(base, "all")
    norm = load_keras().layers.BatchNormalization
    assert len(trained) == 53
    assert not any(isinstance(base.get_layer(name), norm) for name in trained)


def test_an_unknown_layer_is_refused_and_near_names_are_offered(base) -> None:
    with pytest.raises(RunError, match=r"Did you mean .*conv5_block3_2_conv"):
        trained_by(base, "conv5_block3_2_cov")


def test_a_layer_that_nothing_follows_is_refused(base) -> None:
    with pytest.raises(
        RunError, match="expected a layer with weights there or after it, found none"
    ):
        trained_by(base, "avg_pool")


def test_the_cut_is_where_everything_goes_through_one_tensor(base) -> None:
    def cut_before(name: str) -> str:
        cut = find_cut(base, trained_by(base, name))
        return next(each.name for each in base.operations if each.output is cut)

    assert cut_before("block5") == "conv4_block6_out"
    # In the middle of a block its shortcut passes by: the cut is before the block.
    assert cut_before("conv5_block3_2_conv") == "conv5_block2_out"
    assert cut_before("conv2_block1_1_conv") == "pool1_pool"


def test_of_a_block_that_begins_with_stride_2_a_quarter_is_kept(base) -> None:
    assert common_stride(base, base.get_layer("conv4_block6_out").output) == 2
    # The next blocks begin with stride 1, and the add of the shortcut reads all of it.
    assert common_stride(base, base.get_layer("conv5_block1_out").output) == 1
    assert common_stride(base, base.get_layer("conv1_relu").output) == 1


def test_depth_counts_blocks_from_the_last_one(base) -> None:
    names = ["conv5_block3_3_conv", "conv4_block1_1_conv", "conv2_block1_0_conv", "conv1_conv"]
    depths = BACKBONES["resnet50"].depths_of(base)
    assert [depths[name] for name in names] == [0, 1, 3, 4]


@pytest.mark.parametrize("name", EVERY)
def test_blocks_lie_one_after_the_other_and_hold_every_layer_that_trains(name: str) -> None:
    base = BACKBONES[name].base()
    depth_of = BACKBONES[name].depths_of(base)
    depths = [depth_of[layer] for layer in trained_layers(base, depth_of, "all")]
    assert depths == sorted(depths, reverse=True)
    assert set(depths) == set(range(len(NETWORKS[name].blocks) + 1))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("unfreeze", ["block5", "block4"])
def test_something_is_frozen_before_the_last_blocks(name: str, unfreeze: str) -> None:
    network = SplitNetwork.open(BACKBONES[name], unfreeze)
    assert network.has_frozen_part
    n_all = len(trained_layers(network.base, network.depths, "all"))
    assert 0 < len(network.trained) < n_all


def images_for(backbone: KerasBackbone) -> np.ndarray:
    shape = (2, backbone.size_px, backbone.size_px, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "unfreeze"),
    [pytest.param(*each.values, "block5", marks=each.marks) for each in EVERY]
    + [("resnet50", "half")]
    + [
        pytest.param("resnet50", each, marks=pytest.mark.long)
        for each in ("block4", "all", "conv5_block2_2_conv")
    ],
)
def test_frozen_part_and_top_are_the_network(name: str, unfreeze: str) -> None:
    backbone = BACKBONES[name]
    images = images_for(backbone)
    expected = np.asarray(backbone.network()(images, training=False))
    network = SplitNetwork.open(backbone, unfreeze)
    activations = network.frozen_part()(images, training=False)
    found = np.asarray(network.top("float32")(activations, training=False))
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize(
    ("layer", "unfreeze", "blocks", "cut"),
    [
        ("conv4_block6_out", "block5", {"conv4"}, "conv3_block4_out"),
        ("conv4_block2_out", "block4", {"conv3", "conv4"}, "conv2_block3_out"),
        ("conv3_block4_out,conv4_block6_out", "block5", {"conv4"}, "conv3_block4_out"),
        ("conv3_block4_out,conv4_block6_out", "block4", {"conv3", "conv4"}, "conv2_block3_out"),
    ],
)
def test_of_a_network_that_is_cut_the_last_blocks_before_the_cut_train(
    base, layer: str, unfreeze: str, blocks: set[str], cut: str
) -> None:
    class Cut(KerasBackbone):
        def base(self) -> Any:
            return cut_at(base, layer, "avg")

    backbone = Cut("resnet50", "random", 64, layer=layer)
    network = SplitNetwork.open(backbone, unfreeze)
    assert blocks_of(network.trained) == blocks
    assert network.cut_name.split(",")[0] == cut
    images = images_for(backbone)
    activations = network.frozen_part()(images, training=False)
    found = np.asarray(network.top("float32")(activations, training=False))
    expected = np.asarray(backbone.network()(images, training=False))
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize(
    "name",
    [
        "resnet50v2",
        pytest.param("resnet50", marks=pytest.mark.long),
        pytest.param("efficientnetv2b0", marks=pytest.mark.long),
        pytest.param("mobilenetv3large", marks=pytest.mark.long),
    ],
)
def test_the_top_gives_in_training_what_it_gives_in_inference_except_for_dropout(name: str) -> None:
    network = SplitNetwork.open(BACKBONES[name], "block5")
    top = network.top("float32")
    for layer in top.layers:
        if "Dropout" in type(layer).__name__:
            layer.rate = 0.0
    images = images_for(network.backbone)
    activations = np.asarray(network.frozen_part()(images, training=False))
    # Unlike the moving statistics of weights that were just drawn.
    activations = 3 * activations + 5
    inference = np.asarray(top(activations, training=False))
    before = [variable.numpy() for variable in top.variables]
    np.testing.assert_allclose(top(activations, training=True), inference, rtol=1e-5, atol=1e-6)
    for variable, value in zip(top.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def test_what_the_top_learns_is_in_the_whole_network_and_the_rest_is_as_it_was() -> None:
    # A network of its own: it is changed.
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


def test_a_quarter_of_the_activations_goes_from_the_frozen_part_to_the_top() -> None:
    network = SplitNetwork.open(BACKBONES["resnet50"], "block5")
    assert network.cut.shape == (None, 4, 4, 1024)
    assert (
        network.frozen_part().output_shape
        == network.top("float32").input_shape
        == (None, 2, 2, 1024)
    )
    assert network.cut_name == "conv4_block6_out, every 2nd row and column"


def test_a_top_in_float16_keeps_its_weights_in_float32() -> None:
    network = SplitNetwork.open(BACKBONES["resnet50"], "block5")
    top = network.top("mixed_float16")
    assert {str(variable.dtype) for variable in top.variables} == {"float32"}
    assert top.get_layer("conv5_block1_1_conv").compute_dtype == "float16"
