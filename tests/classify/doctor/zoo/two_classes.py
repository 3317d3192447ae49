"""Models of one output, which tells two classes of food apart, and losses for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headbench.extract.networks.keras_runtime import load_keras
from tests.classify.doctor.zoo.models import N_CLASSES, WRONG, build, logits, save
from tests.classify.doctor.zoo.photographs import link, photographs
from tests.classify.doctor.zoo.project import Case, Project

N_PHOTOGRAPHS = 60


def one_output(proba: Any, activation: str | None, bias: float = 0.0) -> Any:
    """How much more the second class is meant than the first, and an activation."""
    last = load_keras().layers.Dense(1, activation=activation, name="last")
    outputs = last(logits(proba))
    kernel = np.zeros((N_CLASSES, 1), np.float32)
    kernel[:2, 0] = -1, 1
    last.set_weights([kernel, np.array([bias])])
    return outputs


def two_classes(
    folder: Path,
    shared: Path,
    activation: str | None = "sigmoid",
    loss: Callable[[], Any] | str = "binary_crossentropy",
    bias: float = 0.0,
) -> Case:
    """A model of one output on the first two classes of food, preprocessing inside."""
    for place in sorted((shared / "data/food10/images").iterdir())[:2]:
        link(photographs(shared, place.name)[:N_PHOTOGRAPHS], folder / "two" / place.name)
    end = partial(one_output, activation=activation, bias=bias)
    model = build(shared, inside="caffe", end=end)
    path = save(model, folder / "model.keras", loss if isinstance(loss, str) else loss())
    return Case([path, folder / "two"])


def from_logits() -> Any:
    return load_keras().losses.BinaryCrossentropy(from_logits=True)


PROJECTS: tuple[Project, ...] = (
    Project(
        "two classes, a softmax over one output",
        partial(two_classes, activation="softmax"),
        "softmax-of-one-output",
        WRONG,
    ),
    Project(
        "two classes, one output without a sigmoid",
        partial(two_classes, activation=None),
        "sigmoid-missing",
    ),
    Project(
        "two classes, a sigmoid and a loss that applies it",
        partial(two_classes, loss=from_logits),
        "sigmoid-twice",
    ),
    Project(
        "two classes, a loss over classes of one output",
        partial(two_classes, loss="categorical_crossentropy"),
        "wrong-loss",
    ),
    Project(
        "two classes, one of them for everything",
        partial(two_classes, bias=40.0),
        "one-class-predicted",
        WRONG,
    ),
    Project("sound: two classes, a sigmoid", two_classes),
    Project(
        "sound: two classes, one logit",
        partial(two_classes, activation=None, loss=from_logits),
    ),
)
