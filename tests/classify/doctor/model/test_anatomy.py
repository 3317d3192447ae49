"""Layers, families and what reaches a layer; BatchNormalization by the batch."""

from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.anatomy import (
    FAMILIES,
    batch_norms,
    batch_statistics,
    find_family,
    first_convolution,
    in_frozen_block,
    leaves,
)
from headbench.classify.doctor.model.input_pixels import arriving, look_at_pixels
from headbench.classify.doctor.scalings import INSIDE, SCALINGS
from headbench.extract.networks.keras_runtime import load_keras

SIZE_PX = 96
# Of ImageNet, of pixels / 255.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of each family the module that holds its preprocessing, and all its networks, the smallest first.
NETWORKS = {
    "ResNet": ("resnet", ("ResNet50", "ResNet101", "ResNet152")),
    "ResNetV2": ("resnet_v2", ("ResNet50V2", "ResNet101V2", "ResNet152V2")),
    "DenseNet": ("densenet", ("DenseNet121", "DenseNet169", "DenseNet201")),
    "VGG": ("vgg16", ("VGG16", "VGG19")),
    "Xception": ("xception", ("Xception",)),
    "MobileNet": ("mobilenet", ("MobileNet",)),
    "MobileNetV2": ("mobilenet_v2", ("MobileNetV2",)),
    "InceptionV3": ("inception_v3", ("InceptionV3",)),
    "InceptionResNetV2": ("inception_resnet_v2", ("InceptionResNetV2",)),
    "NASNet": ("nasnet", ("NASNetMobile", "NASNetLarge")),
    "MobileNetV3": ("mobilenet_v3", ("MobileNetV3Small", "MobileNetV3Large")),
    "EfficientNet": ("efficientnet", tuple(f"EfficientNetB{number}" for number in range(8))),
    "EfficientNetV2B": (
        "efficientnet_v2",
        tuple(f"EfficientNetV2B{number}" for number in range(4)),
    ),
    "EfficientNetV2S, M or L": (
        "efficientnet_v2",
        tuple(f"EfficientNetV2{size}" for size in "SML"),
    ),
    "ConvNeXt": (
        "convnext",
        tuple(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    ),
}
# Of hundreds of layers: seconds each to build.
LARGE = ("DenseNet", "InceptionResNetV2", "NASNet", "EfficientNetV2S, M or L")


def cases() -> list[Any]:
    """Each network with its family and module; all but the smallest of each are marked long."""
    return [
        pytest.param(
            family,
            module,
            name,
            id=name,
            marks=[pytest.mark.long] * (family in LARGE or name != names[0]),
        )
        for family, (module, names) in NETWORKS.items()
        for name in names
    ]


def test_every_network_of_keras_applications_is_tried() -> None:
    assert NETWORKS.keys() == {family.name for family in FAMILIES}
    applications = load_keras().applications
    functions = {each for each in dir(applications) if each[0].isupper()}
    assert functions == {name for _, names in NETWORKS.values() for name in names}


@pytest.mark.parametrize(("family", "module", "name"), cases())
def test_a_network_is_known_and_its_own_preprocessing_is_found_right(
    family: str, module: str, name: str
) -> None:
    keras = load_keras()
    shape = (SIZE_PX, SIZE_PX, 3)
    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=shape)
    found = leaves(base)
    known = find_family(found)
    assert known
    assert known.name == family
    inputs = keras.Input(shape)
    own = getattr(keras.applications, module).preprocess_input(inputs)
    whole = keras.Model(inputs, base(own))
    pixels = look_at_pixels(whole, found, SIZE_PX, None)
    assert pixels.right == "raw"
    assert pixels.is_taken(pixels.own_work)
    # The commonest mistake.
    assert not pixels.is_taken(pixels.arrives["/255"])


def test_efficientnet_of_imagenet_weights_corrects_the_deviation_and_takes_torch() -> None:
    keras = load_keras()
    base = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(SIZE_PX, SIZE_PX, 3)
    )
    normalization = next(each for each in base.layers if "normalization" in each.name)
    # As its files hold them: deviations where variances are due.
    normalization.set_weights([np.array(MEAN), np.array(STD), np.array(0)])
    normalization.finalize_state()
    found = leaves(base)
    first = first_convolution(found)
    assert arriving(base, first, SIZE_PX, SCALINGS["raw"]) == INSIDE["root"]
    pixels = look_at_pixels(base, found, SIZE_PX, None)
    assert pixels.right == "raw"
    assert not pixels.is_taken(pixels.arrives["/255"])


