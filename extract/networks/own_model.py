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
from headbench.extract.networks.applications import OWN_MODEL, PREPROCESSINGS
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

    @cached_property
    def dim(self) -> int:
        """Length of an embedding; loads the model."""
        _, cut = self._load()
        return int(cut.shape[-1])

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
        keras = load_keras()
        whole, cut = self._load()
        self._say_once(f"{self.weights_source}: {_describe_cut(whole, cut, self.pooling)}")
        kind = {"avg": "Average", "max": "Max"}[self.pooling]
        layer = getattr(keras.layers, f"Global{kind}Pooling{len(cut.shape) - 2}D")
        return keras.Model(whole.input, layer(name=f"{self.pooling}_pool")(cut), name=self.name)

    def depths_of(self, base: Any) -> dict[str, int]:
        """Block of each layer of `base`, counted from the end: a block halves feature maps."""
        return depths_by_size(base)

    @cached_property
    def _say_once(self) -> Callable[[str], None]:
        return cache(LOG.info)

    def _load(self) -> tuple[Any, Any]:
        """The whole model, flat, and the tensor after which it is cut."""
        path = Path(self.weights_source)
        model = load_user_model(path).model
        with loading_model(path, CUT_WAY_OUT), quiet_keras():
            whole = flattened(model, self.size_px)
            cut = before_classifier(whole)
        if cut is None:
            raise WeightsError(
                f"{path}: expected a network for images, found no feature map in it."
            )
        return whole, cut


def own_model(
    name: str,
    size_px: int | None,
    pooling: str,
    precision: str,
    preprocessing: str | None,
    default_px: int,
) -> OwnModel:
    """A model by its path, not loaded; of its own input size if that is fixed.

    Raises `DataError` for a preprocessing that is not declared, or another size; `WeightsError` for
    a file that is no model.
    """
    if preprocessing is None:
        choices = "; ".join(f"{key} ({words})" for key, words in _described_preprocessings())
        raise DataError(
            f"{name}: the file does not say how pixels were scaled in training. Declare it with "
            f"--preprocessing: {choices}."
        )
    own_px = input_px_of(Path(name))
    if own_px and size_px and size_px != own_px:
        raise DataError(f"size {size_px}: {name} takes {own_px} px only. Leave --size out.")
    px = own_px or size_px or default_px
    return OwnModel(OWN_MODEL, name, px, pooling, precision, preprocessing)


def declared_as(words: str) -> str:
    """The key of a preprocessing in words; ``raw`` for words of another version of headbench."""
    return next((key for key, its in PREPROCESSINGS.items() if its == words), "raw")


def _described_preprocessings() -> Iterator[tuple[str, str]]:
    for key, words in PREPROCESSINGS.items():
        yield key, words.removeprefix(f"{key}: ")


def _describe_cut(whole: Any, cut: Any, pooling: str) -> str:
    names = [layer.name for layer in whole.layers]
    kept = {layer.name for layer in load_keras().Model(whole.input, cut).layers}
    left = [name for name in names if name not in kept]
    after, shape = cut._keras_history.operation.name, " x ".join(map(str, cut.shape[1:]))
    without = f", without {', '.join(left)}" if left else ""
    return f"cut after {after} ({shape}){without}; pooled by {pooling}"


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
    return side


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
