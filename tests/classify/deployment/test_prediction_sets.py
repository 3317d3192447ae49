"""Prediction sets: what they hold, what they promise, and what they were calibrated on."""

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.prediction_sets import (
    FOLDS,
    VAL,
    CalibrationScores,
    PredictionSets,
    calibration_scores,
    measure_sets,
)
from headbench.classify.deployment.uncertainty import open_uncertainty
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.classify.studies.folds import cross_validate
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings, configured_heads


def scores(n: int) -> CalibrationScores:
    """Probabilities 1/n, 2/n, ..., 1 of the true classes."""
    return CalibrationScores((np.arange(1, n + 1) / n).astype(np.float32), VAL)


@pytest.mark.parametrize(
    ("n", "coverage", "rank"),
    [
        (9, 0.9, 9),
        (19, 0.9, 18),
        (10, 0.9, 10),
        (99, 0.99, 99),
        (100, 0.5, 51),
        (20, 0.8, 17),
        (20, 1e-12, 1),
    ],
)
def test_the_threshold_is_the_quantile_for_so_few_images(
    n: int, coverage: float, rank: int
) -> None:
    """ceil((n + 1) * coverage) of the true classes are at least as probable."""
    found = scores(n)
    sets = found.sets(coverage)
    assert (found.proba >= sets.min_probability).sum() == rank
    assert sets.min_probability in found.proba


def test_too_few_images_give_all_classes_and_say_so() -> None:
    sets = scores(8).sets(0.9)
    assert sets.contain(np.array([[0.9, 0.1, 0.0]])).all()
    assert sets.describe() == (
        "every set has all classes: a coverage of 0.9 takes at least 9 images to calibrate on, "
        "found 8, and a head that gives few of them a probability of 0"
    )
    assert "all classes" not in scores(9).sets(0.9).describe()


def test_the_most_probable_class_is_always_in_the_set() -> None:
    sets = PredictionSets(0.5, 0.6, 100, VAL)
    proba = np.array([[0.6, 0.4], [0.5, 0.5], [0.3, 0.7]])
    assert sets.contain(proba).tolist() == [[True, False], [True, False], [False, True]]


def noisy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of four classes that are far too sure, and the truth."""
    y = rng.integers(0, 4, n)
    logits = 4 * (np.eye(4)[y] + 0.8 * rng.normal(size=(n, 4)))
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32), y


@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_true_class_as_often_as_was_asked_for(n: int, coverage: float) -> None:
    """In the mean over many draws of the images that calibrate, however few they are."""
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(400):
        proba, y = noisy(rng, n + 100)
        known = CalibrationScores(np.sort(proba[np.arange(n), y[:n]]), VAL)
        is_in = known.sets(coverage).contain(proba[n:])
        reached.append(is_in[np.arange(100), y[n:]].mean())
    # Not much more either: at most 1 / (n + 1), were it not for the top class.
    assert coverage - 0.01 < np.mean(reached) < coverage + 1 / (n + 1) + 0.01


def test_what_was_reached_is_counted_on_the_images_given() -> None:
    known = CalibrationScores(np.linspace(0.3, 1, 99, dtype=np.float32), VAL)
    threshold = known.sets(0.9).min_probability
    assert 0.3 < threshold < 0.4
    proba = np.array([[0.45, 0.45, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1]])
    found = measure_sets(known, np.array([1, 0, 1, 0]), proba)
    [at_90] = [each for each in found.coverages if each.sets.coverage == 0.9]
    assert (at_90.sets.source, at_90.sets.n) == (VAL, 99)
    assert at_90.reached.value == 0.75
    assert at_90.mean_size.value == 1.5
    assert at_90.single.value == 0.5
    assert [each and each.value for each in found.classes] == [0.5, 1, None]


def test_folds_calibrate_where_they_are_of_the_same_settings(run: Run) -> None:
    train_heads(run, ["ridge", "logreg"], seed=0)
    with FeatureFile(run.features_path) as features:
        trained = {each.record.name: each for each in run.trained(features)}
        n_val, n_test = len(features.rows("val")), len(features.rows("test"))
        before = calibration_scores(run.folder, features, trained["ridge"])
        assert (before.source, len(before.proba)) == (VAL, n_val)
        heads = configured_heads(["ridge"], 0, TrainSettings())
        cross_validate(run.folder, features, heads, 3, 0, 1)
        after = calibration_scores(run.folder, features, trained["ridge"])
        assert (after.source, len(after.proba)) == (FOLDS, features.n_images - n_test)
        assert calibration_scores(run.folder, features, trained["logreg"]).source == VAL
        heads["ridge"].set_params(alphas=(1.0,))
        cross_validate(run.folder, features, heads, 3, 0, 1)
        assert calibration_scores(run.folder, features, trained["ridge"]).source == VAL


@pytest.mark.parametrize(("coverage", "false_alarms"), [(0, 0.1), (1, 0.1), (0.9, 1.1), (0.9, -1)])
def test_what_is_no_probability_is_refused(run: Run, coverage: float, false_alarms: float) -> None:
    with pytest.raises(RunError, match="expected coverage between 0 and 1"):
        open_uncertainty(run, "ridge", coverage, false_alarms)


def test_no_image_can_be_reported_if_val_is_too_small_and_that_is_said(run: Run) -> None:
    train_heads(run, ["ridge"], seed=0)
    [line] = open_uncertainty(run, "ridge", None, 0.001).lines()
    assert "no image can be reported as of none of the classes" in line
    assert open_uncertainty(run, "ridge", None, 0.1).lines() == []
