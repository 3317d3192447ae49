"""The network of most tests: it has all that a larger one has, and is built in a second."""

from pathlib import Path

import numpy as np

from headbench.extract.networks.applications import NETWORKS
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras

SMALL = "mobilenet-0.25"
SIZE_PX = 32


def smallest_px(name: str) -> int:
    """Smallest size that a network takes, at which tests build it."""
    return NETWORKS[name].smallest_px


def write_weights(folder: Path, name: str = SMALL) -> str:
    """Weights whose BatchNormalization statistics are close to what arrives, as in a trained one.

    With the statistics that a network is born with (0 and 1), the numbers of a MobileNet of random
    weights get smaller from layer to layer until nothing is left of the picture.
    """
    keras = load_keras()
    size_px = smallest_px(name)
    backbone = KerasBackbone(name, "random", size_px)
    base, rng = backbone.base(), np.random.default_rng(1)
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        *gamma, beta, mean, variance = norm.get_weights()  # InceptionV3 has no gamma
        gamma = [rng.uniform(0.8, 1.2, each.shape) for each in gamma]
        norm.set_weights([*gamma, rng.normal(0, 0.1, beta.shape), mean, variance])
        norm.momentum = 0
    module = getattr(keras.applications, NETWORKS[name].module)
    # Noise around a brightness of its own for each image.
    brightness = rng.integers(0, 256, (64, 1, 1, 3))
    noise = rng.normal(0, 40, (64, size_px, size_px, 3))
    pixels = np.clip(brightness + noise, 0, 255).astype(np.float32)
    base(module.preprocess_input(pixels), training=True)
    for norm in norms:
        *gamma, beta, mean, variance = norm.get_weights()
        # Channels that hardly vary would make a rounding error a hundred times larger.
        norm.set_weights([*gamma, beta, mean, variance + 0.3 * variance.mean()])
    path = folder / f"{name}.weights.h5"
    base.save_weights(path)
    return str(path)
