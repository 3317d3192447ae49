"""Models as Keras 2 described them, put as Keras 3 reads them: nothing of a file is run."""

import json
from pathlib import Path
from typing import Any

import h5py

from cache.blocks import open_hdf5
from extract.keras_runtime import load_open_model

NETWORKS = ("Model", "Functional")
CONFIG, WEIGHTS = "model_config", "model_weights"
SHAPE = "batch_input_shape"


def load_old_model(path: Path) -> Any:
    """Load a model that Keras 2 saved, without Lambda layers.

    Parameters
    ----------
    path : Path
        HDF5 with `CONFIG` and `WEIGHTS`; not modified.

    Returns
    -------
    keras.Model
        Not compiled.
    """
    with (
        open_hdf5(path) as file,
        h5py.File(path.name, "w", driver="core", backing_store=False) as new,
    ):
        new.attrs[CONFIG] = json.dumps(modernised(json.loads(file.attrs[CONFIG])))
        file.copy(WEIGHTS, new)
        return load_open_model(new)


def modernised(described: dict[str, Any]) -> dict[str, Any]:
    """A layer or model and all in it, put as Keras 3 reads it.

    Parameters
    ----------
    described : dict
        ``class_name`` and ``config``, which was a list for the first Sequential models.
    """
    kind, config = described["class_name"], described["config"]
    if kind == "Sequential":
        named = {"name": "sequential", "layers": config} if isinstance(config, list) else config
        layers = [modernised(each) for each in named["layers"]]
        return {**described, "config": {**named, "layers": _with_input(layers)}}
    if kind in NETWORKS and "layers" in config:
        ends = {key: _alone(config[key]) for key in ("input_layers", "output_layers")}
        layers = [modernised(each) for each in config["layers"]]
        return {**described, "config": {**config, **ends, "layers": layers}}
    return described


def _with_input(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first layer said what shape it takes; now a layer before it does."""
    if not layers or layers[0]["class_name"] == "InputLayer" or SHAPE not in layers[0]["config"]:
        return layers
    first = {key: value for key, value in layers[0]["config"].items() if key != SHAPE}
    taken = {SHAPE: layers[0]["config"][SHAPE], "name": f"{first.get('name', 'first')}_input"}
    if "dtype" in first:
        taken["dtype"] = first["dtype"]
    before = {"class_name": "InputLayer", "config": taken}
    return [before, {**layers[0], "config": first}, *layers[1:]]


def _alone(ends: list[Any]) -> list[Any]:
    """One tensor, and no list of one: that would be handed on as a list inside a Sequential."""
    return ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends
