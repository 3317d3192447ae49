import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from headbench.classify.errors import RunError
from headbench.classify.heads.temperature import sharpen
from headbench.classify.inspection.mistakes import (
    ConfusedPair,
    before_temperature,
    busiest_classes,
    find_suspects,
    has_cleanlab,
    most_confused,
    reliability,
    similarity_order,
)
from headbench.classify.metrics import calibration_error
from tests.conftest import ROOT


def test_pairs_are_counted_and_the_largest_comes_first() -> None:
    confusion = np.array([[5, 2, 0], [4, 9, 0], [1, 0, 7]])
    found = most_confused(confusion, "abc", 2)
    assert found == [ConfusedPair("b", "a", 4, 13), ConfusedPair("a", "b", 2, 7)]


def test_what_is_right_is_no_confusion() -> None:
    assert most_confused(np.diag([3, 4, 5]), "abc", 10) == []


def test_classes_that_are_taken_for_each_other_stand_side_by_side() -> None:
    n_classes, rng = 12, np.random.default_rng(0)
    partner = np.arange(n_classes) ^ 1
    renamed = rng.permutation(n_classes)
    y = np.repeat(np.arange(n_classes), 5)
    proba = np.full((len(y), n_classes), 0.01)
    proba[np.arange(len(y)), y] = 0.5
    proba[np.arange(len(y)), partner[y]] = 0.39
    order = similarity_order(renamed[y], proba[:, np.argsort(renamed)])
    assert sorted(order) == list(range(n_classes))
    place = np.argsort(order)
    for label in range(n_classes):
        assert abs(place[renamed[label]] - place[renamed[partner[label]]]) == 1


def test_two_classes_and_a_class_without_images_have_an_order() -> None:
    proba = np.array([[0.6, 0.4], [0.2, 0.8]])
    assert sorted(similarity_order(np.array([0, 1]), proba)) == [0, 1]
    wider = np.array([[0.5, 0.3, 0.2, 0], [0.1, 0.8, 0.1, 0]])
    assert sorted(similarity_order(np.array([0, 1]), wider)) == [0, 1, 2, 3]


def test_the_busiest_classes_are_those_with_mistakes() -> None:
    confusion = np.diag([9, 9, 9, 9])
    confusion[1, 3] = 5
    np.testing.assert_array_equal(busiest_classes(confusion, 2), [1, 3])


def test_bins_hold_what_the_calibration_error_is_made_of() -> None:
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), 500)
    y = rng.integers(4, size=500)
    bins = reliability(y, proba)
    n_images = np.array(bins.n_images)
    assert n_images.sum() == 500
    assert (n_images > 0).all()
    error = (n_images / 500 * np.abs(np.subtract(bins.confidence, bins.accuracy))).sum()
    assert error == pytest.approx(calibration_error(y, proba), abs=1e-6)
    assert bins.ece == calibration_error(y, proba)


def test_one_bin_by_hand() -> None:
    bins = reliability(np.array([0, 1]), np.array([[0.9, 0.1], [0.92, 0.08]]))
    np.testing.assert_allclose(bins.confidence, [0.91])
    np.testing.assert_allclose(bins.accuracy, [0.5])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_can_be_undone(temperature: float) -> None:
    proba = np.random.default_rng(1).dirichlet(np.ones(5), 20)
    np.testing.assert_allclose(
        before_temperature(sharpen(proba, temperature), temperature), proba, rtol=1e-5
    )


PROBE = """
import sys
import numpy as np
from headbench.classify.inspection.mistakes import find_suspects, has_cleanlab
assert has_cleanlab() and "cleanlab" not in sys.modules
labels = np.array([0, 0, 0, 1, 1, 1])
proba = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 1, 1]] * 0.8 + 0.1
print(find_suspects(labels, proba).tolist())
assert "cleanlab" in sys.modules
print(sorted({"tensorflow", "keras", "torch"} & sys.modules.keys()))
"""


def proba_of(y: NDArray[np.integer], n_classes: int, seed: int = 0) -> NDArray[np.float32]:
    """Probabilities of a head that is mostly right about `y`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(y), n_classes))
    scores[np.arange(len(y)), y] += 5
    proba = np.exp(scores)
    return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


def planted(
    n_classes: int = 5, n: int = 500, n_planted: int = 25
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.intp]]:
    """Labels of which some are wrong, probabilities of a head that knows better, and which."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, n_classes, n).astype(np.int32)
    proba = proba_of(y, n_classes)
    wrong = rng.choice(n, n_planted, replace=False)
    labels = y.copy()
    labels[wrong] = (y[wrong] + rng.integers(1, n_classes, n_planted)) % n_classes
    return labels, proba, wrong


def test_planted_wrong_labels_are_found_and_right_ones_are_not() -> None:
    labels, proba, wrong = planted()
    found = find_suspects(labels, proba)
    assert found.dtype == np.intp
    n_hits = len(np.intersect1d(found, wrong))
    assert n_hits >= 0.8 * len(wrong)
    assert n_hits >= 0.8 * len(found)


def test_nothing_is_suspected_where_every_label_is_the_most_probable() -> None:
    labels, proba, _ = planted(n_planted=0)
    is_right = proba.argmax(axis=1) == labels
    assert find_suspects(labels[is_right], proba[is_right]).tolist() == []


def test_the_least_probable_label_comes_first() -> None:
    labels, proba, _ = planted()
    found = find_suspects(labels, proba)
    given = proba[found, labels[found]]
    assert len(found) > 10
    np.testing.assert_array_equal(given, np.sort(given))


def test_labels_and_probabilities_are_not_modified() -> None:
    labels, proba, _ = planted()
    before = labels.copy(), proba.copy()
    find_suspects(labels, proba)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(proba, before[1])


def test_classes_without_an_image_or_with_one_change_nothing_for_the_others() -> None:
    labels, proba, _ = planted(n_classes=3)
    expected = find_suspects(labels, proba)
    wide = np.zeros((len(labels) + 1, 7), dtype=np.float32)
    wide[:-1, [1, 3, 4]] = proba
    # Class 6 has one image, which the head knows; classes 0, 2 and 5 have none.
    wide[-1, 6] = 1
    wide_labels = np.append(np.array([1, 3, 4])[labels], 6)
    np.testing.assert_array_equal(find_suspects(wide_labels, wide), expected)


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [2, 2, 2]])
def test_with_fewer_than_two_classes_there_is_none_to_suspect(labels: list[int]) -> None:
    proba = np.full((len(labels), 3), 1 / 3, dtype=np.float32)
    assert find_suspects(np.array(labels, dtype=np.int32), proba).tolist() == []


def test_without_cleanlab_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_cleanlab()
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    assert not has_cleanlab()
    with pytest.raises(RunError, match=r"headbench\[suspects\]"):
        find_suspects(np.array([0, 1]), np.eye(2, dtype=np.float32))


def test_cleanlab_brings_no_network_and_no_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("[2]\n[]\n", "")
