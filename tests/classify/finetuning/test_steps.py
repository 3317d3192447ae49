import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headbench.classify.finetuning.finetune_settings import CONSTANT, FinetuneSettings
from headbench.classify.finetuning.steps import Steps, create_adam, create_strategy, learning_rate
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow
from tests.conftest import ROOT

ONE = Devices("cpu", ("CPU:0",))


def small_steps(devices: Devices = ONE, smoothing: float = 0.0, dtype: str = "float32") -> Steps:
    """A frozen part that divides pixels, and two layers with a BatchNormalization between."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    strategy = create_strategy(devices)
    with strategy.scope():
        image = keras.Input((4, 4, 3), dtype="uint8")
        frozen = keras.Model(image, keras.ops.cast(image, "float32") / 128)
        layers = keras.layers
        norm = layers.BatchNormalization(dtype=dtype)
        model = keras.Sequential(
            [
                keras.Input((4, 4, 3)),
                layers.Conv2D(8, 3, dtype=dtype),
                norm,
                layers.GlobalAveragePooling2D(dtype=dtype),
                layers.Dense(6, dtype="float32"),
            ]
        )
        norm.trainable = False
        variables = model.trainable_variables
        optimizer = create_adam(variables, [1.0] * len(variables), 0.0)
        if dtype != "float32":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(variables)
    optimizer.learning_rate = 0.01
    return Steps(frozen, model, optimizer, strategy, smoothing)


def batch(n: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 4, 4, 3)).astype(np.float32)
    return inputs, rng.integers(0, 6, n), rng.uniform(0.5, 2, n)


def weights_after(steps: Steps, *batches: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    for each in batches:
        steps.train(*each)
    return [variable.numpy() for variable in steps.model.trainable_variables]


def assert_near(found: list[np.ndarray], expected: list[np.ndarray], atol: float = 1e-5) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_a_step_is_that_of_keras_on_the_same_loss() -> None:
    keras, ours, theirs = load_keras(), small_steps(), small_steps()
    inputs, labels, weights = batch()
    with theirs.strategy.scope():
        theirs.model.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
        )
        # Keras takes a sum of losses; Adam's first step has the length of the rate at any scale.
        theirs.model.train_on_batch(inputs, labels, weights / weights.sum())
    expected = [variable.numpy() for variable in theirs.model.trainable_variables]
    assert_near(weights_after(ours, batch()), expected)


@pytest.mark.parametrize("n_halvings", [1, 2, 3])
def test_in_shares_a_step_is_the_same(n_halvings: int) -> None:
    shared = small_steps()
    for _ in range(n_halvings):
        shared.halve()
    assert shared.n_shares == 2**n_halvings
    batches = [batch(seed=seed) for seed in range(3)]
    assert_near(weights_after(shared, *batches), weights_after(small_steps(), *batches))


def test_images_that_fill_a_batch_count_nothing() -> None:
    inputs, labels, weights = batch()
    filled = np.concatenate([inputs, 100 + inputs]), np.tile(labels, 2), np.resize(weights, 16)
    filled[2][8:] = 0
    assert_near(weights_after(small_steps(), filled), weights_after(small_steps(), batch()))


def test_sums_are_weighted_losses_and_right_answers() -> None:
    steps = small_steps()
    inputs, labels, weights = batch(32)
    proba = steps.proba(inputs)
    sums = np.asarray(steps.train(inputs, labels, weights))
    of_truth = proba[np.arange(32), labels]
    right = proba.argmax(axis=1) == labels
    among = (np.argsort(-proba)[:, :5] == labels[:, None]).any(axis=1)
    expected = [-np.log(of_truth) @ weights, right @ weights, among @ weights, weights.sum()]
    np.testing.assert_allclose(sums, expected, rtol=1e-4)


def test_label_smoothing_spreads_a_share_of_the_label_over_all_classes() -> None:
    steps, plain = small_steps(smoothing=0.3), small_steps()
    inputs, labels, weights = batch()
    log_proba = np.log(plain.proba(inputs))
    target = np.full((8, 6), 0.3 / 6)
    target[np.arange(8), labels] += 0.7
    expected = -(target * log_proba).sum(axis=1) @ weights
    assert float(np.asarray(steps.train(inputs, labels, weights))[0]) == pytest.approx(expected)


def test_images_go_through_the_frozen_part_and_activations_do_not() -> None:
    steps = small_steps()
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    activations = images.astype(np.float32) / 128
    np.testing.assert_allclose(steps.proba(images), steps.proba(activations), atol=1e-6)


def test_a_frozen_batch_normalization_does_not_move() -> None:
    steps = small_steps()
    norm = steps.model.layers[1]
    before = [variable.numpy() for variable in norm.variables]
    weights_after(steps, *[batch(seed=seed) for seed in range(3)])
    for old, new in zip(before, norm.variables, strict=True):
        np.testing.assert_array_equal(new.numpy(), old)


def test_in_float16_a_step_is_nearly_the_same() -> None:
    mixed = small_steps(dtype="mixed_float16")
    found = weights_after(mixed, *[batch(seed=seed) for seed in range(3)])
    expected = weights_after(small_steps(), *[batch(seed=seed) for seed in range(3)])
    assert_near(found, expected, atol=5e-3)
    assert {variable.dtype for variable in mixed.model.variables} == {"float32"}


# Two logical devices of the CPU stand in for two GPUs; in a process of its own, because devices
# cannot be divided once TensorFlow has started.
ON_TWO_DEVICES = """
import sys
import numpy as np
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_tensorflow

