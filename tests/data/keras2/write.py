"""Write the models beside this file as Keras 2 does, and what they predict.

pip install --no-deps --target FOLDER tf_keras==2.21.*
PYTHONPATH=FOLDER python tests/data/keras2/write.py
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from tf_keras.src.applications import resnet

FOLDER = Path(__file__).parent
SHAPE = (32, 32, 3)
layers = tf_keras.layers


def sequential() -> Any:
    """Layers in a row; the first says what it takes, and is frozen."""
    first = layers.Conv2D(4, 3, 2, activation="relu", input_shape=SHAPE, trainable=False)
    norm, pooled = layers.BatchNormalization(), layers.GlobalAveragePooling2D()
    return tf_keras.Sequential([first, norm, layers.Dropout(0.2), pooled, end()])


def functional() -> Any:
    """Two branches, one of them a frozen model that is called in inference mode."""
    inputs = tf_keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Add()([block()(x, training=False), layers.Conv2D(4, 3, padding="same")(x)])
    return tf_keras.Model(inputs, end()(layers.GlobalAveragePooling2D()(x)))


def block() -> Any:
    """A model of a depthwise convolution and BatchNormalization."""
    inputs = tf_keras.Input(SHAPE)
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(4, 1)(inputs))
    return frozen(tf_keras.Model(inputs, layers.BatchNormalization()(x), name="block"))


def nested() -> Any:
    """A frozen ResNet of one block in a Sequential model."""
    base = resnet.ResNet(
        lambda x: resnet.stack1(x, 2, 1, stride1=1, name="conv2"), False, True, "small_resnet",
        include_top=False, weights=None, pooling="avg", input_shape=SHAPE,
    )  # fmt: skip
    return tf_keras.Sequential([frozen(base), layers.Dropout(0.5), end()])


def teachable() -> Any:
    """Models in a row, as Teachable Machine writes them: all convolutions say groups=1.

    And layers that augment, as Keras' tutorials begin.
    """
    inputs = tf_keras.Input(SHAPE)
    x = layers.SpatialDropout2D(0.1)(layers.RandomRotation(0.1)(layers.RandomFlip()(inputs)))
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(4, 3, 2)(x))
    x = layers.BatchNormalization()(layers.Conv2DTranspose(2, 3)(layers.SeparableConv2D(4, 3)(x)))
    seen = tf_keras.Sequential([tf_keras.Model(inputs, x), layers.GlobalAveragePooling2D()])
    hidden = layers.Dense(4, activation="relu", input_shape=(2,))
    head = tf_keras.Sequential([hidden, layers.Dense(3, activation="softmax", use_bias=False)])
    return tf_keras.Sequential([seen, head])


def frozen(model: Any) -> Any:
    model.trainable = False
    return model


def end() -> Any:
    return layers.Dense(3, activation="softmax")


def weights_like(shapes: list[tuple[int, ...]]) -> Iterator[np.ndarray]:
    """Weights of few digits, which take little room; above 0, as a variance has to be."""
    rng = np.random.default_rng(0)
    for shape in shapes:
        yield rng.integers(1, 16, size=shape) / (8 * max(1, np.prod(shape[:-1])))


def deflate(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def main() -> None:
    images = np.random.default_rng(1).uniform(0, 255, (4, *SHAPE)).round().astype(np.float32)
    predicted = {}
    for make in (sequential, functional, nested, teachable):
        tf_keras.backend.clear_session()
        model, name = make(), make.__name__
        model.set_weights(list(weights_like([each.shape for each in model.get_weights()])))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        predicted[name] = model.predict(images, verbose=0)
        for suffix in (".h5", ".keras"):
            model.save(FOLDER / f"{name}{suffix}")
        deflate(FOLDER / f"{name}.keras")
    np.savez(FOLDER / "predicted.npz", images=images.astype(np.uint8), **predicted)


if __name__ == "__main__":
    main()
