import numpy as np
import pytest
from sklearn.metrics import (
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)

from headbench.classify.metrics import (
    Metrics,
    accuracy,
    balanced_accuracy,
    calibration_error,
    evaluate,
    log_losses,
    per_class,
    top_shares,
)


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
    assert metrics.balanced_accuracy.value == pytest.approx(
        recall_score(y, proba.argmax(axis=1), labels=np.arange(7), average="macro")
    )


def test_each_class_has_scikit_learns_precision_and_recall() -> None:
    y, proba = random_case()
    predicted = proba.argmax(axis=1)
    options = {"average": None, "labels": np.arange(8), "zero_division": np.nan}
    precision, recall = (
        score(y, predicted, **options) for score in (precision_score, recall_score)
    )
    for found, wanted_precision, wanted_recall in zip(
        per_class(y, predicted, 8), precision, recall, strict=True
    ):
        assert found.precision is not None
        assert found.precision.value == pytest.approx(wanted_precision)
        if np.isnan(wanted_recall):
            assert found.recall is None
        else:
            assert found.recall is not None
            assert found.recall.value == pytest.approx(wanted_recall)


def test_calibration_error_by_hand() -> None:
    # Bin 0.6-0.667: two images at 0.65, one right; bin 0.867-0.933: two at 0.9, both right.
    proba = np.array([[0.65, 0.35], [0.65, 0.35], [0.1, 0.9], [0.9, 0.1]])
    error = calibration_error(np.array([0, 1, 1, 0]), proba)
    assert error == pytest.approx((2 * 0.15 + 2 * 0.1) / 4)


def test_probabilities_that_are_right_have_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(size=40_000)
    y = (rng.uniform(size=40_000) > first).astype(int)
    proba = np.stack([first, 1 - first], axis=1)
    assert calibration_error(y, proba) < 0.01
    assert calibration_error(y, np.round(proba)) > 0.2


def test_each_number_carries_its_n_and_an_interval_around_it() -> None:
    y, proba = random_case()
    for estimate in evaluate(y, proba):
        assert estimate is not None
        assert estimate.n == 300
        assert estimate.low < estimate.value < estimate.high, estimate


def test_a_loss_that_all_images_share_has_an_interval_of_no_width() -> None:
    n = 20_000
    loss = evaluate(np.arange(n) % 101, np.full((n, 101), 1 / 101, dtype=np.float32)).log_loss
    assert loss[:3] == pytest.approx([np.log(101)] * 3, abs=1e-6)
    assert loss.high - loss.low < 1e-9


def test_the_same_seed_gives_the_same_intervals() -> None:
    y, proba = random_case()
    assert evaluate(y, proba, seed=1) == evaluate(y, proba, seed=1)


def test_five_classes_have_no_top_5() -> None:
    y, proba = random_case(n_classes=5)
    assert evaluate(y, proba).top5 is None


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy", "log_loss"])
def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say(
    name: str, many_samples: list[Metrics], population: Metrics
) -> None:
    truth = getattr(population, name).value
    covered = np.mean(
        [getattr(each, name).low <= truth <= getattr(each, name).high for each in many_samples]
    )
    # 1 000 samples: a standard deviation of 0.7 points.
    assert abs(covered - 0.95) < 0.02


@pytest.fixture(scope="module")
def population() -> Metrics:
    return evaluate(*random_case(n=100_000))


@pytest.fixture(scope="module")
def many_samples() -> list[Metrics]:
    """Metrics of 1 000 samples of 1 000 images each, drawn anew from the population."""
    y, proba = random_case(n=100_000)
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(y), 1000) for _ in range(1000))
    return [evaluate(y[rows], proba[rows]) for rows in drawn]


def test_macro_f1_by_hand() -> None:
    # Class 0: precision 2/3, recall 1. Class 1: precision 1, recall 1/2. Class 2: absent.
    y, given = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    metrics = evaluate(y, np.eye(3)[given])
    assert metrics.macro_f1.value == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics.balanced_accuracy.value == pytest.approx(0.75)


def never_rare(n_rare: int = 2, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one of them rare and never predicted."""
    return (np.arange(n) < n_rare).astype(int), np.tile([0.9, 0.1], (n, 1))


def test_the_interval_of_a_head_that_never_predicts_a_class_knows_that_class() -> None:
    metrics = evaluate(*never_rare())
    assert metrics.macro_f1.value == pytest.approx(116 / 118 / 2)
    assert metrics.macro_f1.high < 0.51
    assert metrics.balanced_accuracy[:3] == (0.5, 0.5, 0.5)


def test_a_rare_class_that_is_always_recognised_keeps_its_score_where_a_draw_lacks_it() -> None:
    y, _ = never_rare(n_rare=1)
    predicted = y.copy()
    predicted[1:7] = 1  # 6 of 59 of the other class
    found = evaluate(y, np.eye(2)[predicted]).balanced_accuracy
    assert found.value == pytest.approx((1 + 53 / 59) / 2)
    assert found.low > 0.89


def test_balanced_accuracy_alone_is_that_of_the_metrics() -> None:
    y, proba = random_case()
    assert balanced_accuracy(y, proba) == pytest.approx(evaluate(y, proba).balanced_accuracy.value)


def test_a_certain_mistake_costs_much_and_not_everything() -> None:
    losses = log_losses(np.array([0]), np.array([[0.0, 1.0]]))
    assert 15 < losses[0] < 20


def test_ties_go_to_the_first_class_in_every_metric() -> None:
    y, proba = np.array([0, 1]), np.full((2, 8), 1 / 8)
    assert accuracy(y, proba).value == 0.5
    top5 = evaluate(np.array([4, 5]), proba).top5
    assert top5 is not None
    assert top5.value == 0.5


def test_shares_for_curves_are_weighted_and_those_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.ones(7), 200), rng.integers(7, size=200)
    measured, shares = evaluate(y, proba), top_shares(y, proba, np.ones(200))
    assert measured.top5 is not None
    assert shares == {
        "top1": pytest.approx(measured.top1.value),
        "top5": pytest.approx(measured.top5.value),
    }
    is_right = proba.argmax(axis=1) == y
    only_right = top_shares(y, proba, np.where(is_right, 3.0, 1.0))["top1"]
    assert only_right == pytest.approx(
        3 * is_right.sum() / (3 * is_right.sum() + (~is_right).sum())
    )
    assert top_shares(y % 5, proba[:, :5], np.ones(200)).keys() == {"top1"}
