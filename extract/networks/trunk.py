"""The graph of a Keras network: models inside it, tensors that all goes through, its classifier."""

from collections.abc import Iterator
from typing import Any

from headbench.extract.networks.cut import global_poolings, inputs_of
from headbench.extract.networks.keras_runtime import load_keras

# A convolution without padding takes a few pixels; what halves an odd size takes a little less.
HALVED = 0.6
# Deeper than any block that fine-tuning trains by its number.
NO_BLOCK = 99


def outputs_of(operation: Any) -> list[Any]:
    """The output tensors of a layer or an operation of a functional network."""
    outputs = operation.output
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def trunk_of(network: Any) -> Iterator[tuple[int, Any]]:
    """Tensors that everything behind them depends on, in order; the output is not among them.

    Yields the position of the operation whose output it is, and the tensor. The network is
    functional, with one input.
    """
    operations = list(network.operations)
    last_use = {
        id(tensor): row
        for row, operation in enumerate(operations)
        for tensor in inputs_of(operation)
    }
    open_tensors: dict[int, Any] = {}
    for row, operation in enumerate(operations):
        open_tensors |= {id(tensor): tensor for tensor in outputs_of(operation)}
        open_tensors = {key: it for key, it in open_tensors.items() if last_use.get(key, -1) > row}
        if len(open_tensors) == 1:
            yield row, next(iter(open_tensors.values()))


def flattened(model: Any, size_px: int) -> Any:
    """A copy of a model with its weights: for images of one size, and with no model inside it.

    Its layers compute in the dtype that is set for new layers. The model is functional or
    Sequential, of one input and one output, and so is every model inside it.
    """
    keras = load_keras()
    copies: dict[int, tuple[Any, Any]] = {}
    names: set[str] = set()

    def copy(layer: Any) -> Any:
        if id(layer) not in copies:
            config = layer.get_config()
            name = config["name"] = _free(layer.name, names)
            names.add(name)
            if "dtype" in config:
                config["dtype"] = keras.config.dtype_policy().name
            copies[id(layer)] = layer, layer.__class__.from_config(config)
        return copies[id(layer)][1]

    def call(layer: Any, *args: Any, **options: Any) -> Any:
        if isinstance(layer, keras.Model):
            return through(layer, args[0])
        return copy(layer)(*args, **options)

    def through(each: Any, tensor: Any) -> Any:
        if isinstance(each, keras.Sequential):
            for layer in each.layers:
                tensor = call(layer, tensor)
            return tensor
        # As clone_model does it, which takes a model inside for a layer.
        graph = keras.Model(each.input, each.output)
        return graph._run_through_graph(tensor, call_fn=call)

    inputs = keras.Input((size_px, size_px, 3), name=_free("pixels", names))
    flat = keras.Model(inputs, through(model, inputs), name=model.name)
    for layer, new in copies.values():
        if getattr(layer, "weights", None):
            new.set_weights(layer.get_weights())
    return flat


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken: models inside a model may use the same names."""
    names = (name, *(f"{name}_of_model_{number}" for number in range(1, len(taken) + 1)))
    return next(each for each in names if each not in taken)


def before_classifier(network: Any) -> str:
    """Name of the layer that gives the last feature map of a flat network; empty if there is none.

    That is what the last global pooling reads that everything goes through; without one, the last
    map that everything goes through, such as what is flattened. Layers with weights lie before it.
    """
    operations, pooling = list(network.operations), global_poolings()
    ends = [*trunk_of(network), (len(operations) - 1, network.output)]
    pooled = [
        inputs_of(operations[row])[0] for row, _ in ends if isinstance(operations[row], pooling)
    ]
    maps = [tensor for _, tensor in ends if len(tensor.shape) > 2]
    found = pooled[-1:] or maps[-1:]
    if not found or not load_keras().Model(network.input, found[0]).weights:
        return ""
    return str(maker_of(network, found[0]).name)


def maker_of(network: Any, tensor: Any) -> Any:
    """The layer or operation of a functional network whose output a tensor is."""
    return next(each for each in network.operations if any(it is tensor for it in outputs_of(each)))


def depths_by_size(network: Any) -> dict[str, int]:
    """Block of each layer, counted from the end; a block begins where feature maps halve.

    A network whose maps keep their size, such as a transformer, has no such block.
    """
    blocks: dict[str, int] = {}
    number, first_px = 0, 0
    for layer in network.layers:
        shape = outputs_of(layer)[0].shape
        if len(shape) == 4:
            if shape[1] <= HALVED * first_px:
                number += 1
            if not first_px or shape[1] <= HALVED * first_px:
                first_px = shape[1]
        blocks[layer.name] = number
    return {name: number - block if number else NO_BLOCK for name, block in blocks.items()}
