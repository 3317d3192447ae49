from pathlib import Path

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.batch_norm import check_batch_norms
from headbench.classify.doctor.model.load import UserModel
from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.extract.networks.keras_runtime import load_keras

LABELS = np.arange(100) % 5
RIGHT, WRONG = np.eye(5, dtype=np.float32)[LABELS], np.eye(5, dtype=np.float32)[(LABELS + 1) % 5]
SAMPLE = Sample(np.zeros((100, 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
# Right by the batch under both; wrong in inference under the first alone.
MEASURED = Measured(
    SAMPLE,
    {
        Condition("/255", by_batch=True): RIGHT,
        Condition("/255", by_batch=False): WRONG,
        Condition("tf", by_batch=True): RIGHT,
        Condition("tf", by_batch=False): RIGHT,
    },
)


def found_under(*scalings: str) -> list[Finding]:
    keras = load_keras()
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    user = UserModel(Path("model.keras"), model, "3.15.1", None)
    return list(check_batch_norms(user, leaves(model), MEASURED, scalings))


def test_modes_that_differ_under_the_pixels_of_training_are_severe() -> None:
    [finding] = found_under("/255")
    assert finding.severity is Severity.SEVERE
    assert "is unknown" not in finding.evidence[0]


@pytest.mark.parametrize("scalings", [("/255", "tf"), ("tf", "/255")])
def test_modes_that_differ_under_some_pixels_alone_are_no_fact(scalings: tuple[str, str]) -> None:
    [finding] = found_under(*scalings)
    assert finding.severity is Severity.NOTE
    assert "is unknown" in finding.evidence[0]
    assert finding.evidence[0].endswith("The modes differ with /255.")


def test_modes_that_agree_get_no_finding() -> None:
    assert found_under("tf") == []


@pytest.mark.parametrize(("scaling", "severity"), [("/255", "SEVERE"), ("tf", "WARNING")])
def test_batch_norm_that_trains_in_a_frozen_block_is_named(scaling: str, severity: str) -> None:
    keras = load_keras()
    layers = keras.layers
    frozen = layers.Conv2D(2, 1, trainable=False)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4, 4, 3)), frozen, norm, layers.Flatten()])
    user = UserModel(Path("model.keras"), model, "3.15.1", None)
    finding, *_ = check_batch_norms(user, leaves(model), MEASURED, (scaling,))
    assert finding.code == "batch-norm-trains-in-frozen-block"
    assert finding.severity is Severity[severity]
    assert "1 of 1 BatchNormalization layers: norm." in finding.evidence[0]
