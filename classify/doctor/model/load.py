"""Open a Keras model of a stranger: no code in it is run."""

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from cache.blocks import open_hdf5
from cache.errors import FeatureFileError, UnreadableError
from classify.doctor.model.old_layout import CONFIG, load_old_model
from classify.errors import RunError, loading
from extract.keras_runtime import load_keras, quiet_keras

WAY_OUT = (
    "Expected a whole model as Keras 3 or 2 saves it, of built-in layers only: layers of your own "
    "and Lambda layers would run code."
)
WHOLE_MODEL = (
    "A model in .h5 is HDF5 with layers and weights, as model.save('model.h5') writes it: save or "
    "copy it again."
)
OLD_WAY_OUT = (
    "Of models in .h5 that Keras 2 saved, those are opened that are Sequential or functional, of "
    "layers that Keras 3 still has, none of them Lambda or of your own. Build it anew with Keras "
    "3, load_weights() this file into it, save that as .keras, and name that."
)
# Until it became a part of TensorFlow, Keras let frozen BatchNormalization use the batch.
FIRST_THAT_FREEZES = (2, 4)
# Describes models in another way.
FIRST_OF_NOW = (3, 0)


@dataclass(frozen=True)
class UserModel:
    """A model and how it was saved.

    Attributes
    ----------
    path : Path
    model : keras.Model
        Not compiled.
    keras_version : str
        Of the Keras that saved it, as the file says.
    loss : mapping or str or None
        As the file describes it: a name, or ``class_name`` and ``config``.
    """

    path: Path
    model: Any
    keras_version: str
    loss: Any

    @property
    def froze_batch_norms(self) -> bool:
        """Whether freezing a BatchNormalization put it in inference mode in that Keras.

        Versions that end in ``-tf`` are TensorFlow 2's own, in which it did.
        """
        if self.keras_version.endswith("-tf"):
            return True
        numbers = _numbers(self.keras_version)
        return not numbers or numbers >= FIRST_THAT_FREEZES


def load_user_model(path: Path) -> UserModel:
    """Load a model and what its file says of it.

    Parameters
    ----------
    path : Path
        ``.keras``, or ``.h5`` of Keras 2 or 3, of layers that Keras 3 still has.

    Raises
    ------
    RunError
        If it cannot be loaded without running code from it.
    """
    with loading(path, WAY_OUT):
        version, compiled = _described_in_zip(path) if _is_zip(path) else _described_in_hdf5(path)
    is_old = not _is_zip(path) and _numbers(version) < FIRST_OF_NOW
    with loading(path, OLD_WAY_OUT if is_old else WAY_OUT), quiet_keras():
        model = load_old_model(path) if is_old else _load(path)
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    return UserModel(path, model, version, loss)


def _load(path: Path) -> Any:
    return load_keras().saving.load_model(path, compile=False, safe_mode=True)


def _numbers(version: str) -> tuple[int, ...]:
    """Of a version the first two; none if it is not known, as of the oldest files."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _is_zip(path: Path) -> bool:
    return path.suffix == ".keras"


def _described_in_zip(path: Path) -> tuple[str, Any]:
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
        config = json.loads(archive.read("config.json"))
    return str(metadata.get("keras_version", "")), config.get("compile_config")


def _described_in_hdf5(path: Path) -> tuple[str, Any]:
    with _opened(path) as file:
        version, config = (
            _text(file.attrs.get(name, "")) for name in ("keras_version", "training_config")
        )
        if CONFIG not in file.attrs:
            raise RunError(f"{path}: holds weights only, no layers. Save the whole model.")
    return version, json.loads(config) if config else None


def _opened(path: Path) -> h5py.File:
    try:
        return open_hdf5(path)
    except UnreadableError:
        raise
    except FeatureFileError as error:
        raise RunError(f"{path}: found no whole HDF5 file. {WHOLE_MODEL}") from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
