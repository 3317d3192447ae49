"""Epochs: train, measure on val, keep the best, stop early.

A checkpoint is saved after every epoch. A killed run resumes from it, to the same result.
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
from headbench.cache.progress import Progress
from headbench.cache.untrusted import parse_json
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import LARGEST, check_fields, check_proba, load_numbers
from headbench.classify.errors import RunError, loading
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.steps import Steps, learning_rate
from headbench.classify.finetuning.training_inputs import Inputs
from headbench.classify.heads.curves import Curves
from headbench.classify.heads.temperature import fit_temperature, sharpen
from headbench.classify.metrics import TOP_K, accuracy, mean_log_loss
from headbench.classify.wording import percent
from headbench.extract.networks.keras_runtime import load_tensorflow

LOG = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.npz"
FACTS = "facts"
# Times the log loss before training, or that of random guessing; overfitting stays below.
EXPLODED = 2
LISTS = ("weights", "best_weights")


@dataclass
class State:
    """The state of training after an epoch.

    Attributes
    ----------
    epoch : int
        Number of finished epochs.
    best_loss : float
        Calibrated log loss on val after the best epoch.
    history : dict of str to list of float
        Curves so far.
    weights : list of array
        Trained weights, moments of Adam and states of random number generators.
    best_weights : list of array
        Trained weights after the best epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: dict[str, list[float]] = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)
    best_weights: list[NDArray[Any]] = field(default_factory=list)


class Checkpoint:
    """The last finished epoch, on disk.

    Parameters
    ----------
    identity : mapping
        Everything that decides the result, JSON-ready. A checkpoint with another is not used.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / CHECKPOINT_FILE
        self._identity = json.dumps(identity, sort_keys=True)

    def load(self) -> State | None:
        """The last finished epoch of an interrupted run with the same identity, or None.

        Raises `RunError` if the file is damaged.
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
        """Replace the checkpoint; may raise `StorageError`."""
        kept = vars(state) | {"identity": self._identity}
        arrays = {
            f"{name}/{row}": each for name in LISTS for row, each in enumerate(kept.pop(name))
        }
        with replacing(self.path) as temporary:
            save_arrays(temporary, {FACTS: np.array(json.dumps(kept)), **arrays})

    def remove(self) -> None:
        """Delete the checkpoint at the end of training."""
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
        # With the states of random number generators, which are not weights.
        self._changing = [*steps.model.variables, *steps.optimizer.variables]
        self._n_classes = int(steps.model.output_shape[-1])

    def run(self) -> State:
        """Train to the end, restore the weights of the best epoch, and return the last state."""
        state = self._checkpoint.load()
        if state is None:
            state = State(history=Curves(self._n_classes).history)
            proba = self._proba()
            with loading(Path(self._settings.start)):
                check_proba(proba)
            self.measure(state, proba)
        else:
            LOG.info(f"resuming after epoch {state.epoch}, from {self._checkpoint.path}")
            with loading(self._checkpoint.path, "Delete it and run the same command again."):
                self._restore(state)
        patience = self._settings.patience
        while state.epoch < min(self._settings.epochs, state.best_epoch + patience):
            sums, proba = self.epoch(state), self._proba()
            if not (np.isfinite(sums).all() and np.isfinite(proba).all()):
                self._say_if_exploded([*state.history["val_log_loss"], np.nan])
                break  # the best epoch so far stays
            state.epoch += 1
            self._add_train(state, sums)
            self.measure(state, proba)
        for variable, value in zip(self._kept, state.best_weights, strict=True):
            variable.assign(value)
        return state

    def epoch(self, state: State) -> NDArray[np.float64]:
        """Train on every image once; if memory runs out, start again with smaller parts."""
        out_of_memory = load_tensorflow().errors.ResourceExhaustedError
        batch_size = self._steps.padded_size(self._settings.batch_size)
        try:
            return self._pass(state.epoch + 1, batch_size)
        except out_of_memory as error:
            if self._steps.n_shares >= batch_size:
                raise RunError(
                    "out of memory with a single image. Train less of the network (--unfreeze "
                    "block5), or extract smaller images (headbench features DATA --size PX)."
                ) from error
        self._steps.halve()
        LOG.info(
            f"out of memory with batches of {self._settings.batch_size} images: the epoch starts "
            f"again with each batch in {self._steps.n_shares} parts"
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
        with Progress(f"epoch {epoch} of {self._settings.epochs}", n_images) as progress:
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

        The best epoch has the smallest log loss, as for heads: accuracy is too coarse. The log loss
        is calibrated: at the temperature that the network gets if this epoch is kept.
        """
        y, curves = self._val.labels, Curves(self._n_classes)
        ones = np.ones(len(y))
        loss = curves.add_val(y, proba, ones)
        calibrated = mean_log_loss(y, sharpen(proba, fit_temperature(proba, y, ones)), ones)
        for name, values in curves.history.items():
            state.history[name] += values
        top1 = accuracy(y, proba)
        LOG.info(
            f"epoch {state.epoch}: val accuracy {percent(top1)} (n = {top1.n}), log loss "
            f"{loss:.3f}, calibrated {calibrated:.3f}"
        )
        self._say_if_exploded(state.history["val_log_loss"])
        if calibrated < state.best_loss:
            state.best_epoch, state.best_loss = state.epoch, calibrated
            state.best_weights = [variable.numpy() for variable in self._kept]
        state.weights = [variable.numpy() for variable in self._changing]
        self._checkpoint.save(state)

    def _say_if_exploded(self, losses: list[float]) -> None:
        """Log that the learning rate is too high if it made the log loss far worse."""
        guess, rate = float(np.log(self._n_classes)), self._settings.learning_rate
        if not losses[-1] <= EXPLODED * max(losses[0], guess):  # or it is NaN
            LOG.info(
                f"note: the log loss on val rose from {losses[0]:.3f} to {losses[-1]:.3f} (random "
                f"guessing has {guess:.3f}): the learning rate {rate:g} is too high. Stop and try "
                f"--learning-rate {rate / 10:g}."
            )

    def _proba(self) -> NDArray[np.float32]:
        order = np.arange(len(self._val.labels))
        batches = self._val.batches(order, self._settings.batch_size, (0, 0))
        probas = []
        with Progress("measure on val", len(order)) as progress:
            for batch in batches:
                probas.append(self._steps.proba(batch.inputs))
                progress.update(len(batch.rows))
        return np.concatenate(probas)

    def _restore(self, state: State) -> None:
        for variable, value in zip(self._changing, state.weights, strict=True):
            variable.assign(value)


class FilledBatches(NamedTuple):
    """The batches of an epoch, all of one shape, so that TensorFlow traces a step only once.

    Attributes
    ----------
    rows : int (n_steps, padded_size)
        Images of each batch.
    weights : float (n_steps, padded_size)
        Weight of each image; 0 for one that only fills the batch up.
    n_images : int (n_steps,)
        Images in each batch, without those that fill it up.
    """

    rows: NDArray[np.intp]
    weights: NDArray[np.floating]
    n_images: NDArray[np.intp]


def filled_batches(
    order: NDArray[np.intp], weights: NDArray[np.floating], batch_size: int, padded_size: int
) -> FilledBatches:
    """Images in batches, each filled up by repeating its own images.

    Parameters
    ----------
    order : int (n_images,)
    weights : float (n_images,)
        Weight of each image, not in that order.
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