def conv(keras: Any, x: Any, name: str, trainable: bool) -> Any:
    x = keras.layers.Conv2D(2, 1, name=f"{name}_conv", trainable=trainable)(x)
    return keras.layers.BatchNormalization(name=f"{name}_bn")(x)


def test_batch_norms_after_frozen_weights_are_in_a_frozen_block() -> None:
    keras = load_keras()
    inputs = keras.Input((4, 4, 3))
    x = conv(keras, conv(keras, inputs, "a", trainable=False), "b", trainable=True)
    x = conv(keras, x, "c", trainable=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.BatchNormalization(name="in_the_head")(x)
    found = leaves(keras.Model(inputs, x))
    frozen = in_frozen_block(found)
    assert [leaf.layer.name for leaf in found if id(leaf.layer) in frozen] == ["a_bn", "c_bn"]


def test_layers_of_a_frozen_model_are_frozen_whatever_they_say_themselves() -> None:
    keras = load_keras()
    inside = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inner")])
    outer = keras.Sequential([keras.Input((3,)), inside, keras.layers.Dense(2, name="last")])
    inside.trainable = False
    found = {leaf.layer.name: leaf.is_frozen for leaf in leaves(outer)}
    assert found["inner"]
    assert not found["last"]


@pytest.mark.parametrize("given", SCALINGS)
def test_what_arrives_is_found_through_resizing_and_rescaling_layers(given: str) -> None:
    keras = load_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Resizing(20, 20),
            layers.RandomFlip(),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same"),
        ]
    )
    arrived = arriving(model, model.layers[-1], 32, SCALINGS[given])
    assert arrived
    colors = np.array([[10, 20, 30], [200, 100, 0]], dtype=np.uint8)
    np.testing.assert_allclose(arrived(colors), SCALINGS[given](colors) / 255, atol=1e-4)


def test_what_no_scaling_explains_is_not_guessed() -> None:
    keras = load_keras()
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.ReLU(max_value=99), keras.layers.Conv2D(4, 3)]
    )
    assert arriving(model, model.layers[-1], 32, SCALINGS["raw"]) is None


@pytest.fixture
def model() -> Any:
    """Two BatchNormalization layers, one of them in a frozen model inside."""
    keras = load_keras()
    layers = keras.layers
    inside = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="inner")])
    inside.trainable = False
    return keras.Sequential([keras.Input((3,)), inside, layers.BatchNormalization(name="outer")])


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_layers_of_models_inside_are_found(model: Any) -> None:
    assert [layer.name for layer in batch_norms(model)] == ["inner", "outer"]


def test_inside_the_batch_decides_and_outside_it_does_not(model: Any) -> None:
    with batch_statistics(batch_norms(model)):
        by_batch = model(X, training=False).numpy()
    # By hand: each column is 0, 3, 6, 9 plus a number; mean 4.5, variance 11.25.
    expected = (np.array([0, 3, 6, 9]) - 4.5) / np.sqrt(11.25)
    np.testing.assert_allclose(by_batch, np.tile(expected[:, None], 3), atol=1e-3)
    np.testing.assert_allclose(model(X, training=False), X, rtol=2e-3)


def test_nothing_of_the_model_is_changed(model: Any) -> None:
    def state() -> list[Any]:
        layers = batch_norms(model)
        flags = [[v.trainable for v in layer.variables] for layer in layers]
        return [[each.trainable for each in layers], flags]

    before, weights = state(), [w.numpy() for w in model.weights]
    with batch_statistics(batch_norms(model)):
        model(X, training=False)
        model(X + 5, training=False)
    assert state() == before
    for weight, old in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_failure_inside_leaves_nothing_behind(model: Any) -> None:
    with pytest.raises(KeyError), batch_statistics(batch_norms(model)):
        raise KeyError
    np.testing.assert_allclose(model(X, training=False), X, rtol=2e-3)
