"""The last feature map of a network, before the average over positions that makes its embedding."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.extract.errors import WeightsError
from headbench.extract.networks.converted import key_of
from headbench.extract.networks.cut import global_poolings, inputs_of
from headbench.extract.networks.engines import Embedder
from headbench.extract.networks.folding import base_of
from headbench.extract.networks.keras_network import (
    TOLERANCES,
    KerasNetwork,
    OpenableNetwork,
    open_network,
)
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.trunk import maker_of
from headbench.extract.settings import AVG, Runtime
from headbench.extract.stopwatch import Stopwatch

# Positions along a side: fewer show no place in the picture.
FEWEST = 3


class NoMapError(WeightsError):
    """A network whose embedding is not the mean over the positions of a feature map."""


def may_have_map(identity: Identity) -> bool:
    """Whether an embedding can be the mean over the positions of one map; loads nothing."""
    return identity.pooling == AVG and not identity.views and "," not in identity.layer


@dataclass(frozen=True)
class FeatureMaps:
    """A network up to its last feature map, opened as the network itself is.

    It gives float32 (n, side * side * dim), positions row by row, channels last: the mean over the
    positions is the embedding, except for rounding.
    """

    network: KerasNetwork

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        """See `KerasNetwork.open`; `NoMapError` for a network that does not end in a mean."""
        network = self.network
        forms = OpenableNetwork(
            f"{network.name}, feature map",
            key_of(f"feature map {network.identity.fingerprint}"),
            lambda: network.with_preprocessing(self._base()),
            self._fold,
            network.precision,
            TOLERANCES[network.precision],
        )
        return open_network(forms, runtime, sample, stopwatch)

    def _base(self) -> Any:
        """Without the average over positions that it ends in: its last map, flattened."""
        network, name = self.network.base(), self.network.name
        last = maker_of(network, network.output)
        if not isinstance(last, global_poolings("Average")):
            raise NoMapError(
                f"{name}: expected an average at its end, found {type(last).__name__}."
            )
        [positions] = inputs_of(last)
        side = math.isqrt(math.prod(positions.shape[1:-1]))
        if side < FEWEST or side**2 != math.prod(positions.shape[1:-1]):
            raise NoMapError(
                f"{name}: expected a square map of {FEWEST} positions a side or more, found "
                f"{positions.shape[1:]}."
            )
        flat = load_keras().layers.Reshape((-1,), name="positions")(positions)
        return load_keras().Model(network.input, flat, name=name)

    def _fold(self, untouched: Any, policy: str) -> Any:
        base = self._base() if untouched is None else base_of(untouched)
        return self.network.folded_network(base, policy)
