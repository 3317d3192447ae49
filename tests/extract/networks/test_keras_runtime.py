import logging
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from headbench.extract.networks import keras_runtime
from headbench.extract.networks.keras_runtime import (
    freeze,
    load_keras,
    load_tensorflow,
    numbered_from_zero,
    quiet_stderr,
    seeded,
)
from tests.conftest import ROOT

PROBE = """
import logging
import os
import random
from headbench.extract.networks.keras_runtime import load_keras
keras = load_keras()
print(os.environ["TF_ENABLE_ONEDNN_OPTS"], keras.config.backend(), keras.config.image_data_format())
"""
SET_BY_US = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")


def probe(**environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in SET_BY_US}
    return subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_onednn_is_on_and_the_import_is_quiet() -> None:
    done = probe()
    assert done.stdout.split() == ["1", "tensorflow", "channels_last"]
    assert done.stderr == ""


def test_the_users_own_choice_of_onednn_stands_and_another_backend_does_not() -> None:
    done = probe(TF_ENABLE_ONEDNN_OPTS="0", KERAS_BACKEND="jax")
    assert done.stdout.split() == ["0", "tensorflow", "channels_last"]


def test_arrays_that_layers_hold_beside_their_weights_are_frozen_too() -> None:
    keras, tf = load_keras(), load_tensorflow()
    mean = np.linspace(0, 200, 300)
    inputs = keras.Input((300,), dtype="uint8")
    normalised = keras.layers.Normalization(mean=mean, variance=mean + 1)
    network = keras.Model(inputs, normalised(keras.ops.cast(inputs, "float32")))
    frozen = tf.compat.v1.GraphDef.FromString(freeze(network))
    run = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(frozen, name=""), [])
    run = run.prune("images:0", f"{frozen.node[-1].name}:0")
    images = np.random.default_rng(0).integers(0, 256, (4, 300), dtype=np.uint8)
    np.testing.assert_allclose(run(tf.constant(images)), network(images), rtol=1e-5, atol=1e-5)


def test_random_weights_do_not_depend_on_who_else_draws_random_numbers() -> None:
    initializer = load_keras().initializers.HeNormal

    def seeds(n_drawn_by_others: int) -> list[int]:
        with seeded(0):
            first = initializer().seed
            for _ in range(n_drawn_by_others):
                random.random()  # noqa: S311
            return [first, initializer().seed]

    assert seeds(0) == seeds(3)
    # As Keras draws by itself after its own seeding: random weights stay what they were.
    load_keras().utils.set_random_seed(0)
    assert [initializer().seed, initializer().seed] == seeds(0)


def test_functions_that_are_traced_again_are_no_warning_and_others_stay(
    capfd: pytest.CaptureFixture[str],
) -> None:
    tf = load_tensorflow()
    heard: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: heard.append(record.getMessage())
    tf.get_logger().addHandler(listener)
    try:
        traced = tf.function(lambda number: number)
        for number in range(9):
            traced(number)
        tf.get_logger().warning("something else")
    finally:
        tf.get_logger().removeHandler(listener)
    assert heard == ["something else"]
    assert "retracing" not in capfd.readouterr().err


def test_what_is_written_to_stderr_is_held_back_unless_there_is_an_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_runtime, "IS_LEVEL_CHOSEN", False)
    with quiet_stderr():
        os.write(2, b"notice")
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), quiet_stderr():
        1 / os.write(2, b"reason") / 0
    assert capfd.readouterr().err == "reason"


def test_names_count_from_zero_inside_and_never_come_twice_after() -> None:
    dense = load_keras().layers.Dense
    for _ in range(2):
        with numbered_from_zero():
            assert [dense(1).name for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    number = int(dense(1).name.removeprefix("dense_"))
    assert number >= 3
    with numbered_from_zero():
        dense(1)
    assert dense(1).name == f"dense_{number + 1}"
