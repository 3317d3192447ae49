"""A backbone: a frozen network together with its own preprocessing, and the identity of both.

To add a network of keras.applications, add a row to `BACKBONES`.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

from cache.fingerprint import Identity
from extract.decode import resize_rule
from extract.embedder import Embedded, NetworkEmbedder, embed_mean_color
from extract.errors import DataError, WeightsError
from extract.keras_runtime import load_keras
from extract.stream import Batch
from extract.weights import (
    IMAGENET,
    RANDOM_SEED,
    WAY_OUT,
    Weights,
    check_shapes,
    resolve_weights,
)

POOLING = "avg"
PRECISION = "float32"
LARGEST_PX = 2048


class Backbone(Protocol):
    """What extraction and prediction need of a network."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def smallest_px(self) -> int:
        """Height and width of the smallest image that it takes."""

    @property
    def identity(self) -> Identity:
        """What decides its embeddings. Never imports TensorFlow, unless weights must be fetched."""

    def embed(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""


@dataclass(frozen=True)
class KerasBackbone:
    """A network of keras.applications without its top, pooled, in inference mode.

    Attributes
    ----------
    weights_source : str
        ``imagenet``, ``random`` or a path.
    size_px : int
        Height and width of the input.
    name : str
        Name in the fingerprint.
    application : str
        Name of the function in keras.applications.
    module : str
        Module of keras.applications that holds its `preprocess_input`.
    preprocessing : str
        What that function does, in words: part of the fingerprint.
    imagenet_file : str
        Name that Keras gives the file of its ImageNet weights.
    dim : int
        Length of an embedding.
    smallest_px : int
        Smallest input that the network takes.
    last_block : str
        How the names of the layers of its last block begin: what fine-tuning trains.
    """

    weights_source: str
    size_px: int
    name: str
    application: str
    module: str
    preprocessing: str
    imagenet_file: str
    dim: int
    smallest_px: int
    last_block: str

    @cached_property
    def weights(self) -> Weights:
        """The weights, found or fetched."""
        return resolve_weights(self.weights_source, self.imagenet_file, self._fetch)

    @cached_property
    def identity(self) -> Identity:
        """What decides its embeddings."""
        return _identity(self.name, self.weights.hash, self.preprocessing, self.size_px)

    def network(self) -> Any:
        """Build the network and load its weights; every layer is frozen.

        Returns
        -------
        keras.Model
            Takes uint8 (n, size_px, size_px, 3), RGB, 0-255, with the preprocessing inside; gives
            float32 (n, dim).

        Raises
        ------
        WeightsError
            If the weights are those of another network.
        """
        keras = load_keras()
        inputs = keras.Input((self.size_px, self.size_px, 3), dtype="uint8", name="rgb")
        preprocess_input = self._module().preprocess_input
        pixels = preprocess_input(keras.ops.cast(inputs, "float32"), data_format="channels_last")
        base = self._base()
        base.trainable = False
        return keras.Model(
            inputs, base(pixels, training=False), name=f"{self.name}_with_preprocessing"
        )

    def embed(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""
        return NetworkEmbedder(self.network())(batches)

    def _base(self) -> Any:
        path = self.weights.path
        if path is None:
            load_keras().utils.set_random_seed(RANDOM_SEED)
        base = getattr(self._module(), self.application)(
            include_top=False,
            weights=None,
            pooling=POOLING,
            input_shape=(self.size_px, self.size_px, 3),
        )
        if path is not None:
            check_shapes(path, [tuple(w.shape) for w in base.weights], self.application)
            try:
                base.load_weights(path)
            except (ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise WeightsError(
                    f"{path}: not weights of {self.application} ({reason}). {WAY_OUT}"
                ) from error
        return base

    def _module(self) -> Any:
        load_keras()
        return importlib.import_module(f"keras.applications.{self.module}")

    def _fetch(self) -> None:
        getattr(self._module(), self.application)(include_top=False, weights=IMAGENET)


@dataclass(frozen=True)
class MeanColor:
    """Mean red, green and blue: no network, no weights; for tests and to try things out.

    Attributes
    ----------
    weights_source : str
        Not used.
    size_px : int
    """

    weights_source: str
    size_px: int
    dim: int = 3
    smallest_px: int = 1

    @property
    def identity(self) -> Identity:
        """What decides its embeddings."""
        return _identity("mean-color", "none", "none: RGB 0-255", self.size_px)

    def embed(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""
        return embed_mean_color(batches)


BACKBONES: dict[str, Callable[[str, int], Backbone]] = {
    "resnet50": partial(
        KerasBackbone,
        name="resnet50",
        application="ResNet50",
        module="resnet50",
        preprocessing="caffe: RGB to BGR, minus mean (103.939, 116.779, 123.68), not scaled",
        imagenet_file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        dim=2048,
        smallest_px=32,
        last_block="conv5_",
    ),
    "mean-color": MeanColor,
}


def create_backbone(name: str, weights_source: str, size_px: int) -> Backbone:
    """A backbone by its name; nothing is loaded yet.

    Raises
    ------
    DataError
        If the name is unknown or the network cannot take images of that size.
    """
    if name not in BACKBONES:
        raise DataError(f"unknown backbone {name!r}: expected one of {', '.join(BACKBONES)}.")
    backbone = BACKBONES[name](weights_source, size_px)
    if not backbone.smallest_px <= size_px <= LARGEST_PX:
        raise DataError(
            f"size {size_px}: {name} takes {backbone.smallest_px} to {LARGEST_PX} px (--size)."
        )
    return backbone


def reopen_backbone(identity: Identity, weights_source: str) -> Backbone:
    """The backbone that made some embeddings, checked to be the same.

    Parameters
    ----------
    identity : Identity
        Of the embeddings.
    weights_source : str
        Where its weights are now.

    Raises
    ------
    WeightsError
        If the weights, or this version's preprocessing, differ from those of the embeddings.
    """
    backbone = create_backbone(identity.backbone, weights_source, identity.size_px)
    differences = identity.differences(backbone.identity)
    if differences:
        raise WeightsError(
            f"weights {weights_source}: the features were made with something else "
            f"({'; '.join(differences)}). Name the weights that made them, with --weights PATH."
        )
    return backbone


def _identity(name: str, weights_hash: str, preprocessing: str, size_px: int) -> Identity:
    return Identity(
        backbone=name,
        weights_hash=weights_hash,
        preprocessing=preprocessing,
        size_px=size_px,
        resize=resize_rule(size_px),
        pooling=POOLING,
        precision=PRECISION,
    )
