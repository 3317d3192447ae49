"""Where training stands after an epoch: what a killed run goes on from, to the same result."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.disk import replacing
from classify.arrays import load_arrays, save_arrays
from classify.errors import loading

CHECKPOINT_FILE = "checkpoint.npz"
FACTS = "facts"


@dataclass
class State:
    """Training after an epoch.

    Attributes
    ----------
    epoch : int
        Epochs that are done; 0 before any.
    best_epoch : int
    best_loss : float
        Log loss on val of that epoch, calibrated.
    history : dict of str to list of float
        Curves so far.
    weights : list of array
        Of what trains, moments of Adam, states of random numbers.
    best_weights : list of array
        Of what trains, after the best epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: dict[str, list[float]] = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    best_weights: list[NDArray[Any]] = field(default_factory=list)


class Checkpoint:
    """The last finished epoch of one way of training, on disk.

    Parameters
    ----------
    folder : Path
    identity : mapping
        Whatever decides the result, JSON-ready: a checkpoint of anything else is not taken up.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / CHECKPOINT_FILE
        self._identity = json.dumps(identity, sort_keys=True)

    def load(self) -> State | None:
        """Where an interrupted run of the same training stood; None if there is none.

        Raises
        ------
        RunError
            If the file is damaged.
        """
        if not self.path.exists():
            return None
        with loading(self.path, "Delete it and run the same command again."):
            arrays = load_arrays(self.path)
            facts = json.loads(str(arrays.pop(FACTS)))
            if facts.pop("identity") != self._identity:
                return None
            return State(
                **facts,
                weights=_numbered(arrays, "weights"),
                best_weights=_numbered(arrays, "best"),
            )

    def save(self, state: State) -> None:
        """Keep a state in place of the one before.

        Raises
        ------
        StorageError
        """
        facts = {
            "identity": self._identity,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_loss": state.best_loss,
            "history": state.history,
        }
        arrays = {f"weights/{row}": each for row, each in enumerate(state.weights)}
        arrays |= {f"best/{row}": each for row, each in enumerate(state.best_weights)}
        with replacing(self.path) as temporary:
            save_arrays(temporary, {FACTS: np.array(json.dumps(facts)), **arrays})

    def remove(self) -> None:
        """Forget it: the training is over."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _numbered(arrays: Mapping[str, NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    n_arrays = sum(name.startswith(f"{kind}/") for name in arrays)
    return [arrays[f"{kind}/{row}"] for row in range(n_arrays)]