tf = load_tensorflow()
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.classify.finetuning.test_steps import batch, small_steps, weights_after

def require_copies(steps):
    for variable in steps.model.trainable_variables:
        np.testing.assert_array_equal(*tf.nest.flatten(variable.value.values))

for dtype, shares in (("float32", 1), ("float32", 2), ("mixed_float16", 1)):
    steps = small_steps(Devices("gpu", ("CPU:0", "CPU:1")), dtype=dtype)
    assert steps.n_devices == 2
    if shares == 2:
        steps.halve()
    found = weights_after(steps, *[batch(seed=seed) for seed in range(3)])
    require_copies(steps)
    np.savez(f"{sys.argv[1]}/{dtype}-{shares}.npz", *found)

# One device's gradient is infinite: neither takes the step.
inputs, labels, weights = batch()
inputs[4:] = 1e30
for after, before in zip(weights_after(steps, (inputs, labels, weights)), found, strict=True):
    np.testing.assert_array_equal(after, before)
require_copies(steps)
"""


@pytest.mark.long
def test_on_several_devices_a_step_is_the_same(tmp_path: Path) -> None:
    """In float16 also the one that is not taken, because one device's gradient is infinite."""
    arguments = [sys.executable, "-c", ON_TWO_DEVICES, tmp_path]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = weights_after(small_steps(), *[batch(seed=seed) for seed in range(3)])
    for name, atol in (("float32-1", 1e-5), ("float32-2", 1e-5), ("mixed_float16-1", 5e-3)):
        with np.load(tmp_path / f"{name}.npz") as found:
            assert_near([found[each] for each in found.files], expected, atol)


SHAPES = [(3, 4), (4,)]


def new_variables() -> list:
    keras, rng = load_keras(), np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in SHAPES]


def random_gradients(step: int) -> list:
    rng, tf = np.random.default_rng([1, step]), load_tensorflow()
    return [tf.constant(rng.normal(size=shape), tf.float32) for shape in SHAPES]


def after_steps(optimizer, trained: list, n_steps: int = 5) -> list[np.ndarray]:
    for step in range(n_steps):
        optimizer.apply(random_gradients(step), trained)
    return [variable.numpy() for variable in trained]


def test_with_one_rate_it_is_keras_own_adam() -> None:
    ours, theirs = new_variables(), new_variables()
    optimizer = create_adam(ours, [1.0, 1.0], 0.0)
    optimizer.learning_rate = 0.01
    expected = after_steps(load_keras().optimizers.Adam(0.01), theirs)
    for a, b in zip(after_steps(optimizer, ours), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_each_variable_has_its_rate() -> None:
    trained = new_variables()
    before = [variable.numpy() for variable in trained]
    optimizer = create_adam(trained, [1.0, 0.25], 0.0)
    optimizer.learning_rate = 0.01
    steps = [np.abs(a - b) for a, b in zip(after_steps(optimizer, trained, 1), before, strict=True)]
    # The first step of Adam is as long as the rate, whatever the gradient.
    np.testing.assert_allclose(steps[0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(steps[1], 0.0025, rtol=1e-3)


def test_weight_decay_shrinks_kernels_and_no_bias() -> None:
    plain, decayed = new_variables(), new_variables()
    for trained, decay in ((plain, 0.0), (decayed, 0.5)):
        optimizer = create_adam(trained, [1.0, 1.0], decay)
        optimizer.learning_rate = 0.1
        after_steps(optimizer, trained, 1)
    first = new_variables()[0].numpy()
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
