import numpy as np

from classify.inspection.confusions import busiest_classes, most_confused, similarity_order


def test_pairs_are_counted_and_the_largest_comes_first() -> None:
    confusion = np.array([[5, 2, 0], [4, 9, 0], [1, 0, 7]])
    found = most_confused(confusion, 2)
    assert [(each.true, each.given, each.n, each.n_true) for each in found] == [
        (1, 0, 4, 13),
        (0, 1, 2, 7),
    ]


def test_what_is_right_is_no_confusion() -> None:
    assert most_confused(np.diag([3, 4, 5]), 10) == []


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
