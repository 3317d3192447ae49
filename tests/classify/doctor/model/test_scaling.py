"""Pixels of a wrong scaling, found by accuracy alone: no network is run."""

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import FAMILIES
from headbench.classify.doctor.model.input_pixels import InputPixels
from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.classify.doctor.model.scaling import check_scaling
from headbench.classify.doctor.scalings import SCALINGS

RESNET = FAMILIES[0]
LABELS = np.arange(100) % 5
RIGHT, WRONG = np.eye(5, dtype=np.float32)[LABELS], np.eye(5, dtype=np.float32)[(LABELS + 1) % 5]


def check(good: set[str], *, is_frozen: bool = True) -> Finding:
    """Examine a model that preprocesses nothing and is right under some scalings."""
    sample = Sample(np.zeros((100, 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
    outputs = {Condition(name, False): RIGHT if name in good else WRONG for name in SCALINGS}
    pixels = InputPixels(RESNET, SCALINGS, None)
    [finding] = check_scaling(pixels, Measured(sample, outputs), is_frozen)
    return finding


@pytest.mark.parametrize(("is_frozen", "severity"), [(True, "SEVERE"), (False, "WARNING")])
def test_a_model_that_is_accurate_with_wrong_pixels_is_named(
    is_frozen: bool, severity: str
) -> None:
    finding = check({"/255"}, is_frozen=is_frozen)
    assert (finding.code, finding.severity) == ("wrong-scaling", Severity[severity])
    assert finding.what.startswith("Pixels are RGB, / 255 when they reach ResNet, which expects")
    assert "100.0 %" in finding.evidence[0]
    assert finding.evidence[0].endswith("(the scaling that this network expects).")


def test_equally_accurate_scalings_are_all_named_and_none_is_asserted() -> None:
    finding = check({"/255", "tf"})
    assert finding.code == "wrong-scaling"
    assert finding.what.startswith("Pixels are not BGR, the mean of ImageNet subtracted")
    assert "/255" in finding.what
    assert "tf" in finding.what
    assert "equally accurate" in finding.what


def test_the_expected_scaling_among_the_possible_ones_is_no_fault() -> None:
    finding = check({"caffe", "rgb-mean"})
    assert (finding.code, finding.severity) == ("scaling-not-said", Severity.NOTE)
