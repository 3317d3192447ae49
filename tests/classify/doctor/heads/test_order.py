import numpy as np

from classify.doctor.finding import Severity
from classify.doctor.heads.order import examine_class_order
from tests.classify.doctor.heads.made import head

CLASSES = ("a", "b", "c", "d")
TRUE = np.arange(80) % 4
REVERSED = 3 - TRUE
RNG = np.random.default_rng(0)


def noisy(right: np.ndarray, share: float) -> np.ndarray:
    """Right for a share of the images, else anything."""
    return np.where(RNG.random(len(right)) < share, right, RNG.integers(0, 4, len(right)))


def test_classes_in_the_reverse_order_are_found_and_named() -> None:
    scored = head(REVERSED, noisy(TRUE, 0.8))
    finding = examine_class_order([scored], CLASSES, 0.25)
    assert finding is not None
    assert (finding.code, finding.severity) == ("val-labels-in-another-order", Severity.SEVERE)
    assert "What val calls a is d." in finding.evidence


def test_a_sound_head_keeps_its_names() -> None:
    scored = head(TRUE, noisy(TRUE, 0.5))
    assert examine_class_order([scored], CLASSES, 0.25) is None


def test_a_head_that_is_no_good_on_train_says_nothing_of_orders() -> None:
    assert examine_class_order([head(REVERSED, TRUE, (25, 100))], CLASSES, 0.25) is None


def test_a_network_whose_train_is_not_known_says_nothing_of_orders() -> None:
    assert examine_class_order([head(REVERSED, TRUE, None)], CLASSES, 0.25) is None
