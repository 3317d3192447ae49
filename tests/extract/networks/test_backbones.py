import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from headbench.extract.errors import DataError, WeightsError
from headbench.extract.images.stream import Batch
from headbench.extract.networks import engines
from headbench.extract.networks import keras_network as keras_backbone
from headbench.extract.networks.applications import NETWORKS
from headbench.extract.networks.backbone import (
    BACKBONES,
    Backbone,
    create_backbone,
    reopen_backbone,
)
from headbench.extract.networks.engines import (
    Embedder,
    has_bfloat16,
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.folding import fold_batch_norms
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import listen
from tests.small_network import SIZE_PX, SMALL, smallest_px, write_weights

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def in_batches(images: np.ndarray, batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        yield Batch(np.arange(start, start + len(batch)), batch)


def open_embedder(backbone: Backbone, images: np.ndarray, engine: str = "tensorflow") -> Embedder:
    return backbone.open(Runtime(engine=engine), images[:4], Stopwatch())


def embed(embedder: Embedder, images: np.ndarray, batch_size: int) -> np.ndarray:
    embedded = list(embedder(in_batches(images, batch_size)))
    assert np.concatenate([each.rows for each in embedded]).tolist() == list(range(len(images)))
    return np.concatenate([each.embeddings for each in embedded])


def keras_embeddings(backbone: KerasBackbone, images: np.ndarray) -> np.ndarray:
    """By the network and the preprocessing of Keras, with nothing of ours but the weights."""
    applications = load_keras().applications
    network = getattr(applications, backbone.facts.application)(
        include_top=False,
        weights=None,
        pooling=backbone.pooling,
        input_shape=images.shape[1:],
        **backbone.facts.arguments,
    )
    network.load_weights(backbone.weights_source)
    preprocess_input = getattr(applications, backbone.facts.module).preprocess_input
    return network.predict(preprocess_input(images.astype(np.float32)), verbose=0)


# Each takes seconds to build: the default, one with its preprocessing inside, and the smallest.
QUICK = ("resnet50", "mobilenetv3large", SMALL)
ZOO = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in NETWORKS]
# The first one of each module of keras.applications; of most, the smallest.
KINDS = {row.module: name for name, row in reversed(NETWORKS.items())}.values()
ROWS = [name if name in KINDS else pytest.param(name, marks=pytest.mark.long) for name in NETWORKS]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> KerasBackbone:
    folder = tmp_path_factory.mktemp("weights")
    return create_backbone(SMALL, write_weights(folder, SMALL), SIZE_PX)


def test_mean_color_is_the_mean_computed_by_hand() -> None:
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0, 0] = (10, 20, 30)
    image[0, 1, 1] = (30, 0, 250)
    embedder = create_backbone("mean-color", "none", 2).open(Runtime(), image, Stopwatch())
    [embedded] = embedder([Batch(np.array([5]), image)])
    np.testing.assert_array_equal(embedded.embeddings, [[10, 5, 70]])
    assert embedded.embeddings.dtype == np.float32
    assert embedded.rows.tolist() == [5]


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_an_embedding_is_the_same_alone_among_others_and_in_every_run(
    small: KerasBackbone, engine: str
) -> None:
    images = RNG.integers(0, 256, (20, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    embedder = open_embedder(small, images, engine)
    before = images.copy()
    together = embed(embedder, images, 16)
    np.testing.assert_array_equal(images, before)
    assert together.shape == (20, small.dim)
    assert together.dtype == np.float32
    for batch_size in (1, 7):
        assert relative_difference(embed(embedder, images, batch_size), together) < 1e-5
    opened_again = open_embedder(small, images, engine)
    other_neighbours = embed(opened_again, images[::-1], 7)[::-1]
    assert relative_difference(other_neighbours, together) < 1e-5


@pytest.mark.parametrize("name", ZOO)
def test_embeddings_are_those_of_keras_own_network_and_preprocessing(
    name: str, tmp_path: Path
) -> None:
    size_px = smallest_px(name)
    images = RNG.integers(0, 256, (9, size_px, size_px, 3), dtype=np.uint8)
    backbone = create_backbone(name, write_weights(tmp_path, name), size_px)
    expected = keras_embeddings(backbone, images)
    assert expected.shape[1] == backbone.dim
    folded = backbone.folded_network()
    for make in (tensorflow_engine, openvino_engine):
        found = make(lambda: folded).infer(images)
        assert relative_difference(found, expected) < 1e-5, make


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_what_keras_builds(name: str) -> None:
    backbone = create_backbone(name, "random", smallest_px(name))
    base = backbone.base()
    assert base.output_shape == (None, backbone.dim)
    depths = backbone.depths_of(base)
    with_weights = [depths[layer.name] for layer in base.layers if layer.weights]
    assert set(with_weights) == set(range(len(backbone.facts.blocks) + 1))
    # Half of a DenseNet201 is in its last block but one.
    assert with_weights.count(0) < len(with_weights) / 2


def test_layers_have_the_same_names_whatever_was_built_before(small: KerasBackbone) -> None:
    first, second = ([layer.name for layer in small.base().layers] for _ in range(2))
    assert first == second
    assert first[-1] == "global_average_pooling2d"


@pytest.mark.parametrize("name", ZOO)
def test_the_file_of_imagenet_weights_is_the_one_that_keras_fetches(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.utils import file_utils

    class AskedForError(Exception):
        pass

    def get_file(fname: str, *_: object, **__: object) -> None:
        raise AskedForError(fname)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    expected = NETWORKS[name].imagenet_file
    with pytest.raises(WeightsError, match=re.escape(f"cannot be downloaded ({expected})")):
        create_backbone(name, "imagenet", 224).identity  # noqa: B018


def test_pooling_max_is_that_of_keras_and_another_fingerprint(small: KerasBackbone) -> None:
    mean = replace(small, size_px=64)  # at 32 px the last map is 1x1
    largest = replace(mean, pooling="max")
    assert largest.identity.fingerprint != mean.identity.fingerprint
    images = RNG.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = embed(open_embedder(largest, images), images, 2)
    assert relative_difference(found, keras_embeddings(largest, images)) < 1e-5
    assert relative_difference(found, keras_embeddings(mean, images)) > 0.1


@pytest.mark.parametrize("name", [SMALL, pytest.param("efficientnetv2b0", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [("mixed_float16", "float16", 5e-2), ("bfloat16", "bfloat16", 0.25)],
)
def test_lower_precision_computes_in_16_bits_and_gives_float32(
    name: str, precision: str, dtype: str, tolerance: float, tmp_path: Path
) -> None:
    backbone = create_backbone(name, write_weights(tmp_path, name), SIZE_PX)
    mixed = replace(backbone, precision=precision)
    assert mixed.identity.fingerprint != backbone.identity.fingerprint
    [base] = [each for each in mixed.folded_network().layers if hasattr(each, "layers")]
    convs = [each for each in base.layers if "Conv" in type(each).__name__]
    assert {each.compute_dtype for each in convs} == {dtype}
    assert {each.variable_dtype for each in convs} == {"float32"}
    assert base.layers[-1].compute_dtype == "float32"
    expected = keras_embeddings(backbone, IMAGES)
    for engine in ("tensorflow", "openvino"):
        embedder = mixed.open(Runtime("cpu", engine), IMAGES[:4], Stopwatch())
        found = embed(embedder, IMAGES, 4)
        assert found.dtype == np.float32
        assert relative_difference(found, expected) < tolerance
        # On a processor without bfloat16, OpenVINO computes in float32.
        if engine == "tensorflow" or has_bfloat16(openvino.Core()):
            assert relative_difference(found, expected) > 1e-5


def test_without_bfloat16_in_the_processor_openvino_computes_in_float32_and_that_is_said(
    small: KerasBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "has_bfloat16", lambda _: False)
    said = listen()
    rounded = replace(small, precision="bfloat16")
    found = embed(rounded.open(Runtime("cpu"), IMAGES[:4], Stopwatch()), IMAGES, 4)
    assert relative_difference(found, keras_embeddings(small, IMAGES)) < 1e-5
    assert "this processor has no instructions for bfloat16" in said[0]
    assert f"{SMALL} on CPU, {os.cpu_count()} cores, OpenVINO" in said[1]


def test_a_conversion_that_is_wrong_in_float32_is_not_used_in_bfloat16(
    small: KerasBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_backbone, "fold_batch_norms", slightly_wrong)
    said = listen()
    replace(small, precision="bfloat16").open(Runtime("cpu"), IMAGES[:4], Stopwatch())
    assert "note: OpenVINO is not used. It cannot run this network (in float32" in said[0]


def slightly_wrong(base: Any) -> Any:
    """The folded network with one wrong layer: less wrong than bfloat16 rounds."""
    folded = fold_batch_norms(base)
    layer = folded.get_layer("conv1")
    layer.set_weights([weight * 1.001 for weight in layer.get_weights()])
    return folded


@pytest.fixture(autouse=True)
def nothing_converted_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path / "cache"))


def test_a_folded_network_that_disagrees_is_not_used_and_that_is_said(
    small: KerasBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_backbone, "fold_batch_norms", slightly_wrong)
    said = listen()
    embedder = small.open(Runtime(), IMAGES[:4], Stopwatch())
    [(_, found)] = embedder([Batch(np.arange(9), IMAGES)])
    assert relative_difference(found, keras_embeddings(small, IMAGES)) < 1e-5
    assert [line.split(" is not used")[0] for line in said[:2]] == [
        "note: OpenVINO",
        "note: folded BatchNormalization",
    ]
    assert said[2] == f"{SMALL} on CPU, {os.cpu_count()} cores, TensorFlow"


def test_openvino_is_chosen_where_it_is_installed(small: KerasBackbone) -> None:
    said = listen()
    small.open(Runtime(), IMAGES[:4], Stopwatch())
    assert said == [f"{SMALL} on CPU, {os.cpu_count()} cores, OpenVINO"]


def test_preprocessing_is_what_the_fingerprint_says() -> None:
    assert create_backbone("resnet50", "random", SIZE_PX).identity.preprocessing == (
        "caffe: RGB to BGR, minus mean (103.939, 116.779, 123.68), not scaled"
    )


def test_a_network_is_given_bgr_minus_the_mean_not_scaled_and_is_frozen() -> None:
    """A small network in place of ResNet50: batch statistics would show in what it gives."""
    keras = load_keras()
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    normalised = keras.layers.BatchNormalization(epsilon=1e-7)(pixels)
    small = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(normalised))
    network = KerasBackbone("resnet50", "random", SIZE_PX).with_preprocessing(small)
    given = IMAGES[:4].mean(axis=(1, 2))[:, ::-1] - (103.939, 116.779, 123.68)
    for is_training in (False, True):
        found = network(IMAGES[:4], training=is_training)
        np.testing.assert_allclose(found, given, rtol=1e-4, atol=1e-3)
    assert network.trainable_variables == []


def test_random_weights_are_the_same_every_time() -> None:
    first, second = (
        create_backbone(SMALL, "random", SIZE_PX).network().predict(IMAGES[:2], verbose=0)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    keras = load_keras()
    path = tmp_path / "other.weights.h5"
    keras.applications.MobileNet(alpha=0.5, include_top=False, weights=None).save_weights(path)
    with pytest.raises(WeightsError, match="not weights of MobileNet without its top"):
        create_backbone(SMALL, str(path), SIZE_PX).network()


def test_imagenet_weights_are_read_in_the_format_that_keras_fetches(
    small: KerasBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published file is in Keras' older format: weights grouped by layer name."""
    import h5py

    base = small.base()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = tmp_path / "models" / small.facts.imagenet_file
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in base.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.1.6"
        for layer in base.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()
    imagenet = create_backbone(SMALL, "imagenet", SIZE_PX)
    np.testing.assert_array_equal(
        embed(open_embedder(imagenet, IMAGES), IMAGES, 4),
        embed(open_embedder(small, IMAGES), IMAGES, 4),
    )


def test_other_weights_are_not_mistaken_for_those_that_made_the_features(
    small: KerasBackbone,
) -> None:
    same = reopen_backbone(small.identity, small.weights_source)
    assert same.identity == small.identity
    with pytest.raises(WeightsError, match=r"made with another network .*weights_hash"):
        reopen_backbone(small.identity, "random")


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=f"expected one of {', '.join(BACKBONES)}"):
        create_backbone("vgg", "random", 224)


@pytest.mark.parametrize(
    ("name", "size_px", "least"),
    [("resnet50", 31, 32), ("resnet50", 0, 32), ("resnet50", 5000, 32), ("inceptionv3", 74, 75)],
)
def test_a_size_that_the_network_cannot_take(name: str, size_px: int, least: int) -> None:
    with pytest.raises(DataError, match=f"size {size_px}: {name} takes {least} to"):
        create_backbone(name, "random", size_px)
