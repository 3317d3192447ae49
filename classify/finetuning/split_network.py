"""Cut a network into a frozen part and a top that trains, and join the two again.

The cut is at the last tensor that everything behind it depends on. What follows, with the layers
that train, is called the top.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headbench.classify.errors import RunError
from headbench.classify.run import FINETUNED
from headbench.extract.networks.cut import inputs_of, nearest
from headbench.extract.networks.folding import fold_batch_norms
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.trunk import NO_BLOCK, trunk_of
from headbench.extract.settings import FLOAT32

TOP = "top"
N_BLOCKS = {"block5": 1, "block4": 2}


@dataclass(frozen=True)
class SplitNetwork:
    """A network, cut where the part that trains begins.

    Attributes
    ----------
    base : keras.Model
        The whole network without preprocessing, in float32.
    cut : KerasTensor
        Of `base`: the input of the top.
    stride : int
        The top uses only every `stride`-th row and column of the cut.
    trained : list of str
        Names of the layers of `base` that train.
    depths : mapping of str to int
        Block of each layer of `base`, counted from the end.
    """

    backbone: KerasNetwork
    base: Any
    cut: Any
    stride: int
    trained: list[str]
    depths: Mapping[str, int]

    @classmethod
    def open(cls, backbone: KerasNetwork, unfreeze: str) -> "SplitNetwork":
        """Load a network and cut it; may raise `RunError` or `WeightsError`."""
        base = backbone.base()
        depths = backbone.depths_of(base)
        trained = trained_layers(base, depths, unfreeze)
        cut = find_cut(base, trained)
        return cls(backbone, base, cut, common_stride(base, cut), trained, depths)

    @property
    def has_frozen_part(self) -> bool:
        """Whether a layer with weights lies before the cut."""
        return any(layer.weights for layer in self._before_cut().layers)

    @property
    def cut_name(self) -> str:
        """Name of the layer before the cut, and the stride."""
        layer = next(each for each in self.base.operations if each.output is self.cut)
        after = f", every {self.stride}nd row and column" if self.stride > 1 else ""
        return f"{layer.name}{after}"

    def frozen_part(self) -> Any:
        """The frozen part with preprocessing, BatchNormalization folded.

        It takes uint8 (n, size_px, size_px, 3), RGB, 0-255, and gives the input of the top.
        """
        keras = load_keras()
        folded = fold_batch_norms(self._before_cut())
        if self.stride > 1:
            used = folded.output[:, :: self.stride, :: self.stride, :]
            folded = keras.Model(folded.input, used)
        return self.backbone.with_preprocessing(folded)

    def top(self, dtype: str) -> Any:
        """A copy of what follows the cut, of which only `trained` trains.

        It gives embeddings (n, dim). `dtype` is that of the arithmetic; weights stay float32.
        """
        keras = load_keras()
        original = keras.Model(self.cut, self.base.output)
        inputs = keras.Input(_strided(self.cut.shape, self.stride), dtype=FLOAT32)
        readers = {layer.name for layer in readers_of(self.base, self.cut)}

        def copy(layer: Any) -> Any:
            config = layer.get_config()
            if "dtype" in config:
                config["dtype"] = dtype
            if self.stride > 1 and layer.name in readers:
                config["strides"] = (1, 1)
            return layer.__class__.from_config(config)

        top = keras.models.clone_model(original, input_tensors=inputs, clone_function=copy)
        top.name = TOP
        self._copy_weights(self.base, top)
        for layer in top.layers:
            layer.trainable = layer.name in set(self.trained)
        # Layers of KerasHub have others inside.
        for layer in filter(_is_batch_norm, top._flatten_layers()):
            layer.trainable = False
        return top

    def whole(self, top: Any, head: Any) -> Any:
        """The whole network with the trained weights of the top, and a head that gives proba.

        It takes uint8 (n, size_px, size_px, 3), RGB, 0-255, and gives float32 (n, n_classes).
        """
        self._copy_weights(top, self.base)
        network = self.backbone.with_preprocessing(self.base)
        return load_keras().Model(network.input, head(network.output), name=FINETUNED)

    def _copy_weights(self, source: Any, target: Any) -> None:
        of_target = {layer.name: layer for layer in target.layers}
        for layer in source.layers:
            if layer.weights and layer.name in of_target:
                of_target[layer.name].set_weights(layer.get_weights())

    def _before_cut(self) -> Any:
        return load_keras().Model(self.base.input, self.cut)


def _strided(shape: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Shape for one image, (height, width, channels), of every `stride`-th row and column."""
    *area, channels = shape[1:]
    return (*(-(-length // stride) for length in area), channels)


def trained_layers(base: Any, depths: Mapping[str, int], unfreeze: str) -> list[str]:
    """Names of the layers that train, in their order; no BatchNormalization is among them.

    `depths` is the block of each layer, counted from the end. For `unfreeze` see
    `FinetuneSettings`.

    Raises
    ------
    RunError
        If no layer has that name, or none would train.
    """
    names = [layer.name for layer in base.layers]
    if unfreeze in N_BLOCKS and min(depths.values()) >= NO_BLOCK:
        raise RunError(
            f"--unfreeze {unfreeze}: {base.name} has no blocks, as the size of its feature maps "
            "never halves. Name the layer from which on it trains, half or all. Its layers: "
            f"{', '.join(layer.name for layer in base.layers if layer.weights)}."
        )
    if unfreeze in N_BLOCKS:
        chosen = {name for name in names if depths[name] < N_BLOCKS[unfreeze]}
    elif unfreeze == "all":
        chosen = set(names)
    elif unfreeze == "half":
        chosen = set(names[len(names) // 2 :])
    elif unfreeze in names:
        chosen = set(names[names.index(unfreeze) :])
    else:
        raise RunError(
            f"--unfreeze {unfreeze}: expected {', '.join(N_BLOCKS)}, half, all, or the name of a "
            f"layer of {base.name} (from {names[1]} to {names[-1]}).{nearest(unfreeze, names)}"
        )
    trained = [
        layer.name
        for layer in base.layers
        if layer.name in chosen and layer.weights and not _is_batch_norm(layer)
    ]
    if not trained:
        raise RunError(
            f"--unfreeze {unfreeze}: expected a layer with weights there or after it, found none. "
            "Name an earlier layer."
        )
    return trained


def find_cut(base: Any, trained: list[str]) -> Any:
    """The last tensor before the first layer that trains on which everything after it depends.

    If nothing is frozen before it, this is the network's own input. `base` is functional, with one
    input; `trained` names layers.
    """
    first = next(row for row, each in enumerate(base.operations) if each.name in set(trained))
    before = [tensor for row, tensor in trunk_of(base) if row < first]
    return before[-1] if before else base.input


def common_stride(base: Any, cut: Any) -> int:
    """Stride of the rows and columns of the cut that the next layers read: 1 for all of them.

    The blocks of ResNets begin with convolutions of 1x1 and stride 2, which read a quarter of the
    activations. Only those need to be kept.
    """
    readers = readers_of(base, cut)
    strides = {tuple(getattr(each, "strides", (1, 1))) for each in readers if _is_pointwise(each)}
    if not all(map(_is_pointwise, readers)) or len(strides) != 1:
        return 1
    rows, columns = strides.pop()
    return int(rows) if rows == columns else 1


def readers_of(base: Any, tensor: Any) -> list[Any]:
    """The layers of a functional network that read a tensor."""
    return [each for each in base.operations if any(it is tensor for it in inputs_of(each))]


def _is_pointwise(layer: Any) -> bool:
    return type(layer).__name__ == "Conv2D" and tuple(layer.kernel_size) == (1, 1)


def _is_batch_norm(layer: Any) -> bool:
    return type(layer).__name__ == "BatchNormalization"
