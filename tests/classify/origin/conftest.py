"""One demonstration, on images with names that try to be markup, for several tests."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headbench.classify.origin.origin_settings import OriginSettings
from headbench.classify.origin.origin_stage import show_origin
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.classify.report.conftest import COLORS, HOSTILE, HOSTILE_FILE
from tests.conftest import listen, write_image

SETTINGS = OriginSettings(weights="random", size_px=32, epochs=2, batch_size=16)
N_PER_CLASS = 20


def small_network() -> Any:
    """A network with BatchNormalization and 8 columns, the same weights each time."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    convolved = [layers.Conv2D(8, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
    pooled = layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((32, 32, 3)), *convolved, pooled])


@pytest.fixture
def base() -> Any:
    """A small network with BatchNormalization, new for each test."""
    return small_network()


class Shown(NamedTuple):
    photos: Path
    folder: Path
    said: list[str]
    results: dict[str, Any]


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Six classes of odd names, one damaged file, random weights; not to be changed by a test."""
    root = tmp_path_factory.mktemp("origin")
    photos, folder = root / "<i>photos<i>", root / "runs/<i>photos<i>-origin"
    for number, (name, color) in enumerate(zip(HOSTILE, COLORS, strict=True)):
        for image in range(N_PER_CLASS):
            write_image(photos / name / f"{image:02}.png", 100 * number + image, color)
    (photos / HOSTILE[0] / HOSTILE_FILE).write_bytes(
        b"no picture"
    )  # of train: test is not looked at
    said = listen()
    with pytest.MonkeyPatch.context() as patch:
        # ResNet50 has the same steps before and after it, and takes minutes.
        patch.setattr(KerasBackbone, "base", lambda _: small_network())
        results = show_origin(photos, folder, SETTINGS, "the command")
    return Shown(photos, folder, said, results)


def estimate(value: float, n: int = 200, margin: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - margin, "high": value + margin, "n": n}


def difference(value: float) -> dict[str, Any]:
    return {"difference": estimate(value), "is_seen": abs(value) > 0.05}


@pytest.fixture
def failed() -> dict[str, Any]:
    """Made-up results where both mistakes cost much, and the origin's model fails."""
    val = {
        ("caffe", "moving", "moving"): 0.60,
        ("caffe", "moving", "batch"): 0.50,
        ("caffe", "batch", "moving"): 0.45,
        ("caffe", "batch", "batch"): 0.58,
        ("/255", "moving", "moving"): 0.30,
        ("/255", "moving", "batch"): 0.15,
        ("/255", "batch", "moving"): 0.11,
        ("/255", "batch", "batch"): 0.52,
    }
    roles = {("caffe", "moving", "moving"): "right", ("/255", "batch", "moving"): "origin"}
    cells = [
        {
            "preprocessing": key[0],
            "trained": key[1],
            "validated": key[2],
            "role": roles.get(key, ""),
            "train": estimate(0.9, 800, 0.02),
            "val": estimate(value),
            "train_validated": estimate(0.1, 800, 0.02),
            "most_predicted": "sushi",
            "predicted_share": estimate(0.97 if roles.get(key) == "origin" else 0.13),
            "chosen": {"C": 0.01},
        }
        for key, value in val.items()
    ]
    differences = {
        "pixels": -0.30, "statistics": -0.15, "both": -0.49, "switch": -0.41,
    }  # fmt: skip
    epoch = {
        "seconds": 20.0, "loss": 1.2, "acc": 0.62, "top5": 0.9,
        "val_loss": 3.1, "val_acc": 0.1, "val_top5": 0.5,
    }  # fmt: skip
    model = {
        "epochs": [epoch] * 5,
        "n_train": 960,
        "n_steps": 150,
        "val": estimate(0.1),
        "chance": estimate(0.1),
        "most_predicted": "sushi",
        "predicted_share": estimate(1.0),
        "seconds": 100.0,
    }
    mended = {**copy.deepcopy(model), "val": estimate(0.55), "predicted_share": estimate(0.14)}
    return {
        "versions": {"keras": "3.15.1"},
        "network": {
            "has_random_weights": False,
            "scaling": "caffe",
            "scaling_words": "BGR",
        },
        "settings": {"head": "logreg", "size_px": 96, "batch_size": 32},
        "chance": estimate(0.12),
        "cells": cells,
        "differences": {name: difference(value) for name, value in differences.items()},
        "network_seconds": {"caffe, moving": 21.0},
        "origin": {**model, "base_is_unchanged": True},
        "mended": {**mended, "seconds": 6.0},
    }


@pytest.fixture
def unharmed(failed: dict[str, Any]) -> dict[str, Any]:
    """Made-up results where neither mistake costs anything."""
    for cell in failed["cells"]:
        cell |= {"val": estimate(0.6), "predicted_share": estimate(0.13)}
    failed["differences"] = {name: difference(0.01) for name in failed["differences"]}
    failed["origin"] |= {"val": estimate(0.6), "predicted_share": estimate(0.13)}
    return failed
