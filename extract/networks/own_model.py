"""A Keras model of the user's own as a backbone: its file, and where it is cut."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from headbench.cache.untrusted import open_archive, parse_json
from headbench.extract.errors import DataError, WeightsError, loading_model
from headbench.extract.networks.applications import PREPROCESSINGS
from headbench.extract.networks.cut import cut_at
from headbench.extract.networks.keras2 import CONFIG, WEIGHTS
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.networks.keras_runtime import (
    KERAS_GROWTH,
    load_keras,
    open_weights,
    quiet_keras,
)
from headbench.extract.networks.trunk import before_classifier, depths_by_size, flattened
from headbench.extract.networks.user_model import (
    WAY_OUT,
    is_zip,
    load_user_model,
    open_model_hdf5,
)
from headbench.extract.networks.weights import Weights

LOG = logging.getLogger(__name__)

CUT_WAY_OUT = (
    "headbench takes a Sequential or functional model from images to one output, and cuts it "
    "after its last feature map."
)
WEIGHTS_FILE = "model.weights.h5"
# An address in memory, and the shape of the batch that a layer saw first.
PASSING = ("shared_object_id", "build_config")


@dataclass(frozen=True)
class OwnModel(KerasNetwork):
    """A Keras model of the user's own, cut before its classifier.

    `weights_source` is the path of the model.

    Attributes
    ----------
    declared : str
        The preprocessing that it was trained with: a key of `PREPROCESSINGS`.
    """

    declared: str = "raw"

    @cached_property
    def weights(self) -> Weights:
        """The file, and the hash of structure and weights in it."""
        path = Path(self.weights_source)
        return Weights(path, f"sha256:{hash_of_model(path)}")

    def built_dim(self) -> int:
        """Length of an embedding; loads the model."""
        return int(self._load()[0].output_shape[-1])

    @property
    def preprocessing(self) -> str:
        """What `preprocess` does, in words; in the fingerprint."""
        return PREPROCESSINGS[self.declared]

    def preprocess(self, pixels: Any) -> Any:
        """Keras tensor of pixels, float32 RGB, 0-255, to what `base` takes."""
        if self.declared in ("raw", "inside"):
            return pixels
        if self.declared == "0-1":
            return pixels / 255.0
        scale = load_keras().applications.imagenet_utils.preprocess_input
        return scale(pixels, data_format="channels_last", mode=self.declared)

    def base(self) -> Any:
        """The keras.Model without preprocessing, in float32, with its weights.

        It takes preprocessed pixels, (n, size_px, size_px, 3), and returns (n, dim). Raises
        `WeightsError` if the file cannot be loaded, or holds no network for images.
        """
        base, said = self._load()
        self._say_once(said)
        return base

    def depths_of(self, base: Any) -> dict[str, int]:
        """Block of each layer of `base`, counted from the end: a block halves feature maps."""
        return depths_by_size(base)

    @cached_property
    def _say_once(self) -> Callable[[str], None]:
        return cache(LOG.info)

    def _load(self) -> tuple[Any, str]:
        """The model, cut, and a line that says where."""
        path = Path(self.weights_source)
        model = load_user_model(path).model
        with loading_model(path, CUT_WAY_OUT), quiet_keras():
            whole = flattened(model, self.size_px)
            layer = self.layer or before_classifier(whole)
            if not layer:
                raise WeightsError(
                    f"{path}: expected a network for images, found no feature map in it. Name the "
                    "layer to cut it at: --layer NAME."
                )
            base = cut_at(whole, layer, self.pooling)
        return base, f"{path}: {_describe_cut(whole, base, layer)}"


def own_px(name: str, size_px: int | None, preprocessing: str | None) -> int | None:
    """Height and width of the images of a model, by its path; None if it takes any size.

    Raises `DataError` for a preprocessing that is not declared, or another size; `WeightsError` for
    a file that is no model.
    """
    if preprocessing is None:
        choices = (f"{key} ({its.removeprefix(f'{key}: ')})" for key, its in PREPROCESSINGS.items())
        raise DataError(
            f"{name}: the file does not say how pixels were scaled in training. Declare it with "
            f"--preprocessing: {'; '.join(choices)}."
        )
    found = input_px_of(Path(name))
    if found and size_px and size_px != found:
        raise DataError(f"size {size_px}: {name} takes {found} px only. Leave --size out.")
    return found or size_px


def _describe_cut(whole: Any, base: Any, layer: str) -> str:
    kept = {operation.name for operation in base.operations}
    left = [each.name for each in whole.layers if each.name not in kept]
    without = f", without {', '.join(left)}" if left else ""
    return f"cut after {layer}{without}; {base.output_shape[-1]} columns"


def hash_of_model(path: Path) -> str:
    """SHA-256 of the structure and the weights in a model's file, as 64 hexadecimal digits.

    Not of the file itself: that holds a date, and perhaps the state of an optimizer. A model that
    is loaded and saved again keeps its hash. TensorFlow is not imported.

    Raises
    ------
    WeightsError
        If it is not the file of a model.
    """
    with _opened(path) as (structure, weights):
        kept = {key: structure.get(key) for key in ("class_name", "config")}
        digest = hashlib.sha256(json.dumps(_lasting(kept), sort_keys=True).encode())
        arrays: dict[str, h5py.Dataset] = {}
        weights.visititems(
            lambda name, item: arrays.update({name: item} if isinstance(item, h5py.Dataset) else {})
        )
        n_claimed = sum(array.nbytes for array in arrays.values())
        if n_claimed > KERAS_GROWTH * path.stat().st_size:
            raise ValueError(f"its weights claim {n_claimed} bytes")
        for name in sorted(arrays):
            if not name.startswith("optimizer"):
                values = np.ascontiguousarray(arrays[name][()])
                digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
                digest.update(values.tobytes())
    return digest.hexdigest()


def _lasting(structure: Any) -> Any:
    """A structure without what changes when a model is loaded and saved again."""
    if isinstance(structure, dict):
        return {key: _lasting(its) for key, its in structure.items() if key not in PASSING}
    return [_lasting(each) for each in structure] if isinstance(structure, list) else structure


def input_px_of(path: Path) -> int | None:
    """Height and width of a model's images, from its file; None if it takes any size.

    Raises
    ------
    WeightsError
        If it does not take square images of three channels.
    """
    with _opened(path) as (structure, _):
        shape = _first_shape(structure) or [None, None, None, 3]
    sides = {*shape[1:3]}
    if len(shape) != 4 or shape[3] != 3 or len(sides) != 1:
        raise WeightsError(
            f"{path}: expected a model of square RGB images, (height, width, 3), found input "
            f"{tuple(shape[1:])}."
        )
    [side] = sides
    return None if side is None else int(side)


def _first_shape(structure: Any) -> list[Any] | None:
    """Shape of the first layer that says what it takes, in a model or the models inside it."""
    config = structure.get("config") if isinstance(structure, dict) else None
    if not isinstance(config, dict):
        return None
    for key in ("batch_shape", "batch_input_shape"):
        if isinstance(config.get(key), list):
            return list(config[key])
    layers = config.get("layers") or ()
    return next((shape for each in layers if (shape := _first_shape(each))), None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, h5py.Group]]:
    """Structure and weights in the file of a model."""
    if not path.is_file():
        found = "a folder" if path.exists() else "nothing"
        raise WeightsError(
            f"{path}: expected a Keras model, found {found}. If it was moved: --weights PATH."
        )
    with loading_model(path, WAY_OUT):
        if not is_zip(path):
            with open_model_hdf5(path) as file:
                yield parse_json(file.attrs[CONFIG]), file[WEIGHTS]
            return
        with open_archive(path, KERAS_GROWTH) as archive:
            structure = parse_json(archive.read("config.json"))
            with open_weights(archive, archive.getinfo(WEIGHTS_FILE)) as weights:
                yield structure, weights
