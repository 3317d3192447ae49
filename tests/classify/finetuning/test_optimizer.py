import numpy as np
import pytest

from classify.finetuning.optimizer import create_adam, learning_rate
from classify.finetuning.settings import CONSTANT, FinetuneSettings
from extract.keras_runtime import load_keras, load_tensorflow

SHAPES = [(3, 4), (4,)]


def variables() -> list:
    keras, rng = load_keras(), np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in SHAPES]


def gradients(step: int) -> list:
    rng, tf = np.random.default_rng([1, step]), load_tensorflow()
    return [tf.constant(rng.normal(size=shape), tf.float32) for shape in SHAPES]


def after(optimizer, trained: list, n_steps: int = 5) -> list[np.ndarray]:
    for step in range(n_steps):
        optimizer.apply(gradients(step), trained)
    return [variable.numpy() for variable in trained]


def test_with_one_rate_it_is_keras_own_adam() -> None:
    ours, theirs = variables(), variables()
    optimizer = create_adam(ours, [1.0, 1.0], 0.0)
    optimizer.learning_rate = 0.01
    expected = after(load_keras().optimizers.Adam(0.01), theirs)
    for a, b in zip(after(optimizer, ours), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_each_variable_has_its_rate() -> None:
    trained = variables()
    before = [variable.numpy() for variable in trained]
    optimizer = create_adam(trained, [1.0, 0.25], 0.0)
    optimizer.learning_rate = 0.01
    steps = [np.abs(a - b) for a, b in zip(after(optimizer, trained, 1), before, strict=True)]
    # The first step of Adam is as long as the rate, whatever the gradient.
    np.testing.assert_allclose(steps[0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(steps[1], 0.0025, rtol=1e-3)


def test_weight_decay_shrinks_kernels_and_no_bias() -> None:
    plain, decayed = variables(), variables()
    for trained, decay in ((plain, 0.0), (decayed, 0.5)):
        optimizer = create_adam(trained, [1.0, 1.0], decay)
        optimizer.learning_rate = 0.1
        after(optimizer, trained, 1)
    first = variables()[0].numpy()
    np.testing.assert_allclose(plain[0].numpy() - decayed[0].numpy(), 0.05 * first, rtol=1e-3)
    np.testing.assert_array_equal(plain[1].numpy(), decayed[1].numpy())


def test_the_rate_rises_then_falls_along_a_cosine() -> None:
    settings = FinetuneSettings(learning_rate=1.0, warmup=0.2)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert np.argmax(rates) == 20
    assert rates[0] == pytest.approx(1 / 21)
    assert rates[60] == pytest.approx(0.5, abs=0.01)
    assert rates[99] < 0.001
    assert all(np.diff(rates[:20]) > 0)
    assert all(np.diff(rates[20:]) < 0)


def test_a_constant_rate_stays() -> None:
    settings = FinetuneSettings(learning_rate=0.3, schedule=CONSTANT)
    assert {learning_rate(settings, step, 10) for step in range(10)} == {0.3}
