import pytest

from classify.doctor.finding import Severity
from classify.doctor.heads.overfit import difference, examine_overfit
from classify.intervals import wilson
from tests.classify.doctor.heads.made import head

Y = [0, 1] * 50
HALF = [0, 0] * 50


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, Table II, (a), method 10: 56/70 - 48/80.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_train_far_above_val_is_a_warning_with_both() -> None:
    [finding] = examine_overfit([head(Y, HALF, (1000, 1000))])
    assert (finding.code, finding.severity) == ("overfit", Severity.WARNING)
    assert finding.grid is not None
    assert finding.grid.rows[0][0] == "logreg"
    assert finding.grid.rows[0][3].startswith("+50.0 points [+40")


def test_the_best_of_the_others_is_named() -> None:
    [finding] = examine_overfit(
        [head(Y, HALF, (1000, 1000)), head(Y, HALF, (600, 1000), "ridge", "Ridge")]
    )
    assert "The best of the other heads, ridge," in finding.evidence[1]


@pytest.mark.parametrize(
    "scored",
    [
        head(Y, HALF, (700, 1000)),
        head([0, 1], [0, 0], (1000, 1000)),  # two images: the interval is wide
        head(Y, HALF, (1000, 1000), "knn", "KNN"),
        head(Y, HALF, None, "finetuned", "network"),
    ],
    ids=["near", "few", "knn", "finetuned"],
)
def test_what_is_near_unsure_or_not_to_be_compared_is_no_finding(scored) -> None:
    assert list(examine_overfit([scored])) == []
