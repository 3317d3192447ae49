"""Epochs: train, measure on val, keep the best, stop when nothing is gained."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.errors import RunError
from classify.finetuning.batching import padded_size, part_of
from classify.finetuning.checkpoint import Checkpoint, State
from classify.finetuning.inputs import Inputs
from classify.finetuning.optimizer import learning_rate
from classify.finetuning.settings import FinetuneSettings
from classify.finetuning.steps import Steps
from classify.finetuning.team import Team
from classify.heads.curves import Curves
from classify.heads.temperature import fit_temperature, sharpen
from classify.metrics import TOP_K, accuracy, mean_log_loss, top5_accuracy
from classify.wording import percent
from extract.keras_runtime import load_tensorflow
from extract.progress import Progress


class Loop:
    """Training of one network.

    Parameters
    ----------
    steps : Steps
    train, val : Inputs
    weights : float (n_train,)
        What each image of train counts for.
    settings : FinetuneSettings
    checkpoint : Checkpoint
    say : callable
        Told what happens, a line at a time.
    team : Team
        Each of its workers runs the same loop on its part of every batch.
    """

    def __init__(
        self,
        steps: Steps,
        train: Inputs,
        val: Inputs,
        weights: NDArray[np.floating],
        settings: FinetuneSettings,
        checkpoint: Checkpoint,
        say: Callable[[str], None],
        team: Team,
    ) -> None:
        self._team = team
        self._steps, self._train, self._val, self._weights = steps, train, val, weights
        self._settings, self._checkpoint, self._say = settings, checkpoint, say
        self._kept = steps.model.weights
        # With the states of random numbers, which are no weights.
        self._changing = [*steps.model.variables, *steps.optimizer.variables]
        self._n_classes = int(steps.model.output_shape[-1])

    def run(self) -> State:
        """Train to the end and put the weights of the best epoch back.

        Returns
        -------
        State
            After the last epoch that was run.
        """
        state = self._checkpoint.load()
        self._team.require_same(state and state.epoch)
        if state is None:
            state = State(history=Curves(self._n_classes).history)
            self.measure(state)
        else:
            self._say(f"going on after epoch {state.epoch}, which {self._checkpoint.path} holds")
            self._restore(state)
        while state.epoch < self._settings.epochs and not self._is_over(state):
            state.epoch += 1
            self._add_train(state, self.epoch(state))
            self.measure(state)
        for variable, value in zip(self._kept, state.best_weights, strict=True):
            variable.assign(value)
        return state

    def _is_over(self, state: State) -> bool:
        return state.epoch - state.best_epoch >= self._settings.patience

    def epoch(self, state: State) -> NDArray[np.float64]:
        """Every image once; where memory runs out, again from the start in smaller shares."""
        out_of_memory = load_tensorflow().errors.ResourceExhaustedError
        batch_size = padded_size(self._settings.batch_size, self._steps)
        try:
            return self._pass(state.epoch, batch_size)
        except out_of_memory as error:
            self._require_smaller(batch_size, error)
        self._steps.halve()
        self._say(
            f"out of memory with a batch of {self._settings.batch_size}: the epoch begins again, "
            f"each gradient in {self._steps.n_shares} shares"
        )
        self._restore(state)
        return self.epoch(state)

    def _require_smaller(self, batch_size: int, error: Exception) -> None:
        """Refuse to go on after a lack of memory where smaller shares cannot help."""
        if self._steps.n_shares >= batch_size:
            raise RunError(
                "out of memory with a single image: make less trainable (make: UNFREEZE=block5), "
                "or extract at a smaller SIZE."
            ) from error
        if not self._team.workers.is_alone:
            # The others are in the middle of the step.
            raise RunError(
                f"{self._team.workers}: out of memory with its part of a batch of "
                f"{self._settings.batch_size}. Start all workers again with a smaller --batch-size."
            ) from error

    def _pass(self, epoch: int, batch_size: int) -> NDArray[np.float64]:
        seed = (self._settings.seed, epoch)
        n_images = len(self._train.labels)
        order = np.random.default_rng(seed).permutation(n_images)
        part = part_of(
            self._team.workers, order, self._weights, self._settings.batch_size, batch_size
        )
        n_steps, part_size = part.rows.shape
        sums: Any = 0.0
        with Progress(f"epoch {epoch}", n_images) as progress:
            batches = self._train.batches(part.rows.ravel(), part_size, seed)
            for number, (rows, inputs) in enumerate(batches):
                step = (epoch - 1) * n_steps + number
                self._steps.optimizer.learning_rate = learning_rate(
                    self._settings, step, n_steps * self._settings.epochs
                )
                labels, weights = self._train.labels[rows], part.weights[number]
                sums = sums + self._steps.train(inputs, labels, weights, part.totals[number])
                progress.update(int(part.n_images[number]))
            return np.asarray(sums, dtype=np.float64)

    def _add_train(self, state: State, sums: NDArray[np.float64]) -> None:
        loss, top1, top5 = sums[:3] / sums[3]
        state.history["train_loss"].append(float(loss))
        state.history["train_top1"].append(float(top1))
        if self._n_classes > TOP_K:
            state.history["train_top5"].append(float(top5))

    def measure(self, state: State) -> None:
        """Note how the network does on val, and keep what is needed to go on from here.

        What chooses is the log loss, as for heads: one image more or less that is right says
        little. It is taken at the temperature that the network will get if it is kept.
        """
        y, curves = self._val.labels, Curves(self._n_classes)
        proba, ones = self._proba(), np.ones(len(y))
        loss = curves.add_val(y, proba, ones)
        calibrated = mean_log_loss(y, sharpen(proba, fit_temperature(proba, y, ones)), ones)
        for name, values in curves.history.items():
            state.history[name] += values
        top1, top5 = accuracy(y, proba), top5_accuracy(y, proba)
        among_five = f", top-5 {percent(top5)}" if top5 else ""
        self._say(
            f"epoch {state.epoch}: val top-1 {percent(top1)}{among_five} (n={top1.n}), "
            f"log loss {loss:.3f}, calibrated {calibrated:.3f}"
        )
        # Else rounding could have workers end after different epochs.
        calibrated = self._team.agree(calibrated)
        if calibrated < state.best_loss:
            state.best_epoch, state.best_loss = state.epoch, calibrated
            state.best_weights = [variable.numpy() for variable in self._kept]
        state.weights = [variable.numpy() for variable in self._changing]
        if self._team.workers.is_chief:
            self._checkpoint.save(state)

    def _proba(self) -> NDArray[np.float32]:
        order = np.arange(len(self._val.labels))
        batches = self._val.batches(order, self._settings.batch_size, (0, 0))
        return np.concatenate([self._steps.proba(batch.inputs) for batch in batches])

    def _restore(self, state: State) -> None:
        for variable, value in zip(self._changing, state.weights, strict=True):
            variable.assign(value)
