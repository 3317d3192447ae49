from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from extract.backbones import BACKBONES, KerasBackbone, create_backbone, reopen_backbone
from extract.errors import DataError, WeightsError
from extract.keras_runtime import load_keras
from extract.stream import Batch

SIZE_PX = 32
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def in_batches(images: np.ndarray, batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        yield Batch(np.arange(start, start + len(batch)), batch)


def embed(backbone: KerasBackbone, images: np.ndarray, batch_size: int) -> np.ndarray:
    embedded = list(backbone.embed(in_batches(images, batch_size)))
    assert np.concatenate([each.rows for each in embedded]).tolist() == list(range(len(images)))
    return np.concatenate([each.embeddings for each in embedded])


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> KerasBackbone:
    """ResNet50 whose BatchNormalization statistics are not those that it is born with."""
    keras = load_keras()
    keras.utils.set_random_seed(1)
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(1)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            mean = rng.normal(0, 0.1, mean.shape)
            layer.set_weights([gamma, beta, mean, rng.uniform(0.5, 2, variance.shape)])
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    base.save_weights(path)
    return create_backbone("resnet50", str(path), SIZE_PX)


def test_mean_color_is_the_mean_computed_by_hand() -> None:
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0, 0] = (10, 20, 30)
    image[0, 1, 1] = (30, 0, 250)
    [embedded] = create_backbone("mean-color", "none", 2).embed([Batch(np.array([5]), image)])
    np.testing.assert_array_equal(embedded.embeddings, [[10, 5, 70]])
    assert embedded.embeddings.dtype == np.float32
    assert embedded.rows.tolist() == [5]


def test_an_embedding_is_the_same_alone_and_among_others(resnet50: KerasBackbone) -> None:
    together = embed(resnet50, IMAGES, 9)
    assert together.shape == (9, 2048)
    assert together.dtype == np.float32
    scale = np.abs(together).max()
    for batch_size in (1, 4):
        np.testing.assert_allclose(embed(resnet50, IMAGES, batch_size), together, atol=1e-5 * scale)
    other_neighbours = embed(resnet50, IMAGES[::-1], 9)[::-1]
    np.testing.assert_allclose(other_neighbours, together, atol=1e-5 * scale)


def test_embeddings_are_those_of_keras_own_network_and_preprocessing(
    resnet50: KerasBackbone,
) -> None:
    keras = load_keras()
    network = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(SIZE_PX, SIZE_PX, 3)
    )
    network.load_weights(resnet50.weights_source)
    pixels = keras.applications.resnet50.preprocess_input(IMAGES.astype(np.float32))
    expected = network.predict(pixels, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(embed(resnet50, IMAGES, 4), expected, atol=1e-5 * scale)


def test_preprocessing_is_what_the_fingerprint_says(resnet50: KerasBackbone) -> None:
    assert resnet50.identity.preprocessing == (
        "caffe: RGB to BGR, minus mean (103.939, 116.779, 123.68), not scaled"
    )
    module = load_keras().applications.resnet50
    pixels = module.preprocess_input(np.array([[[[10.0, 20.0, 30.0]]]], dtype=np.float32))
    np.testing.assert_allclose(
        pixels[0, 0, 0], [30 - 103.939, 20 - 116.779, 10 - 123.68], rtol=1e-6
    )


def test_images_are_not_modified(resnet50: KerasBackbone) -> None:
    images = IMAGES.copy()
    embed(resnet50, images, 4)
    np.testing.assert_array_equal(images, IMAGES)


def test_everything_is_frozen(resnet50: KerasBackbone) -> None:
    assert resnet50.network().trainable_variables == []


def test_random_weights_are_the_same_every_time() -> None:
    first, second = (
        embed(create_backbone("resnet50", "random", SIZE_PX), IMAGES[:2], 2) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    keras = load_keras()
    path = tmp_path / "other.weights.h5"
    keras.applications.ResNet101(include_top=False, weights=None).save_weights(path)
    with pytest.raises(WeightsError, match="not weights of ResNet50 without its top"):
        create_backbone("resnet50", str(path), SIZE_PX).network()


def test_imagenet_weights_are_read_in_the_format_that_keras_fetches(
    resnet50: KerasBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published file is in Keras' older format: weights grouped by layer name."""
    import h5py

    keras = load_keras()
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    base.load_weights(resnet50.weights_source)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = tmp_path / "models" / resnet50.imagenet_file
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
    imagenet = create_backbone("resnet50", "imagenet", SIZE_PX)
    np.testing.assert_array_equal(embed(imagenet, IMAGES, 4), embed(resnet50, IMAGES, 4))


def test_other_weights_are_not_mistaken_for_those_that_made_the_features(
    resnet50: KerasBackbone,
) -> None:
    same = reopen_backbone(resnet50.identity, resnet50.weights_source)
    assert same.identity == resnet50.identity
    with pytest.raises(WeightsError, match=r"made with something else .*weights_hash"):
        reopen_backbone(resnet50.identity, "random")


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=f"expected one of {', '.join(BACKBONES)}"):
        create_backbone("vgg", "random", 224)


@pytest.mark.parametrize("size_px", [0, 31, 5000])
def test_a_size_that_the_network_cannot_take(size_px: int) -> None:
    with pytest.raises(DataError, match=f"size {size_px}: resnet50 takes 32 to"):
        create_backbone("resnet50", "random", size_px)
