"""Pixels of a wrong scaling, found by accuracy alone: no network is run."""

from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import FAMILIES
from headbench.classify.doctor.model.input_pixels import InputPixels
from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.classify.doctor.model.moving_statistics import Fit
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
    assert finding.what.startswith("ResNet expects pixels as BGR, the mean of ImageNet subtracted")
    assert "/255" in finding.what
    assert "tf" in finding.what
    assert "equally accurate" in finding.what


HEADS = [(seed, n) for seed in range(20) for n in (2, 5, 10)]


@pytest.mark.parametrize("declared", [None, "caffe"])
def test_of_sixty_heads_that_guess_one_at_most_gets_a_verdict_on_scaling(
    declared: str | None,
) -> None:
    verdicts = []
    for seed, n_classes in HEADS:
        rng, labels = np.random.default_rng(seed), np.arange(200) % n_classes
        sample = Sample(np.zeros((200, 1, 1, 3), np.uint8), labels, tuple("abcdefghij"), [])
        # Random weights are better than chance under some scalings, and worse under others.
        bias = rng.normal(0, 0.15 / n_classes, len(SCALINGS))
        outputs = {
            Condition(name, mode): np.eye(10, dtype=np.float32)[
                np.where(rng.random(200) < max(0, each), labels, rng.integers(n_classes, size=200))
            ]
            for mode in (False, True)
            for name, each in zip(SCALINGS, bias, strict=True)
        }
        found = check_scaling(
            InputPixels(RESNET, SCALINGS, declared), Measured(sample, outputs), True
        )
        verdicts += [each.code for each in found if each.severity is Severity.SEVERE]
    assert len(verdicts) <= 1


FIT = {"/255": 0.02, "raw": 4.0, "caffe": 3.0, "tf": 0.4, "torch": 0.6, "rgb-mean": 3.0}


def fit(is_trained: bool) -> Fit:
    return Fit("bn", is_trained, FIT)


def check_fit(family: Any, declared: str | None, is_trained: bool) -> list[str]:
    """Codes of a model at chance, so that statistics alone can tell."""
    sample = Sample(np.zeros((100, 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
    outputs = {Condition(name, False): WRONG for name in SCALINGS}
    pixels = InputPixels(family, SCALINGS, declared, fit=fit(is_trained))
    return [each.code for each in check_scaling(pixels, Measured(sample, outputs), True)]


@pytest.mark.parametrize(
    ("family", "declared", "is_trained", "codes"),
    [
        # A network that is not known: its statistics say what it expects, or what it got.
        (None, "raw", False, ["not-checked", "wrong-scaling"]),
        (None, "raw", True, ["not-checked", "trained-on-another-scaling"]),
        (None, "/255", True, ["not-checked"]),
        # Between near and far nothing is said.
        (None, None, True, ["not-checked", "scaling-not-said"]),
        # Training moved the statistics of a ResNet to pixels that it does not expect.
        (RESNET, None, True, ["wrong-scaling"]),
        (RESNET, "caffe", True, ["trained-on-another-scaling"]),
        # Frozen ones say what the network expects, which is known.
        (RESNET, "caffe", False, []),
    ],
)
def test_moving_statistics_tell_the_scaling_without_labels(
    family: Any, declared: str | None, is_trained: bool, codes: list[str]
) -> None:
    assert check_fit(family, declared, is_trained) == codes


def test_statistics_that_training_has_not_moved_yet_do_not_outweigh_accuracies() -> None:
    """A ResNet whose BatchNormalization trains: a head learnt on pixels / 255 by the batch."""
    sample = Sample(np.zeros((100, 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
    outputs = {Condition(each, False): RIGHT if each == "/255" else WRONG for each in SCALINGS}
    of_imagenet = Fit("bn", True, FIT | {"/255": 4.0, "caffe": 0.02})
    pixels = InputPixels(RESNET, SCALINGS, None, fit=of_imagenet)
    [finding] = check_scaling(pixels, Measured(sample, outputs), True)
    assert finding.code == "wrong-scaling"
    assert "with /255, 0.0 %" in finding.evidence[0]


def test_pictures_that_fit_no_scaling_prove_nothing() -> None:
    far = Fit("bn", True, dict.fromkeys(FIT, 0.9))
    assert far.found == ()
    assert not far.is_far("raw")


def test_the_expected_scaling_among_the_possible_ones_is_no_fault() -> None:
    finding = check({"caffe", "rgb-mean"})
    assert (finding.code, finding.severity) == ("scaling-not-said", Severity.NOTE)
