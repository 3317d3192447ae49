"""Networks cut at layers inside them, and weights that stop there."""

from collections import Counter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headbench.extract.errors import DataError, WeightsError
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.weights import WAY_OUT, check_shapes, shapes_in

# Output of a layer, its name, pooling.
Pool = Callable[[Any, str, str], Any]


def cut_at(network: Any, layers: str, pooling: str, pool: Pool | None = None) -> Any:
    """The part of a network that some of its layers need, with their outputs pooled and joined.

    Parameters
    ----------
    network : keras.Model
        Functional; it is not modified, and the result shares its layers.
    layers : str
        Names of layers or operations, joined by commas; their outputs are joined in that order.
    pooling : {"avg", "max"}
        How feature maps (n, height, width, channels) and sequences (n, length, channels) become
        vectors. Vectors stay as they are.
    pool : callable, optional
        In place of `pooled`, for networks with class tokens; then `pooling` is as it takes it.

    Returns
    -------
    keras.Model
        From the input of `network` to (n, dim).

    Raises
    ------
    DataError
        If there is no such layer, or its output is neither a feature map nor a vector.
    """
    keras, names = load_keras(), layers.split(",")
    if len(set(names)) < len(names):
        raise DataError(f"--layer {layers}: expected each layer once.")
    pool = pool or pooled
    vectors = [pool(_output_of(network, name), name, pooling) for name in names]
    whole = keras.layers.Concatenate(name="joined")(vectors) if names[1:] else vectors[0]
    return keras.Model(network.input, whole, name=network.name)


def load_weights(network: Any, used: Any, path: Path, name: str) -> None:
    """Load a file into a functional network, or into its part up to where the file stops.

    `used` is the part of the network that needs weights; `name` is for messages. Raises
    `WeightsError` if the file belongs to another network, or stops before that part ends.
    """
    part = _part_in(path, network, name)
    if not {*map(id, used.weights)} <= {*map(id, part.weights)}:
        last = part.operations[-1].name
        raise WeightsError(
            f"{path}: expected weights of {name} up to its last layer, or to the one that it is "
            f"cut at, found those up to {last}. Cut it there or before: --layer {last}."
        )
    try:
        part.load_weights(path)
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: not weights of {name} ({reason}). {WAY_OUT}") from error


def nearest(name: str, names: Iterable[str]) -> str:
    """A question that offers the names most like a name that does not exist; empty if none is."""
    close = get_close_matches(name, list(names), n=3)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def inputs_of(operation: Any) -> list[Any]:
    """The input tensors of a layer or an operation of a functional network."""
    try:
        inputs = operation.input
    except AttributeError:
        # An input layer has no inputs.
        return []
    return inputs if isinstance(inputs, list) else [inputs]


def global_poolings(*kinds: str) -> tuple[type, ...]:
    """The kinds of layers that make vectors of feature maps and sequences.

    `kinds` are ``Average`` and ``Max``; by default both.
    """
    layers, sizes = load_keras().layers, ("1D", "2D")
    names = (f"Global{kind}Pooling{size}" for kind in kinds or ("Average", "Max") for size in sizes)
    return tuple(getattr(layers, name) for name in names)


def _output_of(network: Any, name: str) -> Any:
    operations = {each.name: each for each in network.operations if inputs_of(each)}
    if name not in operations:
        first, *_, last = operations
        raise DataError(
            f"--layer {name}: expected the name of a layer of {network.name}, or several joined by "
            f"commas (from {first} to {last}).{nearest(name, operations)}"
        )
    return operations[name].output


def pooled(output: Any, name: str, pooling: str) -> Any:
    """The output of the layer of this name as a vector; see `cut_at`."""
    shape: tuple[int | None, ...] = getattr(output, "shape", ())
    if len(shape) not in (2, 3, 4) or shape[-1] is None:
        raise DataError(
            f"--layer {name}: expected a layer that gives a feature map (n, height, width, "
            "channels), a sequence (n, length, channels) or a vector (n, columns), found "
            f"{shape or 'several outputs'}. Name another."
        )
    if len(shape) == 2:
        return output
    layers = load_keras().layers
    kind = {"avg": "Average", "max": "Max"}[pooling]
    pool = getattr(layers, f"Global{kind}Pooling{len(shape) - 2}D")
    return pool(name=f"{name}_pooled")(output)


def _part_in(path: Path, network: Any, name: str) -> Any:
    """The part of a network, up to some layer, whose weights are in a file; mostly all of it."""
    shapes, found = [tuple(each.shape) for each in network.weights], shapes_in(path)
    last = _last_with(network, found) if Counter(shapes) != found else None
    if last is None:
        check_shapes(path, shapes, name)
        return network
    return load_keras().Model(network.input, last.output)


def _last_with(network: Any, shapes: Counter[tuple[int, ...]]) -> Any:
    """The last layer up to which a network has weights of exactly these shapes, or None."""
    last = None
    own: dict[str, list[tuple[int, ...]]] = {}
    needed: dict[int, frozenset[str]] = {}
    for operation in network.operations:
        own[operation.name] = [tuple(each.shape) for each in getattr(operation, "weights", ())]
        before = (needed[id(tensor)] for tensor in inputs_of(operation))
        names = needed[id(operation.output)] = frozenset([operation.name]).union(*before)
        if shapes and Counter(shape for name in names for shape in own[name]) == shapes:
            last = operation
    return last
