"""The backbone of a run, fed with pixels as people scale them, right or wrong."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache.fingerprint import Identity
from classify.heads.streaming import row_blocks
from extract.backbones import MEAN_COLOR, reopen_backbone
from extract.batch_statistics import batch_norms, batch_statistics
from extract.keras_backbone import KerasBackbone
from extract.keras_runtime import forbid_tensor_float_32
from extract.scalings import SCALINGS, Scaling, taken_by

# Images of a batch in most scripts: Keras' own default.
BATCH_SIZE = 32


@dataclass(frozen=True)
class Condition:
    """How embeddings may have been made.

    Attributes
    ----------
    scaling : Scaling
        Of pixels.
    by_batch : bool
        Whether BatchNormalization took the statistics of the batch, as it does in training.
    """

    scaling: Scaling
    by_batch: bool = False

    @property
    def words(self) -> str:
        """Scaling and mode."""
        return f"{self.scaling.name}, {'batch statistics' if self.by_batch else 'inference mode'}"


class Rerun(Protocol):
    """What gives embeddings anew."""

    @property
    def declared(self) -> Condition:
        """How they should have been made."""

    @property
    def conditions(self) -> list[Condition]:
        """How they may have been made, `declared` first."""

    def embed(self, images: NDArray[np.uint8], condition: Condition) -> NDArray[np.float32]:
        """Embeddings, float32 (n, dim), of uint8 (n, size_px, size_px, 3) in batches of 32."""


@dataclass(frozen=True)
class MeanColorRerun:
    """The mean colours of images."""

    declared: Condition = Condition(SCALINGS["raw"])

    @property
    def conditions(self) -> list[Condition]:
        """There is no mode: nothing is normalised."""
        return _conditions(self.declared, has_batch_norms=False)

    def embed(self, images: NDArray[np.uint8], condition: Condition) -> NDArray[np.float32]:
        """Scaling changes a mean just as it changes each pixel."""
        return condition.scaling(images.mean(axis=(1, 2), dtype=np.float64))


class NetworkRerun:
    """A network of keras.applications, in float32.

    Parameters
    ----------
    backbone : KerasBackbone

    Raises
    ------
    WeightsError
        If the weights are those of another network.
    """

    def __init__(self, backbone: KerasBackbone) -> None:
        forbid_tensor_float_32()
        self.declared = Condition(taken_by(backbone.facts.preprocessing))
        self._base = backbone.base()
        self._base.trainable = False
        self._norms = batch_norms(self._base)

    @property
    def conditions(self) -> list[Condition]:
        """Every scaling, in both modes where there is BatchNormalization."""
        return _conditions(self.declared, bool(self._norms))

    def embed(self, images: NDArray[np.uint8], condition: Condition) -> NDArray[np.float32]:
        """Run the network."""
        mode = batch_statistics(self._norms) if condition.by_batch else nullcontext()
        with mode:
            return np.concatenate(
                [
                    np.asarray(self._base(condition.scaling(images[rows]), training=False))
                    for rows in row_blocks(len(images), BATCH_SIZE)
                ]
            )


def open_rerun(identity: Identity, weights: str) -> Rerun:
    """The backbone that made some embeddings.

    Parameters
    ----------
    identity : Identity
        Of the embeddings.
    weights : str
        Where its weights are now.

    Raises
    ------
    WeightsError
        If they are not there, or are others.
    """
    backbone = reopen_backbone(identity, weights)
    if identity.backbone == MEAN_COLOR:
        return MeanColorRerun()
    assert isinstance(backbone, KerasBackbone)  # noqa: S101, the only other kind
    return NetworkRerun(backbone)


def _conditions(declared: Condition, has_batch_norms: bool) -> list[Condition]:
    modes = (False, True) if has_batch_norms else (False,)
    every = [Condition(scaling, mode) for mode in modes for scaling in SCALINGS.values()]
    return sorted(every, key=lambda each: each != declared)
