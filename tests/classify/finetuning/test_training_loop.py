"""Training on a small network in place of the top: epochs, kills, early stops, little memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.classify.errors import RunError
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.steps import Steps, create_adam, create_strategy
from headbench.classify.finetuning.training_inputs import InputBatch
from headbench.classify.finetuning.training_loop import Checkpoint, Loop, State, filled_batches
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow
from tests.conftest import Bar, listen

SETTINGS = FinetuneSettings(epochs=4, patience=9, learning_rate=0.01, batch_size=8)


@dataclass
class Points:
    """Points in a plane that straight lines divide, two classes or six."""

    inputs: np.ndarray
    labels: np.ndarray

    @classmethod
    def draw(cls, n: int, seed: int, n_classes: int = 2) -> "Points":
        inputs = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
        if n_classes > 2:
            angle = np.arctan2(inputs[:, 0], inputs[:, 1]) / (2 * np.pi) + 0.5
            return cls(inputs, (angle * n_classes).astype(np.int32) % n_classes)
        return cls(inputs, (inputs.sum(axis=1) > 0).astype(np.int32))

    def batches(self, order: np.ndarray, size: int, seed: tuple[int, int]) -> Iterator[InputBatch]:
        del seed
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield InputBatch(rows, self.inputs[rows])


def new_steps(dropout: float, n_classes: int = 2) -> Steps:
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Dense(16, activation="relu"), layers.Dropout(dropout)]
    stack = [*hidden, layers.Dense(n_classes)]
    model = keras.Sequential([keras.Input((2,)), *stack])
    variables = model.trainable_variables
    optimizer = create_adam(variables, [1.0] * len(variables), 0.0)
    return Steps(None, model, optimizer, create_strategy(Devices("cpu", ("CPU:0",))), 0.0)


def loop(
    folder: Path,
    settings: FinetuneSettings = SETTINGS,
    dropout: float = 0.0,
    n_classes: int = 2,
) -> Loop:
    checkpoint = Checkpoint(folder, {"settings": repr(replace(settings, epochs=0))})
    train, val = (Points.draw(n, seed, n_classes) for n, seed in ((60, 0), (40, 1)))
    steps = new_steps(dropout, n_classes)
    return Loop(steps, train, val, np.ones(60), settings, checkpoint)


def weights(trained: Loop) -> list[np.ndarray]:
    return [variable.numpy() for variable in trained._steps.model.weights]


def kill_in_epoch(monkeypatch: pytest.MonkeyPatch, trained: Loop, epoch: int) -> None:
    """Stop training as a kill would: in the middle of an epoch."""
    train, calls = trained._steps.train, [0]

    def step(*batch: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8 * (epoch - 1) + 4:
            raise KeyboardInterrupt
        return train(*batch)

    monkeypatch.setattr(trained._steps, "train", step)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_killed_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    # With Dropout: the states of random numbers have to be kept too.
    whole = loop(tmp_path / "whole", dropout=0.2)
    expected = whole.run()
    killed = loop(tmp_path / "killed", dropout=0.2)
    kill_in_epoch(monkeypatch, killed, epoch)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    said = listen()
    resumed = loop(tmp_path / "killed", dropout=0.2)
    state = resumed.run()
    assert said[0].startswith(f"resuming after epoch {epoch - 1}")
    assert state.history == expected.history
    assert state.best_epoch == expected.best_epoch
    for found, wanted in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_it_learns_and_the_best_epoch_is_put_back(tmp_path: Path) -> None:
    trained = loop(tmp_path, replace(SETTINGS, epochs=8, learning_rate=0.05))
    state = trained.run()
    curve = state.history["val_top1"]
    assert len(curve) == 9
    assert len(state.history["train_loss"]) == 8
    assert state.best_epoch > 0
    assert curve[state.best_epoch] > 0.9
    order = np.arange(40)
    [batch] = trained._val.batches(order, 40, (0, 0))
    proba = trained._steps.proba(batch.inputs)
    assert (proba.argmax(axis=1) == trained._val.labels).mean() == pytest.approx(
        curve[state.best_epoch]
    )


def test_each_epoch_and_each_measurement_is_counted_by_images(
    tmp_path: Path, bars: list[Bar]
) -> None:
    loop(tmp_path, replace(SETTINGS, epochs=2)).run()
    shown = ["measure on val", "epoch 1 of 2", "measure on val", "epoch 2 of 2", "measure on val"]
    assert [bar.desc for bar in bars] == shown
    assert all(bar.n == bar.total > 0 and bar.is_closed for bar in bars)


@pytest.mark.parametrize(("rate", "is_too_high"), [(0.01, False), (50.0, True), (1e38, True)])
def test_a_log_loss_that_explodes_is_laid_to_the_learning_rate(
    tmp_path: Path, rate: float, is_too_high: bool
) -> None:
    said = listen()
    loop(tmp_path, replace(SETTINGS, epochs=2, learning_rate=rate)).run()
    told = [line for line in said if "log loss on val rose from" in line]
    assert bool(told) == is_too_high
    for line in told:
        assert f"the learning rate {rate:g} is too high" in line
        assert f"--learning-rate {rate / 10:g}" in line


def test_with_more_than_five_classes_the_top_5_is_measured(tmp_path: Path) -> None:
    trained = loop(tmp_path, replace(SETTINGS, learning_rate=0.0), n_classes=6)
    state = trained.run()
    found = {}
    for split, points in (("train", trained._train), ("val", trained._val)):
        proba = trained._steps.proba(points.inputs)
        # Among five of six: but for the least probable class.
        found[split] = float((proba.argmin(axis=1) != points.labels).mean())
        curve = state.history[f"{split}_top5"]
        assert curve == pytest.approx([found[split]] * len(curve))
    assert 0 < found["train"] < 1
    assert len(state.history["val_top5"]) == len(state.history["train_top5"]) + 1


def test_with_two_classes_there_is_no_top_5(tmp_path: Path) -> None:
    assert "val_top5" not in loop(tmp_path).run().history


def test_the_log_loss_at_its_best_temperature_chooses_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch that is right about one image more, and less sure of the others, is not better."""
    trained = loop(tmp_path, replace(SETTINGS, epochs=2))
    y = trained._val.labels
    sure = np.where(np.eye(2)[y] > 0, 0.9, 0.1).astype(np.float32)
    sure[0] = 0.6, 0.4
    sure[0] = sure[0] if y[0] else sure[0][::-1]  # wrong, but not by much
    unsure = np.where(np.eye(2)[y] > 0, 0.51, 0.49).astype(np.float32)  # all right
    unsure[1:20] = np.where(np.eye(2)[y[1:20]] > 0, 0.500001, 0.499999)
    overconfident = sure**6 / (sure**6).sum(axis=1, keepdims=True)  # the order of the first
    probas = iter([sure, unsure, overconfident])
    monkeypatch.setattr(trained, "_proba", lambda: next(probas))
    state = trained.run()
    assert state.history["val_top1"][1] > state.history["val_top1"][0]
    assert state.history["val_log_loss"][2] != state.history["val_log_loss"][0]
    assert state.best_epoch == 0


