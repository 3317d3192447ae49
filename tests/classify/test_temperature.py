import numpy as np
import pytest
from scipy.special import softmax

from headbench.classify.heads.temperature import fit_temperature, sharpen


def calibrated(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, and labels drawn from them."""
    rng = np.random.default_rng(0)
    proba = softmax(rng.normal(size=(n, 6)) * 1.5, axis=1).astype(np.float32)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    return proba, np.minimum(y, 5)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_spoiled_probabilities_is_found(temperature: float) -> None:
    proba, y = calibrated()
    spoiled = sharpen(proba, 1 / temperature)
    found = fit_temperature(spoiled, y, np.ones(len(y)))
    assert found == pytest.approx(temperature, rel=0.05)
    assert np.abs(sharpen(spoiled, found) - proba).max() < 0.03


def test_the_best_class_stays() -> None:
    proba, _ = calibrated(500)
    for temperature in (0.05, 20.0):
        sharpened = sharpen(proba, temperature)
        np.testing.assert_array_equal(sharpened.argmax(axis=1), proba.argmax(axis=1))
        np.testing.assert_allclose(sharpened.sum(axis=1), 1, atol=1e-5)


def test_few_images_that_are_all_right_do_not_make_it_certain() -> None:
    proba = np.array([[0.8, 0.2], [0.2, 0.8], [0.9, 0.1]], dtype=np.float32)
    sharpened = sharpen(proba, fit_temperature(proba, np.array([0, 1, 0]), np.ones(3)))
    assert sharpened.max() < 0.99


def test_a_probability_of_zero_is_no_obstacle() -> None:
    proba = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    temperature = fit_temperature(proba, np.array([0, 1, 1, 1]), np.ones(4))
    assert np.isfinite(sharpen(proba, temperature)).all()
    assert temperature > 1
