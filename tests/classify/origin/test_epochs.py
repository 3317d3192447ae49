import re

import numpy as np
import pytest

from headbench.classify.origin.epochs import EmbeddingInputs, Epoch, keras_line, run_epochs
from headbench.classify.origin.origin_model import head_alone
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