def test_an_epoch_that_harms_is_undone(tmp_path: Path) -> None:
    trained = loop(tmp_path, replace(SETTINGS, epochs=1, learning_rate=0.05))
    # A network that is right already, on labels that are wrong from here on.
    before = loop(tmp_path / "before", replace(SETTINGS, epochs=20, learning_rate=0.05))
    before.run()
    for variable, value in zip(trained._steps.model.weights, weights(before), strict=True):
        variable.assign(value)
    trained._train.labels = 1 - trained._train.labels
    state = trained.run()
    assert state.best_epoch == 0
    assert state.history["val_top1"][1] < state.history["val_top1"][0]
    for found, wanted in zip(weights(trained), weights(before), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_it_stops_when_nothing_is_gained_for_so_many_epochs(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=50, patience=2, learning_rate=0.0)
    state = loop(tmp_path, settings).run()
    assert state.epoch == 2


def test_images_are_seen_in_another_order_in_every_epoch_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, seen = loop(tmp_path, replace(SETTINGS, epochs=2)), []
    batches = Points.batches

    def noting(self: Points, order: np.ndarray, *rest: Any) -> Iterator[InputBatch]:
        seen.append(order.tolist())
        return batches(self, order, *rest)

    monkeypatch.setattr(Points, "batches", noting)
    trained.run()
    # The last of the batches of eight is filled up with four of its own.
    orders = [order for order in seen if len(order) == 64]
    assert len(orders) == 2
    assert orders[0] != orders[1]
    for order in orders:
        assert sorted(order[:60]) == list(range(60))
        assert order[60:] == order[56:60]


def test_the_last_batch_is_filled_up_with_images_that_count_nothing() -> None:
    order = np.array([6, 2, 0, 5, 1, 4, 3])
    weights = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5])
    batches = filled_batches(order, weights, 3, 4)
    assert batches.rows.tolist() == [[6, 2, 0, 6], [5, 1, 4, 5], [3, 3, 3, 3]]
    assert batches.weights.tolist() == [[3.5, 1.5, 0.5, 0], [3, 1, 2.5, 0], [2, 0, 0, 0]]
    assert batches.n_images.tolist() == [3, 3, 1]


def test_out_of_memory_begins_the_epoch_again_in_shares_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loop(tmp_path / "room").run()
    said = listen()
    cramped = loop(tmp_path / "cramped")
    train, calls = cramped._steps.train, [0]

    def step(*batch: Any) -> Any:
        calls[0] += 1
        # In the middle of an epoch, when some weights have changed already.
        if calls[0] > 3 and cramped._steps.n_shares < 4:
            raise load_tensorflow().errors.ResourceExhaustedError(None, None, "OOM")
        return train(*batch)

    monkeypatch.setattr(cramped._steps, "train", step)
    state = cramped.run()
    assert cramped._steps.n_shares == 4
    assert sum("out of memory" in line for line in said) == 2
    np.testing.assert_allclose(
        state.history["train_loss"], expected.history["train_loss"], rtol=1e-4
    )


def test_without_room_for_a_single_image_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cramped = loop(tmp_path)

    def step(*_: Any) -> Any:
        raise load_tensorflow().errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(cramped._steps, "train", step)
    with pytest.raises(RunError, match="out of memory with a single image"):
        cramped.run()


def test_a_checkpoint_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    loop(tmp_path).run()
    said = listen()
    loop(tmp_path, replace(SETTINGS, learning_rate=0.02)).run()
    assert said[0].startswith("epoch 0")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.save(State(weights=[np.arange(3.0)]))
    assert checkpoint.load().weights[0].tolist() == [0, 1, 2]
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:100])
    with pytest.raises(RunError, match="Delete it and run the same command again"):
        checkpoint.load()
