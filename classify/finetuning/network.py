"""The network in two parts, frozen trunk and training top, and how it is put together again."""

from dataclasses import dataclass
from typing import Any

from classify.finetuning.layers import common_stride, find_cut, readers_of, trained_layers
from classify.run import FINETUNED
from extract.folding import fold_batch_norms
from extract.keras_backbone import KerasBackbone
from extract.keras_runtime import load_keras
from extract.settings import FLOAT32

TOP = "top"


@dataclass(frozen=True)
class SplitNetwork:
    """A network, cut where the part that trains begins.

    Attributes
    ----------
    backbone : KerasBackbone
    base : keras.Model
        The whole network without preprocessing, in float32.
    cut : KerasTensor
        Of `base`; what the top takes.
    stride : int
        Of the rows and columns of the cut only every so many are used.
    trained : list of str
        Names of the layers of `base` that train.
    """

    backbone: KerasBackbone
    base: Any
    cut: Any
    stride: int
    trained: list[str]

    @classmethod
    def open(cls, backbone: KerasBackbone, unfreeze: str) -> "SplitNetwork":
        """Load a network and cut it.

        Raises
        ------
        RunError, WeightsError
        """
        base = backbone.base()
        trained = trained_layers(base, backbone.facts, unfreeze)
        cut = find_cut(base, trained)
        return cls(backbone, base, cut, common_stride(base, cut), trained)

    @property
    def has_frozen_trunk(self) -> bool:
        """Whether anything with weights is frozen before the cut."""
        return any(layer.weights for layer in self._trunk_alone().layers)

    @property
    def cut_name(self) -> str:
        """Of the layer after which the network is cut, and the stride."""
        after = f", every {self.stride}nd row and column" if self.stride > 1 else ""
        return f"{self._layer_of_cut().name}{after}"

    def trunk(self) -> Any:
        """The frozen part with preprocessing, BatchNormalization folded.

        Returns
        -------
        keras.Model
            Takes uint8 (n, size_px, size_px, 3), RGB, 0-255; gives float32 (n, height, width,
            channels), what the top takes.
        """
        keras = load_keras()
        folded = fold_batch_norms(self._trunk_alone())
        if self.stride > 1:
            used = folded.output[:, :: self.stride, :: self.stride, :]
            folded = keras.Model(folded.input, used)
        return self.backbone.with_preprocessing(folded)

    def top(self, dtype: str) -> Any:
        """A copy of what follows the cut, of which only `trained` trains.

        Parameters
        ----------
        dtype : {"float32", "mixed_float16"}
            Arithmetic; weights stay float32.

        Returns
        -------
        keras.Model
            Takes what the trunk gives; gives embeddings (n, dim).
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
        return top

    def whole(self, top: Any, head: Any) -> Any:
        """The whole network with what the top has learnt.

        Parameters
        ----------
        top : keras.Model
            As `top` gives it.
        head : keras.Model
            Embeddings to probabilities.

        Returns
        -------
        keras.Model
            Takes uint8 (n, size_px, size_px, 3), RGB, 0-255; gives float32 (n, n_classes).
        """
        self._copy_weights(top, self.base)
        network = self.backbone.with_preprocessing(self.base)
        return load_keras().Model(network.input, head(network.output), name=FINETUNED)

    def _copy_weights(self, source: Any, target: Any) -> None:
        of_target = {layer.name: layer for layer in target.layers}
        for layer in source.layers:
            if layer.weights and layer.name in of_target:
                of_target[layer.name].set_weights(layer.get_weights())

    def _trunk_alone(self) -> Any:
        return load_keras().Model(self.base.input, self.cut)

    def _layer_of_cut(self) -> Any:
        return next(each for each in self.base.operations if each.output is self.cut)


def _strided(shape: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Of one image: (height, width, channels), every so many rows and columns."""
    *area, channels = shape[1:]
    return (*(-(-length // stride) for length in area), channels)
