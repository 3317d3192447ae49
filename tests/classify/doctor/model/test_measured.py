"""When one scaling is clearly better than another: no network is run."""

import numpy as np

from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.classify.doctor.scalings import SCALINGS

N = 200
LABELS = np.arange(N) % 2
RAW, *OTHERS = (Condition(name, by_batch=False) for name in SCALINGS)


def measured(right: dict[Condition, np.ndarray]) -> Measured:
    """By condition which images are right, bool (n,), of two classes."""
    sample = Sample(np.zeros((N, 1, 1, 3), np.uint8), LABELS, ("a", "b"), [])
    answers = {each: np.where(is_right, LABELS, 1 - LABELS) for each, is_right in right.items()}
    return Measured(sample, {each: np.eye(2, dtype=np.float32)[a] for each, a in answers.items()})


def guesses(seed: int) -> dict[Condition, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {each: rng.random(N) < 0.5 for each in (RAW, *OTHERS)}


def test_the_best_of_many_guesses_is_a_guess_on_other_images() -> None:
    drawn = [measured(guesses(seed)) for seed in range(60)]
    best = np.mean([each.accuracy(each.best()).value for each in drawn])
    elsewhere = np.mean([each.best_elsewhere().mean() for each in drawn])
    assert best > 0.53
    assert abs(elsewhere - 0.5) < 0.01


def test_what_is_no_better_than_chance_beats_nothing() -> None:
    # Far worse than a guess under one scaling, and guesses under all others.
    found = measured(guesses(0) | {RAW: np.arange(N) < N // 4})
    assert not found.is_beaten(RAW)


def test_a_scaling_that_the_model_learnt_under_beats_a_guess() -> None:
    found = measured(guesses(0) | {OTHERS[0]: np.arange(N) < 0.8 * N})
    assert found.is_beaten(RAW)
    assert not found.is_beaten(OTHERS[0])


def test_a_model_that_guesses_under_all_has_learnt_nothing() -> None:
    assert measured(guesses(0)).has_learnt_nothing
    learnt = guesses(0) | {OTHERS[0]: np.arange(N) < 0.8 * N}
    assert not measured(learnt).has_learnt_nothing
