"""Load a Keras model of the user's own without running code from it, and read its loss."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from headbench.cache.blocks import open_hdf5
from headbench.cache.errors import FeatureFileError, HeadbenchError, UnreadableError
from headbench.cache.untrusted import open_archive, parse_json
from headbench.classify.doctor.model.keras2 import CONFIG, load_keras2_h5, load_keras2_zip
from headbench.classify.errors import RunError, loading
from headbench.extract.networks.keras_runtime import KERAS_GROWTH, load_saved, quiet_keras

WAY_OUT = (
    "Expected a whole model, saved by Keras 3 or 2, with built-in layers only: layers of your own "
    "and Lambda layers would run code from the file."
)
WHOLE_MODEL = (
    "A model in .h5 is HDF5 with layers and weights, written by model.save('model.h5'): save or "
    "copy it again."
)
KERAS2_WAY_OUT = (
    "headbench loads models of Keras 2 that are Sequential or functional and have only layers that "
    "Keras 3 still has: no Lambda layers, no layers of your own, no bare TensorFlow functions. "
    "Build the model again in Keras 3, call load_weights() with this file, save it as .keras, and "
    "name that file."
)
RUN_WAY_OUT = (
    "Expected a model that takes a batch of any number of images: try model.predict and model.fit "
    "on some. If it takes images of any size, name the size: --script-settings size=224."
)
# Colours, and the names of TensorFlow's own functions.
_NOISE = re.compile(r"\x1b\[\d*m|\{\{.*?\}\} ?")
# Until it became a part of TensorFlow, Keras let frozen BatchNormalization use the batch.
FIRST_THAT_FREEZES = (2, 4)
KERAS_3 = (3, 0)
CATEGORICAL = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
# As Keras abbreviates it.
IN_FULL = {"bce": "binary_crossentropy"}


@dataclass(frozen=True)
class UserModel:
    """A model, not compiled, with facts from its file.

    Attributes
    ----------
    keras_version
        Version of Keras that saved it, from the file.
    loss
        Loss in the file: a name, or ``class_name`` and ``config``.
    """

    path: Path
    model: Any
    keras_version: str
    loss: Any

    @property
    def froze_batch_norms(self) -> bool:
        """Whether that Keras ran a frozen BatchNormalization in inference mode.

        Versions that end in ``-tf`` are TensorFlow 2's own, which did.
        """
        if self.keras_version.endswith("-tf"):
            return True
        numbers = _numbers(self.keras_version)
        return not numbers or numbers >= FIRST_THAT_FREEZES


def load_user_model(path: Path) -> UserModel:
    """Load a model of layers that Keras 3 still has, with facts from its file.

    Raises
    ------
    RunError
        If it cannot be loaded without running code from it.
    """
    with loading(path, WAY_OUT):
        version, compiled = _described_in_zip(path) if _is_zip(path) else _described_in_hdf5(path)
    is_keras2 = _numbers(version) < KERAS_3
    with loading(path, KERAS2_WAY_OUT if is_keras2 else WAY_OUT), quiet_keras():
        if is_keras2:
            model = load_keras2_zip(path) if _is_zip(path) else load_keras2_h5(path)
        else:
            model = load_saved(path, compile=False)
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    return UserModel(path, model, version, loss)


def _numbers(version: str) -> tuple[int, ...]:
    """Of a version the first two; none if it is not known, as of the oldest files."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _is_zip(path: Path) -> bool:
    return path.suffix == ".keras"


def _described_in_zip(path: Path) -> tuple[str, Any]:
    with open_archive(path, KERAS_GROWTH) as archive:
        metadata = parse_json(archive.read("metadata.json"))
        config = parse_json(archive.read("config.json"))
    return str(metadata.get("keras_version", "")), config.get("compile_config")


def _described_in_hdf5(path: Path) -> tuple[str, Any]:
    with _opened(path) as file:
        found = [file.attrs.get(name, "") for name in ("keras_version", "training_config")]
        if CONFIG not in file.attrs:
            raise RunError(f"{path}: expected a model, found weights only. Save the whole model.")
    version, config = (each.decode() if isinstance(each, bytes) else str(each) for each in found)
    return version, parse_json(config) if config else None


def _opened(path: Path) -> h5py.File:
    try:
        return open_hdf5(path, WHOLE_MODEL)
    except UnreadableError:
        raise
    except FeatureFileError as error:
        raise RunError(str(error)) from error


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
