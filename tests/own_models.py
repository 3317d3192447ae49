"""Keras models as users save them: small ones, each with a known feature map."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from headbench.classify.doctor.scalings import SCALINGS
from headbench.extract.networks.keras_runtime import load_keras

SIZE_PX, N_CLASSES = 32, 3


class OwnNetwork(NamedTuple):
    """A model, and the model of its feature map: pixels to (n, height, width, channels)."""

    whole: Any
    features: Any


def pictures(n_images: int, seed: int = 0, size_px: int = SIZE_PX) -> np.ndarray:
    """A brightness and a colour of its own for each picture, and noise; uint8."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(30, 220, (n_images, 1, 1, 3))
    noise = rng.normal(0, 30, (n_images, size_px, size_px, 3))
    return np.clip(colors + noise, 0, 255).astype(np.uint8)


def write_pictures(root: Path, n_images: int = 60) -> Path:
    """A folder of two classes that no colour tells."""
    for number, pixels in enumerate(pictures(n_images, seed=5)):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


def trunk(scaling: str = "tf", size_px: int | None = SIZE_PX, name: str = "base") -> Any:
    """Three blocks of convolution and BatchNormalization, which has seen pixels of a scaling.

    As in trained networks, some channels of the first one see brightness, not edges alone.
    """
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((size_px, size_px, 3))
    for number in (1, 2, 3):
        kernel = keras.initializers.RandomUniform(-0.1, 0.3 if number == 1 else 0.1)
        conv = layers.Conv2D(
            8 * number, 3, 2, "same", kernel_initializer=kernel, name=f"conv_{number}"
        )
        x = conv(x)
        x = layers.BatchNormalization(momentum=0.0, name=f"norm_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
    model = keras.Model(inputs, x, name=name)
    model(SCALINGS[scaling](pictures(64, 1)), training=True)
    return model


def functional() -> OwnNetwork:
    """As Keras' networks with their top, with names of layers of its own."""
    keras, base = load_keras(), trunk()
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(base.output)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Dense(N_CLASSES, activation="softmax", name="predictions")(x)
    return OwnNetwork(keras.Model(base.input, x), base)


def nested() -> OwnNetwork:
    """A network inside a Sequential model, with augmentation before it and two Dense after it."""
    keras, base = load_keras(), trunk()
    layers = keras.layers
    base.trainable = False
    top = [layers.GlobalMaxPooling2D(), layers.BatchNormalization(), layers.Dropout(0.2)]
    top += [layers.Dense(4, activation="relu"), layers.Dense(N_CLASSES)]
    augment = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    model = keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), augment, base, *top])
    return OwnNetwork(model, base)


def twice_nested() -> OwnNetwork:
    """A model inside a model that is called in inference mode; both have a layer of one name."""
    keras, base = load_keras(), trunk()
    inner = keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), base], name="inner")
    x = inputs = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = inner(x, training=False)
    x = keras.layers.GlobalAveragePooling2D(name="relu_3")(x)
    x = keras.layers.Dense(1, activation="sigmoid")(x)
    return OwnNetwork(keras.Model(inputs, x), base)


def flat() -> OwnNetwork:
    """Without global pooling."""
    keras, base = load_keras(), trunk()
    top = [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(N_CLASSES)]
    return OwnNetwork(keras.Sequential([*base.layers, *top]), base)


def headless() -> OwnNetwork:
    """Without a classifier, for images of any size."""
    base = trunk(size_px=None)
    return OwnNetwork(base, base)


def convolved() -> OwnNetwork:
    """As MobileNetV3: the classifier convolves the pooled map; attention pools on its way."""
    keras, base = load_keras(), trunk()
    layers, x = keras.layers, base.output
    seen = layers.Dense(24, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    features = keras.Model(base.input, layers.Multiply()([x, seen]))
    x = layers.GlobalAveragePooling2D(keepdims=True)(features.output)
    x = layers.Flatten()(layers.Conv2D(N_CLASSES, 1)(layers.Dropout(0.2)(x)))
    return OwnNetwork(keras.Model(base.input, layers.Softmax()(x)), features)


def mobilenet() -> OwnNetwork:
    """The real one."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    shape = (SIZE_PX, SIZE_PX, 3)
    whole = keras.applications.MobileNetV3Small(shape, weights=None, classes=N_CLASSES)
    last = next(each for each in reversed(whole.layers) if "pool" in each.name)
    return OwnNetwork(whole, keras.Model(whole.input, last.input))


MADE: dict[str, Callable[[], OwnNetwork]] = {
    each.__name__: each for each in (functional, nested, twice_nested, flat, headless, convolved)
}
