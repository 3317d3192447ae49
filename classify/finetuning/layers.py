"""Which layers train, how deep each lies, and where the frozen part can be cut off."""

from difflib import get_close_matches
from typing import Any

from classify.errors import RunError
from extract.networks import Network

N_BLOCKS = {"block5": 1, "block4": 2}


def trained_layers(base: Any, facts: Network, unfreeze: str) -> list[str]:
    """Names of the layers that train, in their order; no BatchNormalization is among them.

    Parameters
    ----------
    base : keras.Model
        The network without preprocessing.
    facts : Network
    unfreeze : str
        See `FinetuneSettings`.

    Raises
    ------
    RunError
        If no layer has that name, or none would train.
    """
    names = [layer.name for layer in base.layers]
    if unfreeze in N_BLOCKS:
        prefixes = sum(facts.blocks[: N_BLOCKS[unfreeze]], ())
        chosen = {name for name in names if name.startswith(prefixes)}
    elif unfreeze == "all":
        chosen = set(names)
    elif unfreeze == "half":
        chosen = set(names[len(names) // 2 :])
    elif unfreeze in names:
        chosen = set(names[names.index(unfreeze) :])
    else:
        raise RunError(_unknown(unfreeze, names, facts))
    trained = [
        layer.name
        for layer in base.layers
        if layer.name in chosen and layer.weights and not _is_batch_norm(layer)
    ]
    if not trained:
        raise RunError(
            f"--unfreeze {unfreeze}: no layer with weights follows. Name an earlier one."
        )
    return trained


def depth_of(layer: str, facts: Network) -> int:
    """How deep a layer lies: 0 in the last block, 1 in the one before."""
    for depth, prefixes in enumerate(facts.blocks):
        if layer.startswith(prefixes):
            return depth
    return len(facts.blocks)


def find_cut(base: Any, trained: list[str]) -> Any:
    """The last tensor that all of the frozen part goes through, before any layer that trains.

    Parameters
    ----------
    base : keras.Model
        Functional, with one input.
    trained : list of str
        Names of layers; not empty.

    Returns
    -------
    KerasTensor
        The network's own input where nothing is frozen before it.
    """
    operations = list(base.operations)
    first = next(row for row, each in enumerate(operations) if each.name in set(trained))
    last_use: dict[int, int] = {}
    for row, operation in enumerate(operations):
        for tensor in inputs_of(operation):
            last_use[id(tensor)] = row
    open_tensors: dict[int, Any] = {}
    cut = base.input
    for row, operation in enumerate(operations[:first]):
        open_tensors[id(operation.output)] = operation.output
        open_tensors = {key: it for key, it in open_tensors.items() if last_use.get(key, -1) > row}
        if len(open_tensors) == 1:
            [cut] = open_tensors.values()
    return cut


def inputs_of(operation: Any) -> list[Any]:
    """The tensors that a layer, or an operation of a functional network, takes."""
    try:
        inputs = operation.input
    except AttributeError:
        # An input layer takes none.
        return []
    return inputs if isinstance(inputs, list) else [inputs]


def common_stride(base: Any, cut: Any) -> int:
    """Which of the rows and columns of the cut are used at all: every one, or every second.

    The blocks of ResNets begin with convolutions of 1x1 and stride 2, which look at a quarter of
    the activations. Only those need to be kept.

    Parameters
    ----------
    base : keras.Model
    cut : KerasTensor
    """
    readers = readers_of(base, cut)
    strides = {tuple(getattr(each, "strides", (1, 1))) for each in readers if _is_pointwise(each)}
    if not all(map(_is_pointwise, readers)) or len(strides) != 1:
        return 1
    rows, columns = strides.pop()
    return int(rows) if rows == columns else 1


def readers_of(base: Any, tensor: Any) -> list[Any]:
    """The layers of a functional network that take a tensor."""
    return [each for each in base.operations if any(it is tensor for it in inputs_of(each))]


def _is_pointwise(layer: Any) -> bool:
    return type(layer).__name__ == "Conv2D" and tuple(layer.kernel_size) == (1, 1)


def _is_batch_norm(layer: Any) -> bool:
    return type(layer).__name__ == "BatchNormalization"


def _unknown(unfreeze: str, names: list[str], facts: Network) -> str:
    close = get_close_matches(unfreeze, names, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return (
        f"--unfreeze {unfreeze}: expected {', '.join(N_BLOCKS)}, half, all, or the name of a layer "
        f"of {facts.application} (from {names[1]} to {names[-1]}).{hint}"
    )
