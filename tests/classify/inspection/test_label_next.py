import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.inspection import label_next
from headbench.classify.inspection.label_next import choose, distance_to, spread_out, uncertainty
from headbench.classify.inspection.principal_axes import unit
from tests.classify.inspection.conftest import Writer


def greedy(X: np.ndarray, labelled: np.ndarray, n: int) -> list[int]:
    """k-centre by hand: all distances in memory."""
    centres, chosen = unit(np.float32(labelled)), []
    X = unit(np.float32(X))
    for _ in range(n):
        distance = (1 - X @ centres.T).min(axis=1) if len(centres) else np.full(len(X), 2.0)
        distance[chosen] = -np.inf
        chosen.append(int(distance.argmax()))
        centres = np.vstack([centres, X[chosen[-1]]])
    return chosen


def test_the_smallest_margin_is_the_most_uncertain() -> None:
    proba = np.float32([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45], [0, 0, 1], [0.4, 0.2, 0.4]])
    np.testing.assert_allclose(uncertainty(proba), [0.8, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("n_held", [1, 17, 1000])
@pytest.mark.parametrize("n_labelled", [0, 1, 40])
def test_cover_is_greedy_k_centre_however_few_rows_are_held(
    write: Writer, monkeypatch: pytest.MonkeyPatch, n_held: int, n_labelled: int
) -> None:
    monkeypatch.setattr(label_next, "BLOCK_ROWS", 13)
    monkeypatch.setattr(label_next, "POOL_BYTES", n_held * 4 * 6)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 6))
    with FeatureFile(write(X)) as features:
        rows, labelled = np.arange(n_labelled, 150), np.arange(n_labelled)
        distance = distance_to(features.read, rows, features.read, labelled)
        found = spread_out(features.read, rows, distance, 60)
    assert found.tolist() == greedy(X[n_labelled:], X[:n_labelled], 60)


def test_cover_can_choose_all_even_copies(write: Writer) -> None:
    X = np.ones((9, 4))
    with FeatureFile(write(X)) as features:
        rows = np.arange(9)
        found = spread_out(features.read, rows, np.zeros(9, np.float32), 9)
    assert sorted(found.tolist()) == list(range(9))


def test_both_spreads_out_among_the_uncertain_alone(write: Writer) -> None:
    rng = np.random.default_rng(0)
    X, unsure = rng.normal(size=(100, 6)), np.float32(rng.permutation(100))
    with FeatureFile(write(X)) as features:
        rows = np.arange(100)

        def distance(some: np.ndarray) -> np.ndarray:
            return distance_to(features.read, some, features.read, np.empty(0, np.intp))

        found = {
            rule: choose(rule, features.read, rows, unsure, distance, 3).tolist()
            for rule in label_next.RULES
        }
    order = np.argsort(-unsure)
    assert found["uncertainty"] == order[:3].tolist()
    assert found["cover"] == greedy(X, X[:0], 3)
    assert found["both"] == [int(order[place]) for place in greedy(X[order[:9]], X[:0], 3)]
