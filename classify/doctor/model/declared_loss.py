"""Run a model of the user's own, and read the loss that it is trained with."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headbench.cache.errors import HeadbenchError
from headbench.classify.errors import RunError
from headbench.extract.networks.keras_runtime import quiet_keras

RUN_WAY_OUT = (
    "Expected a model that takes a batch of any number of images: try model.predict and model.fit "
    "on some. If it takes images of any size, name the size: --script-settings size=224."
)
# Colours, and the names of TensorFlow's own functions.
_NOISE = re.compile(r"\x1b\[\d*m|\{\{.*?\}\} ?")
CATEGORICAL = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
# As Keras abbreviates it.
IN_FULL = {"bce": "binary_crossentropy"}


@contextmanager
def calling(path: Path) -> Iterator[None]:
    """Name the file if its model fails; Keras and TensorFlow raise errors of many kinds.

    Keras' warnings are about how the model was written, so they are not printed.
    """
    try:
        with quiet_keras():
            yield
    except HeadbenchError:
        raise
    except Exception as error:
        said = f"{path}: was loaded, but fails when it runs ({reason_of(error)}). {RUN_WAY_OUT}"
        raise RunError(said) from error


def reason_of(error: Exception) -> str:
    """An error of Keras in one line: where it was raised, and the first line of the reason."""
    lines = [line.strip() for line in _NOISE.sub("", str(error)).splitlines()]
    return " ".join([line for line in lines if line][:2]) or type(error).__name__


class Loss(NamedTuple):
    """The loss that a model is trained with, such as ``sparse_categorical_crossentropy``."""

    name: str
    from_logits: bool

    @property
    def is_categorical(self) -> bool:
        """Whether it expects class probabilities, of which one is the true class."""
        return self.name in CATEGORICAL

    @property
    def is_binary(self) -> bool:
        """Whether it treats each output as a yes-or-no question of its own."""
        return self.name in BINARY

    @property
    def is_focal(self) -> bool:
        """Whether it gives less weight to images that are already correct."""
        return "focal" in self.name


def read_loss(described: Any, name: str | None, from_logits: bool | None) -> Loss | None:
    """The loss that the user declares, else the loss in the model's file (`UserModel.loss`)."""
    config: Mapping[str, Any] = {}
    found = described = _of_one_output(described)
    if isinstance(described, Mapping):
        config = described.get("config", {})
        found = described.get("class_name")
        if isinstance(config, str):
            # A function: its name.
            found, config = config, {}
    found = name or found
    if not isinstance(found, str):
        return None
    is_from_logits = from_logits
    if is_from_logits is None:
        is_from_logits = bool(isinstance(config, Mapping) and config.get("from_logits", False))
    snake = _snake(found)
    return Loss(IN_FULL.get(snake, snake), is_from_logits)


def _of_one_output(described: Any) -> Any:
    """The loss of a model of one output that was compiled with a list of them, or a mapping."""
    if isinstance(described, (list, tuple)) and len(described) == 1:
        return _of_one_output(described[0])
    is_by_output = isinstance(described, Mapping) and not {"class_name", "config"} & set(described)
    if is_by_output and len(described) == 1:
        return _of_one_output(next(iter(described.values())))
    return described


def _snake(name: str) -> str:
    """A class name such as CategoricalCrossentropy as the name of its function."""
    if "_" in name or name.islower() or name.isupper():
        return name.lower()
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
