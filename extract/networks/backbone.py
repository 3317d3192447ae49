"""Backbones by name, as extraction and prediction use them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.extract.errors import DataError, WeightsError
from headbench.extract.images.resizing import Resizing, resizing_of
from headbench.extract.images.stream import Batch, DecodedImage, in_batches
from headbench.extract.networks.applications import (
    BACKBONES,
    HUB,
    MEAN_COLOR,
    NETWORKS,
    OWN_MODEL,
    declared_as,
    is_hub,
    is_own_model,
)
from headbench.extract.networks.engines import Embedded, Embedder
from headbench.extract.networks.keras_hub_network import HubNetwork, hub_name, hub_px
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.own_model import OwnModel, own_px
from headbench.extract.settings import (
    AVG,
    CROP,
    FLOAT32,
    IMAGENET,
    MAX,
    ONE,
    POOLINGS,
    USUAL_PX,
    Runtime,
)
from headbench.extract.stopwatch import Stopwatch

LARGEST_PX = 2048
# Number of images on which a network is checked: the first ones to be embedded.
N_SAMPLE = 4


class Openable(Protocol):
    """A network that is loaded when it is needed."""

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        """Load the network; `sample` are some of the images to come."""


class Backbone(Openable, Protocol):
    """What extraction needs of a network."""

    @property
    def size_px(self) -> int:
        """Height and width of its images."""

    @property
    def dim(self) -> int:
        """Length of an embedding; loads a model of the user's own."""

    @property
    def identity(self) -> Identity:
        """What determines its embeddings; imports TensorFlow only to download weights."""


@dataclass(frozen=True)
class MeanColor:
    """Mean red, green and blue of an image: no network, no weights; for tests and trials."""

    size_px: int
    resize: str = CROP
    dim: int = 3

    @property
    def identity(self) -> Identity:
        """What determines its embeddings."""
        return Identity(
            backbone=MEAN_COLOR,
            weights_hash="none",
            preprocessing="none: RGB 0-255",
            size_px=self.size_px,
            resize=Resizing(self.size_px, self.resize).words,
            pooling=POOLINGS[0],
            precision=FLOAT32,
        )

    def open(
        self,
        runtime: Runtime,
        sample: NDArray[np.uint8],  # noqa: ARG002, there is nothing to check
        stopwatch: Stopwatch,  # noqa: ARG002
    ) -> Embedder:
        """The embedder that computes the means."""
        return MeanColorEmbedder(runtime.batch_size or 32)


def embed_mean_color(batches: Iterable[Batch]) -> Iterator[Embedded]:
    """Mean red, green and blue of each image, float32 (n, 3), 0-255: a stand-in for a network."""
    for rows, images in batches:
        yield Embedded(rows, images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32))


