"""The origin's own model and its epochs."""

import re
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.anatomy import batch_norms
from headbench.classify.origin.origin_model import (
    EmbeddingInputs,
    Epoch,
    digest,
    freeze_as_keras_2_2,
    head_alone,
    keras_line,
    origin_model,
    run_epochs,
)
from tests.conftest import listen

LINE = re.compile(
    r" - \d+s - loss: \d+\.\d{4} - acc: \d\.\d{4} - top_k_categorical_accuracy: \d\.\d{4}"
    r" - val_loss: \d+\.\d{4} - val_acc: \d\.\d{4} - val_top_k_categorical_accuracy: \d\.\d{4}"
)


def test_an_epoch_reads_as_keras_2_printed_it() -> None:
    epoch = Epoch(715.2, 3.01231, 0.31, 0.6, 4.7, 1 / 101, 5 / 101)
    assert keras_line(epoch) == (
        " - 715s - loss: 3.0123 - acc: 0.3100 - top_k_categorical_accuracy: 0.6000"
        " - val_loss: 4.7000 - val_acc: 0.0099 - val_top_k_categorical_accuracy: 0.0495"
    )


def test_small_numbers_are_powers_of_ten_as_they_were() -> None:
    epoch = Epoch(1.0, 0.00034, 0.0, 1.0, 1.0, 1.0, 1.0)
    assert "loss: 3.4000e-04 - acc: 0.0000e+00 -" in keras_line(epoch)


@pytest.mark.parametrize("n_classes", [3, 8])
def test_epochs_are_printed_learn_and_repeat_with_the_seed(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(240, dtype=np.int32) % n_classes
    clear = np.eye(n_classes)[labels] + 0.1 * rng.standard_normal((240, n_classes))
    inputs = EmbeddingInputs(clear.astype(np.float32), labels)
    rows = np.arange(40, 240), np.arange(40)

    def run() -> tuple[list[Epoch], np.ndarray, list[str]]:
        said = listen()
        model = head_alone(n_classes, n_classes, seed=1)
        return *run_epochs(model, inputs, rows, 3, 32, 1), said

    epochs, proba, said = run()
    assert said[::2] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert all(LINE.fullmatch(line) for line in said[1::2])
    assert len(epochs) == 3
    assert epochs[-1].loss < epochs[0].loss
    # Of the model as it stands at the end, by hand.
    assert epochs[-1].val_acc == np.mean(proba.argmax(axis=1) == labels[:40])
    expected = -np.log(proba[np.arange(40), labels[:40]]).mean()
    assert epochs[-1].val_loss == pytest.approx(expected, rel=1e-5)
    again, other, _ = run()
    np.testing.assert_array_equal(proba, other)
    assert [each[1:] for each in again] == [each[1:] for each in epochs]


def test_with_five_classes_and_fewer_top_5_is_always_right() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    inputs = EmbeddingInputs(rng.standard_normal((60, 4)).astype(np.float32), labels)
    model = head_alone(4, 3, seed=0)
    rows = np.arange(20, 60), np.arange(20)
    [epoch], _ = run_epochs(model, inputs, rows, 1, 32, 0)
    assert (epoch.top5, epoch.val_top5) == (1.0, 1.0)


N_CLASSES = 7


@pytest.fixture
def frozen(base: Any) -> Any:
    """The network as Keras 2.2 froze it."""
    freeze_as_keras_2_2(base)
    return base


def batch(n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, 32, 32, 3), dtype=np.float32), rng.integers(N_CLASSES, size=n)


def test_the_network_is_the_same_bit_for_bit_after_training(frozen: Any) -> None:
    before = digest(frozen)
    model = origin_model(frozen, N_CLASSES, 0)
    head = [layer.get_weights() for layer in model.layers[1:]]
    for _ in range(3):
        model.train_on_batch(*batch())
    assert digest(frozen) == before
    after = [layer.get_weights() for layer in model.layers[1:]]
    assert any(
        not np.array_equal(old, new)
        for one, other in zip(head, after, strict=True)
        for old, new in zip(one, other, strict=True)
    )


def test_the_digest_sees_a_single_moving_mean(frozen: Any) -> None:
    before, [first, *_] = digest(frozen), batch_norms(frozen)
    kept = first.moving_mean.numpy()
    changed = kept.copy()
    changed[0] = np.nextafter(changed[0], np.float32(1))
    first.moving_mean.assign(changed)
    assert digest(frozen) != before
    first.moving_mean.assign(kept)
    assert digest(frozen) == before


def test_only_the_head_trains(frozen: Any) -> None:
    model = origin_model(frozen, N_CLASSES, 0)
    shapes = [tuple(each.shape) for each in model.trainable_variables]
    assert shapes == [(8,), (8,), (8, 512), (512,), (512, N_CLASSES), (N_CLASSES,)]


def test_in_training_an_embedding_depends_on_its_neighbours_and_in_inference_not(
    frozen: Any,
) -> None:
    pixels, _ = batch()
    for training, is_alike in ((True, False), (False, True)):
        among_eight = np.asarray(frozen(pixels, training=training))[:4]
        among_four = np.asarray(frozen(pixels[:4], training=training))
        assert np.allclose(among_eight, among_four, rtol=1e-4, atol=1e-5) is is_alike


def test_the_head_alone_begins_with_the_weights_of_the_whole_model(frozen: Any) -> None:
    whole, alone = origin_model(frozen, N_CLASSES, 5), head_alone(8, N_CLASSES, 5)
    for one, other in zip(whole.layers[1:], alone.layers, strict=True):
        for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)
