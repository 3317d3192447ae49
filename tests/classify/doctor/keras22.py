"""Files in the layout of Keras 2.2.4, written with h5py from models of Keras 3.

A Sequential model says what it takes in its first layer, a functional one is a ``Model`` whose ends
are lists, a layer knows nothing of what later versions added to it, and the weights of a model in
a model stand in one group: first those that are trained. ResNet50's layers had other names.
"""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

VERSION = "2.2.4"
UNKNOWN = {
    "dtype", "groups", "keepdims", "synchronized", "ragged", "optional", "quantization_config",
}  # fmt: skip


def save_as_keras_22(model: Any, path: Path, loss: str, sequential_is_list: bool = False) -> Path:
    """Write a Sequential or functional model; its first Sequential as a list, as before 2.2.3."""
    config = described(model)
    if sequential_is_list:
        config["config"] = config["config"]["layers"]
    compiled = {
        "optimizer_config": {"class_name": "Adam", "config": {"lr": 0.001}},
        "loss": loss,
        "metrics": ["accuracy"],
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = VERSION.encode()
        file.attrs["backend"] = b"tensorflow"
        text = re.sub(
            r'"(conv\d_\w+)"', lambda found: f'"{old_name(found[1])}"', json.dumps(config)
        )
        file.attrs["model_config"] = text.encode()
        file.attrs["training_config"] = json.dumps(compiled).encode()
        _write_weights(file.create_group("model_weights"), model.layers)
    return path


def old_name(name: str) -> str:
    """What a layer of ResNet50 was called, such as ``res2a_branch2b`` for conv2_block1_2_conv."""
    if name in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    found = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", name)
    if found is None:
        return name
    stage, block, branch, kind = found.groups()
    letter, branch = "abcdef"[int(block) - 1], ("1", "2a", "2b", "2c")[int(branch)]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{letter}_branch{branch}"


def described(layer: Any) -> dict[str, Any]:
    """A layer or model as ``class_name`` and ``config``."""
    kind = type(layer).__name__
    if kind == "Sequential":
        layers = [described(each) for each in layer.layers]
        if layers[0]["class_name"] not in ("Model", "Sequential"):
            layers[0]["config"] |= {
                "batch_input_shape": list(layer.input_shape),
                "dtype": "float32",
            }
        return {"class_name": kind, "config": {"name": layer.name, "layers": layers}}
    if kind == "Functional":
        return {"class_name": "Model", "config": _graph(layer)}
    config = {key: _plain(each) for key, each in layer.get_config().items() if key not in UNKNOWN}
    if "batch_shape" in config:
        config |= {"batch_input_shape": config.pop("batch_shape"), "dtype": "float32"}
    return {"class_name": kind, "config": config}


def _graph(model: Any) -> dict[str, Any]:
    inbound = {each["name"]: each["inbound_nodes"] for each in model.get_config()["layers"]}
    layers = [
        {
            "name": layer.name,
            **described(layer),
            "inbound_nodes": [
                [[*each, {}] for each in _tensors(node)] for node in inbound[layer.name]
            ],
        }
        for layer in model.layers
    ]
    ends = {"input_layers": model.inputs, "output_layers": model.outputs}
    named = {
        key: [[each._keras_history.operation.name, 0, 0] for each in tensors]
        for key, tensors in ends.items()
    }
    return {"name": model.name, "layers": layers, **named}


def _tensors(node: Any) -> list[list[Any]]:
    """Which tensors a layer is called on: layer, node and number of each."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            return [list(node["config"]["keras_history"])]
        return [found for each in node.values() for found in _tensors(each)]
    return (
        [found for each in node for found in _tensors(each)]
        if isinstance(node, list | tuple)
        else []
    )


def _plain(value: Any) -> Any:
    """Initializers and the like by name, without the module that they are in."""
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": value["config"]}
    return value


def _write_weights(group: Any, layers: list[Any]) -> None:
    group.attrs["layer_names"] = [layer.name.encode() for layer in layers]
    group.attrs["keras_version"], group.attrs["backend"] = VERSION.encode(), b"tensorflow"
    for layer in layers:
        inside = group.create_group(layer.name)
        weights = layer.trainable_weights + layer.non_trainable_weights
        names = [f"{each.path}:0" for each in weights]
        inside.attrs["weight_names"] = [name.encode() for name in names]
        for name, weight in zip(names, weights, strict=True):
            inside[name] = np.asarray(weight)