@dataclass(frozen=True)
class MeanColorEmbedder:
    """Computes the means, batch by batch."""

    batch_size: int
    n_streams: int = 1

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean colours of images, float32 (n, 3)."""
        [embedded] = embed_mean_color([Batch(np.arange(len(images)), images)])
        return embedded.embeddings

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Embedded]:
        """Embeddings of batches of images, in order."""
        return embed_mean_color(batches)


def create_backbone(
    name: str,
    weights_source: str,
    size_px: int | None = None,
    pooling: str = POOLINGS[0],
    precision: str = FLOAT32,
    *,
    resize: str = CROP,
    layer: str = "",
    views: str = ONE,
    preprocessing: str | None = None,
) -> Backbone:
    """A backbone by name or by the path of a model, not loaded.

    Raises `DataError` for an unknown name or an impossible size; whether it has a `layer` turns out
    when it is loaded. Without a size it is the model's own, or 224. `preprocessing` is a key of
    `PREPROCESSINGS`, for a model of the user's own.
    """
    _check_belonging(name, weights_source, pooling, preprocessing)
    options = {"pooling": pooling, "precision": precision, "resize": resize}
    options |= {"layer": layer, "views": views}
    if is_own_model(name):
        px = own_px(name, size_px, preprocessing) or USUAL_PX
        _check_size(name, px, 1)
        return OwnModel(OWN_MODEL, name, px, **options, declared=str(preprocessing))
    if is_hub(name):
        px = hub_px(name, size_px) or USUAL_PX
        _check_size(name, px, 1)
        return HubNetwork(hub_name(name), name, px, **options)
    px = USUAL_PX if size_px is None else size_px
    _check_size(name, px, NETWORKS[name].smallest_px if name in NETWORKS else 1)
    if name == MEAN_COLOR:
        if layer or views != ONE:
            option = f"--layer {layer}" if layer else f"--views {views}"
            raise DataError(f"{option}: {name} has no layers and takes one view. Name a network.")
        return MeanColor(px, resize)
    return KerasBackbone(name, weights_source, px, **options)


def _check_belonging(
    name: str, weights_source: str, pooling: str, preprocessing: str | None
) -> None:
    """Raise `DataError` for an unknown name, and for options that it does not take."""
    brings_weights = is_own_model(name) or is_hub(name)
    if not brings_weights and name not in BACKBONES:
        raise DataError(
            f"unknown backbone {name!r}: expected one of {', '.join(BACKBONES)}, the path of a "
            f"Keras model (.keras, .h5), or {HUB}PRESET of KerasHub."
        )
    if brings_weights and weights_source not in (IMAGENET, name):
        raise DataError(f"weights {weights_source}: {name} has its own. Leave --weights out.")
    if not is_hub(name) and pooling not in (AVG, MAX):
        raise DataError(f"pooling {pooling}: {name} has no class token. Take {AVG} or {MAX}.")
    if not is_own_model(name) and preprocessing is not None:
        raise DataError(
            f"preprocessing {preprocessing}: {name} has its own. Leave --preprocessing out."
        )


def _check_size(name: str, size_px: int, smallest_px: int) -> None:
    if not smallest_px <= size_px <= LARGEST_PX:
        raise DataError(f"size {size_px}: {name} takes {smallest_px} to {LARGEST_PX} px (--size).")


def reopen_backbone(identity: Identity, weights_source: str) -> Backbone:
    """The backbone that made embeddings of this identity, with weights from `weights_source`.

    Raises `WeightsError` if the weights, or the preprocessing of this version, are different;
    `DataError` if this version lacks its resize rule.
    """
    options: dict[str, Any] = {
        "size_px": identity.size_px,
        "pooling": identity.pooling,
        "precision": identity.precision,
        "resize": resizing_of(identity).rule,
        "layer": identity.layer,
        "views": identity.views or ONE,
    }
    backbone: Backbone
    if identity.backbone == OWN_MODEL:
        declared = declared_as(identity.preprocessing)
        backbone = OwnModel(OWN_MODEL, weights_source, **options, declared=declared)
    elif is_hub(identity.backbone):
        backbone = HubNetwork(hub_name(weights_source), weights_source, **options)
    else:
        backbone = create_backbone(identity.backbone, weights_source, **options)
    differences = identity.differences(backbone.identity)
    if differences:
        raise WeightsError(
            f"weights {weights_source}: the features were made with another network "
            f"({'; '.join(differences)}). Give the weights that made them: --weights PATH."
        )
    return backbone


def embed_images(
    network: Openable, images: Iterator[DecodedImage], runtime: Runtime, stopwatch: Stopwatch
) -> Iterator[Embedded]:
    """Embed decoded images, in order; the network is loaded only if there are any."""
    first = list(islice(images, N_SAMPLE))
    if first:
        sample = np.stack([each.image for each in first])
        with stopwatch.measure("load"):
            embedder = network.open(runtime, sample, stopwatch)
        yield from embedder(in_batches(chain(first, images), embedder.batch_size))
