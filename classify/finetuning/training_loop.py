"""Epochs: train, measure on val, keep the best, stop early.

After every epoch a checkpoint is saved: a killed run goes on from there, to the same result.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replacing
from headbench.cache.untrusted import parse_json
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import LARGEST, check_fields, check_proba, load_numbers
from headbench.classify.errors import RunError, loading
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.steps import Steps, learning_rate
from headbench.classify.finetuning.training_inputs import Inputs
from headbench.classify.heads.curves import Curves
from headbench.classify.heads.temperature import fit_temperature, sharpen
from headbench.classify.metrics import TOP_K, accuracy, mean_log_loss, top5_accuracy
from headbench.classify.wording import percent
from headbench.extract.networks.keras_runtime import load_tensorflow
from headbench.extract.progress import Progress

LOG = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.npz"
FACTS = "facts"
# Times the log loss before training, or that of a random guess, which overfitting does not reach.
EXPLODED = 2
LISTS = ("weights", "best_weights")


@dataclass
class State:
    """The state of training after an epoch.

    Attributes
    ----------
    epoch : int
        Finished epochs.
    best_loss : float
        Calibrated log loss on val of the best epoch.
    history : dict of str to list of float
        Curves so far.
    weights : list of array
        Weights that train, moments of Adam, states of random numbers.
    best_weights : list of array
        Weights that train, after the best epoch.
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
    identity : mapping
        Everything that decides the result, JSON-ready: a checkpoint of another is not used.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / CHECKPOINT_FILE
        self._identity = json.dumps(identity, sort_keys=True)

    def load(self) -> State | None:
        """The last finished epoch of an interrupted run of the same training, or None.

        `RunError` says that the file is damaged.
        """
        if not self.path.exists():
            return None
        with loading(self.path, "Delete it and run the same command again."):
            arrays = load_numbers(self.path)
            facts = parse_json(str(arrays.pop(FACTS)))
            if facts.pop("identity") != self._identity:
                return None
            state = State(**facts | {name: _numbered(arrays, name) for name in LISTS})
            check_fields(State, {**vars(state), "best_loss": min(state.best_loss, LARGEST)})
            return state

    def save(self, state: State) -> None:
        """Replace the checkpoint, or raise `StorageError`."""
        kept = vars(state) | {"identity": self._identity}
        arrays = {
            f"{name}/{row}": each for name in LISTS for row, each in enumerate(kept.pop(name))
        }
        with replacing(self.path) as temporary:
            save_arrays(temporary, {FACTS: np.array(json.dumps(kept)), **arrays})

    def remove(self) -> None:
        """Delete it: training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Loop:
    """Training of one network.

    Parameters
    ----------
    weights : float (n_train,)
        Weight of each image of train.
    """

    def __init__(
        self,
        steps: Steps,
        train: Inputs,
        val: Inputs,
        weights: NDArray[np.floating],
        settings: FinetuneSettings,
        checkpoint: Checkpoint,
    ) -> None:
        self._steps, self._train, self._val, self._weights = steps, train, val, weights
        self._settings, self._checkpoint = settings, checkpoint
        self._kept = steps.model.weights
        # Includes the states of random numbers, which are no weights.
        self._changing = [*steps.model.variables, *steps.optimizer.variables]
        self._n_classes = int(steps.model.output_shape[-1])

    def run(self) -> State:
        """Train to the end and put the weights of the best epoch back; the last state."""
        state = self._checkpoint.load()
        if state is None:
            state = State(history=Curves(self._n_classes).history)
            proba = self._proba()
            with loading(Path(self._settings.start)):
                check_proba(proba)
            self.measure(state, proba)
        else:
            LOG.info(f"going on after epoch {state.epoch}, from {self._checkpoint.path}")
            with loading(self._checkpoint.path, "Delete it and run the same command again."):
                self._restore(state)
        patience = self._settings.patience
        while state.epoch < min(self._settings.epochs, state.best_epoch + patience):
            sums, proba = self.epoch(state), self._proba()
            if not (np.isfinite(sums).all() and np.isfinite(proba).all()):
                self._say_if_exploded([*state.history["val_log_loss"], np.nan])
                break  # the best epoch so far is kept
            state.epoch += 1
            self._add_train(state, sums)
            self.measure(state, proba)
        for variable, value in zip(self._kept, state.best_weights, strict=True):
            variable.assign(value)
        return state

    def epoch(self, state: State) -> NDArray[np.float64]:
        """Every image once; if memory runs out, the epoch starts again in smaller shares."""
        out_of_memory = load_tensorflow().errors.ResourceExhaustedError
        batch_size = self._steps.padded_size(self._settings.batch_size)
        try:
            return self._pass(state.epoch + 1, batch_size)
        except out_of_memory as error:
            if self._steps.n_shares >= batch_size:
                raise RunError(
                    "out of memory with a single image: train less of the network (make: "
                    "UNFREEZE=block5), or extract at a smaller SIZE."
                ) from error
        self._steps.halve()
        LOG.info(
            f"out of memory with a batch of {self._settings.batch_size}: the epoch begins again, "
            f"each gradient in {self._steps.n_shares} shares"
        )
        self._restore(state)
        return self.epoch(state)

    def _pass(self, epoch: int, batch_size: int) -> NDArray[np.float64]:
        seed = (self._settings.seed, epoch)
        n_images = len(self._train.labels)
        order = np.random.default_rng(seed).permutation(n_images)
        batches = filled_batches(order, self._weights, self._settings.batch_size, batch_size)
        n_steps = len(batches.rows)
        sums: Any = 0.0
        with Progress(f"epoch {epoch}", n_images) as progress:
            read = self._train.batches(batches.rows.ravel(), batch_size, seed)
            for number, (rows, inputs) in enumerate(read):
                step = (epoch - 1) * n_steps + number
                self._steps.optimizer.learning_rate = learning_rate(
                    self._settings, step, n_steps * self._settings.epochs
                )
                labels, weights = self._train.labels[rows], batches.weights[number]
                sums = sums + self._steps.train(inputs, labels, weights)
                progress.update(int(batches.n_images[number]))
            return np.asarray(sums, dtype=np.float64)

    def _add_train(self, state: State, sums: NDArray[np.float64]) -> None:
        loss, top1, top5 = sums[:3] / sums[3]
        state.history["train_loss"].append(float(loss))
        state.history["train_top1"].append(float(top1))
        if self._n_classes > TOP_K:
            state.history["train_top5"].append(float(top5))

    def measure(self, state: State, proba: NDArray[np.float32]) -> None:
        """Measure the network on val and save a checkpoint.

        The best epoch is that with the smallest log loss, as for heads: accuracy is too coarse. It
        is measured at the temperature that the network will get if it is kept.
        """
        y, curves = self._val.labels, Curves(self._n_classes)
        ones = np.ones(len(y))
        loss = curves.add_val(y, proba, ones)
        calibrated = mean_log_loss(y, sharpen(proba, fit_temperature(proba, y, ones)), ones)
        for name, values in curves.history.items():
            state.history[name] += values
        top1, top5 = accuracy(y, proba), top5_accuracy(y, proba)
        among_five = f", top-5 {percent(top5)}" if top5 else ""
        LOG.info(
            f"epoch {state.epoch}: val top-1 {percent(top1)}{among_five} (n={top1.n}), "
            f"log loss {loss:.3f}, calibrated {calibrated:.3f}"
        )
        self._say_if_exploded(state.history["val_log_loss"])
        if calibrated < state.best_loss:
            state.best_epoch, state.best_loss = state.epoch, calibrated
            state.best_weights = [variable.numpy() for variable in self._kept]
        state.weights = [variable.numpy() for variable in self._changing]
        self._checkpoint.save(state)

    def _say_if_exploded(self, losses: list[float]) -> None:
        """Log that the learning rate is too high, where it made the log loss far worse."""
        guess, rate = float(np.log(self._n_classes)), self._settings.learning_rate
        if not losses[-1] <= EXPLODED * max(losses[0], guess):  # or it is NaN
            LOG.info(
                f"note: the log loss on val exploded, from {losses[0]:.3f} to {losses[-1]:.3f} "
                f"({guess:.3f} is a random guess): the learning rate of {rate:g} is too high. Stop "
                f"and try --learning-rate {rate / 10:g} (make: LEARNING_RATE={rate / 10:g})."
            )

    def _proba(self) -> NDArray[np.float32]:
        order = np.arange(len(self._val.labels))
        batches = self._val.batches(order, self._settings.batch_size, (0, 0))
        return np.concatenate([self._steps.proba(batch.inputs) for batch in batches])

    def _restore(self, state: State) -> None:
        for variable, value in zip(self._changing, state.weights, strict=True):
            variable.assign(value)


class FilledBatches(NamedTuple):
    """The batches of an epoch, all of one shape, so that TensorFlow traces a step once.

    Attributes
    ----------
    rows : int (n_steps, padded_size)
        Images of each batch.
    weights : float (n_steps, padded_size)
        Weight of each image; 0 for one that only fills the batch.
    n_images : int (n_steps,)
        Images in each batch, without those that fill it.
    """

    rows: NDArray[np.intp]
    weights: NDArray[np.floating]
    n_images: NDArray[np.intp]


def filled_batches(
    order: NDArray[np.intp], weights: NDArray[np.floating], batch_size: int, padded_size: int
) -> FilledBatches:
    """Images in batches, each filled up with images of its own.

    Parameters
    ----------
    order : int (n_images,)
    weights : float (n_images,)
        Of each image, not in that order.
    batch_size, padded_size : int
        Size of a batch before and after it is filled up.
    """
    batches = np.split(order, range(batch_size, len(order), batch_size))
    n_images = np.array([len(batch) for batch in batches])
    rows = np.stack([np.resize(batch, padded_size) for batch in batches])
    return FilledBatches(
        rows, weights[rows] * (np.arange(padded_size) < n_images[:, None]), n_images
    )


def _numbered(arrays: Mapping[str, NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    n_arrays = sum(name.startswith(f"{kind}/") for name in arrays)
    return [arrays[f"{kind}/{row}"] for row in range(n_arrays)]
