import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, top_k_accuracy_score

from classify.metrics import accuracy, evaluate, log_losses, macro_f1, wilson


def random_case(n: int = 300, n_classes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes - 1, n)  # the last class is never true
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), y] += 1.0
    proba = np.exp(logits)
    return y, (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


def test_values_are_those_of_scikit_learn() -> None:
    y, proba = random_case()
    metrics = evaluate(y, proba)
    assert metrics.top1.value == pytest.approx((proba.argmax(axis=1) == y).mean())
    assert metrics.top5 is not None
    assert metrics.top5.value == pytest.approx(
        top_k_accuracy_score(y, proba, k=5, labels=np.arange(8))
    )
    assert metrics.macro_f1.value == pytest.approx(
        f1_score(y, proba.argmax(axis=1), average="macro", zero_division=0)
    )
    assert metrics.log_loss.value == pytest.approx(
        log_loss(y, proba, labels=np.arange(8)), rel=1e-5
    )


def test_each_number_carries_its_n_and_an_interval_around_it() -> None:
    y, proba = random_case()
    for estimate in evaluate(y, proba):
        assert estimate is not None
        assert estimate.n == 300
        assert estimate.low < estimate.value < estimate.high


def test_the_same_seed_gives_the_same_intervals() -> None:
    y, proba = random_case()
    assert evaluate(y, proba, seed=1) == evaluate(y, proba, seed=1)


def test_five_classes_have_no_top_5() -> None:
    y, proba = random_case(n_classes=5)
    assert evaluate(y, proba).top5 is None


@pytest.mark.parametrize(
    ("n_right", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(n_right: int, n: int, low: float, high: float) -> None:
    estimate = wilson(n_right, n)
    assert estimate.value == n_right / n
    assert estimate[1:3] == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_between_0_and_1() -> None:
    assert wilson(0, 3).low == 0
    assert wilson(3, 3).high == 1


@pytest.mark.parametrize("share", [0.1, 0.54, 0.97])
def test_wilson_covers_the_truth_as_often_as_it_says(share: float) -> None:
    rng = np.random.default_rng(0)
    intervals = [wilson(int(n_right), 400) for n_right in rng.binomial(400, share, 4000)]
    covered = np.mean([low <= share <= high for _, low, high, _ in intervals])
    assert abs(covered - 0.95) < 0.02


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    y, proba = random_case(n=20_000)
    truth = evaluate(y, proba)
    rng = np.random.default_rng(0)
    f1, loss = [], []
    for _ in range(200):
        rows = rng.integers(0, len(y), 400)
        metrics = evaluate(y[rows], proba[rows])
        f1.append(metrics.macro_f1.low <= truth.macro_f1.value <= metrics.macro_f1.high)
        loss.append(metrics.log_loss.low <= truth.log_loss.value <= metrics.log_loss.high)
    # 200 repeats: a standard deviation of 1.5 points.
    assert 0.90 <= np.mean(f1) <= 0.99
    assert 0.90 <= np.mean(loss) <= 0.99


def test_macro_f1_by_hand() -> None:
    # Class 0: precision 2/3, recall 1. Class 1: precision 1, recall 1/2. Class 2: absent.
    confusion = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert macro_f1(confusion) == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_certain_mistake_costs_much_and_not_everything() -> None:
    losses = log_losses(np.array([0]), np.array([[0.0, 1.0]]))
    assert 15 < losses[0] < 20


def test_ties_go_to_the_first_class_in_every_metric() -> None:
    y, proba = np.array([0, 1]), np.full((2, 8), 1 / 8)
    assert accuracy(y, proba).value == 0.5
    top5 = evaluate(np.array([4, 5]), proba).top5
    assert top5 is not None
    assert top5.value == 0.5
