"""Load a Keras model of the user's own without running code from it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from headbench.cache.blocks import open_hdf5
from headbench.cache.errors import FeatureFileError, UnreadableError
from headbench.cache.untrusted import open_archive, parse_json
from headbench.extract.errors import WeightsError, loading_model
from headbench.extract.networks.keras2 import CONFIG, load_keras2_h5, load_keras2_zip
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
# Until it became a part of TensorFlow, Keras let frozen BatchNormalization use the batch.
FIRST_THAT_FREEZES = (2, 4)
KERAS_3 = (3, 0)


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
    WeightsError
        If it cannot be loaded without running code from it.
    """
    with loading_model(path, WAY_OUT):
        version, compiled = _described_in_zip(path) if is_zip(path) else _described_in_hdf5(path)
    is_keras2 = _numbers(version) < KERAS_3
    with loading_model(path, KERAS2_WAY_OUT if is_keras2 else WAY_OUT), quiet_keras():
        if is_keras2:
            model = load_keras2_zip(path) if is_zip(path) else load_keras2_h5(path)
        else:
            model = load_saved(path, compile=False)
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    return UserModel(path, model, version, loss)


def _numbers(version: str) -> tuple[int, ...]:
    """Of a version the first two; none if it is not known, as of the oldest files."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def is_zip(path: Path) -> bool:
    """Whether a model is in Keras 3's format, a zip archive; else it is HDF5."""
    return path.suffix == ".keras"


def _described_in_zip(path: Path) -> tuple[str, Any]:
    with open_archive(path, KERAS_GROWTH) as archive:
        metadata = parse_json(archive.read("metadata.json"))
        config = parse_json(archive.read("config.json"))
    return str(metadata.get("keras_version", "")), config.get("compile_config")


def _described_in_hdf5(path: Path) -> tuple[str, Any]:
    with open_model_hdf5(path) as file:
        found = [file.attrs.get(name, "") for name in ("keras_version", "training_config")]
    version, config = (each.decode() if isinstance(each, bytes) else str(each) for each in found)
    return version, parse_json(config) if config else None


def open_model_hdf5(path: Path) -> h5py.File:
    """Open a model in HDF5; `WeightsError` if the file has none."""
    try:
        file = open_hdf5(path, WHOLE_MODEL)
    except UnreadableError:
        raise
    except FeatureFileError as error:
        raise WeightsError(str(error)) from error
    if CONFIG not in file.attrs:
        file.close()
        raise WeightsError(f"{path}: expected a model, found weights only. Save the whole model.")
    return file
