"""Translate models that Keras 2 saved into Keras 3's terms; no code in a file is run."""

import json
from pathlib import Path
from typing import Any

import h5py

from headbench.cache.blocks import open_hdf5
from headbench.cache.untrusted import open_archive, parse_json
from headbench.extract.networks.keras_runtime import (
    KERAS_GROWTH,
    building_at_most,
    bytes_of_weights,
    load_keras,
    load_open_model,
)

CONFIG, WEIGHTS = "model_config", "model_weights"
SHAPE = "batch_input_shape"
# What Keras 2 writes for layers that do not take it in Keras 3: nothing but defaults.
IDLE = {"groups": 1, "rng_type": "stateful", "time_major": False}
# By how the names of layers begin: nothing that inference needs. A separable convolution has two
# kernels under other names.
DROPPED = {
    "Separable": ("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout": ("noise_shape", "trainable"),
}
NETWORKS = ("Model", "Functional")


def load_keras2_h5(path: Path) -> Any:
    """Load a model, not compiled, from HDF5 with `CONFIG` and `WEIGHTS`; it is not modified."""
    with (
        open_hdf5(path) as file,
        h5py.File(path.name, "w", driver="core", backing_store=False) as new,
    ):
        new.attrs[CONFIG] = json.dumps(translated(parse_json(file.attrs[CONFIG])))
        file.copy(WEIGHTS, new)
        return load_open_model(new)


def load_keras2_zip(path: Path) -> Any:
    """Load a model, not compiled, from a ``.keras`` file."""
    with open_archive(path, KERAS_GROWTH) as archive:
        n_bytes = bytes_of_weights(archive)
        config = parse_json(archive.read("config.json"))
    described = {**translated(config), "compile_config": None}
    with building_at_most(n_bytes):
        model = load_keras().saving.deserialize_keras_object(described, safe_mode=True)
        model.load_weights(path)
    return model


def translated(described: dict[str, Any]) -> dict[str, Any]:
    """A layer, or a model and all layers in it, in Keras 3's terms.

    Parameters
    ----------
    described
        Dict of ``class_name`` and ``config``, in ``.keras`` files also ``module``.
    """
    kind, config = described["class_name"], described["config"]
    if not isinstance(config, dict):
        return described
    if "layers" not in config:
        return {**described, "config": _layer(kind, config)}
    layers = [translated(each) for each in config["layers"]]
    if kind not in NETWORKS:
        return {**described, "config": {**config, "layers": _after_input(layers)}}
    module = {"module": "keras.src.models.functional"} if "module" in described else {}
    return {**described, "class_name": "Functional", **module, "config": _graph(config, layers)}


def _layer(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    if kind == "BatchNormalization" and isinstance(config.get("axis"), list):
        return {**config, "axis": config["axis"][0]}
    kept = {key: value for key, value in config.items() if IDLE.get(key, ...) != value}
    dropped = [key for start, keys in DROPPED.items() if kind.startswith(start) for key in keys]
    return {key: value for key, value in kept.items() if key not in dropped}


def _after_input(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the shape of inputs from all layers except the input layer, which holds it too."""
    if not layers or layers[0]["class_name"] != "InputLayer":
        return layers
    return [layers[0], *(_without(each, SHAPE) for each in layers[1:])]


def _without(described: dict[str, Any], key: str) -> dict[str, Any]:
    config = {name: value for name, value in described["config"].items() if name != key}
    return {**described, "config": config}


def _graph(config: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    inside = {each["name"] for each in layers if "layers" in each["config"]}
    # For the ends of a graph, Keras 3 subtracts that call of a functional model itself.
    rows = {each["name"] for each in layers if each["class_name"] == "Sequential"}
    ends = {
        key: _alone(_linked([config[key]], rows)[0]) for key in ("input_layers", "output_layers")
    }
    linked = [{**each, "inbound_nodes": _linked(each["inbound_nodes"], inside)} for each in layers]
    return {**config, **ends, "layers": linked}


def _linked(nodes: list[Any], inside: set[str]) -> list[Any]:
    """Calls of layers: Keras 3 does not count the call that a model in a model began with."""

    def renumbered(tensor: Any) -> Any:
        is_of_model = isinstance(tensor, list) and tensor[0] in inside
        return [tensor[0], max(0, tensor[1] - 1), *tensor[2:]] if is_of_model else tensor

    return [list(map(renumbered, node)) if isinstance(node, list) else node for node in nodes]


def _alone(ends: list[Any]) -> list[Any]:
    """One tensor, not a list of one: a Sequential model would hand on the list."""
    return ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends
