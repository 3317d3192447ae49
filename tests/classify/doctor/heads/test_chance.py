import numpy as np

from classify.doctor.finding import Severity
from classify.doctor.heads.chance import (
    examine_chance,
    examine_one_class,
    says_one_class,
)
from tests.classify.doctor.heads.made import head, right_for

CLASSES = tuple("abcdefghij")
BALANCED = np.arange(100) % 10


def test_one_class_for_all_is_severe_with_its_name_and_shares() -> None:
    [finding] = examine_one_class([head(BALANCED, [3] * 100), right_for(60)], CLASSES)
    assert (finding.code, finding.severity) == ("one-class-predicted", Severity.SEVERE)
    assert finding.grid is not None
    [row] = finding.grid.rows
    assert row[:2] == ("logreg", "d")
    assert row[2].startswith("100.0 %")
    assert row[3].startswith("10.0 %")


def test_prior_says_one_class_and_is_not_blamed() -> None:
    prior = head(BALANCED, [3] * 100, name="prior", kind="Prior")
    assert list(examine_one_class([prior], CLASSES)) == []
    assert list(examine_chance([prior], 0.1, knows_nothing=False)) == []


def test_one_class_where_nearly_all_are_of_it_is_no_finding() -> None:
    y = [0] * 96 + [1] * 4
    assert not says_one_class(head(y, [0] * 100))


def test_one_class_on_three_images_proves_nothing() -> None:
    assert not says_one_class(head([0, 1, 2], [1, 1, 1]))


def test_all_heads_at_chance_are_one_severe_finding() -> None:
    heads = [right_for(10), right_for(8, name="ridge")]
    [finding] = examine_chance(heads, 0.1, knows_nothing=False)
    assert (finding.code, finding.severity) == ("val-at-chance", Severity.SEVERE)
    assert finding.what == "logreg, ridge: validation accuracy is at chance."


def test_one_head_at_chance_beside_a_good_one_is_a_warning() -> None:
    heads = [right_for(10), right_for(60, name="ridge")]
    [finding] = examine_chance(heads, 0.1, knows_nothing=False)
    assert finding.severity is Severity.WARNING
    assert "On the same embeddings ridge did better." in finding.evidence


def test_chance_is_what_a_backbone_that_knows_nothing_is_good_for() -> None:
    [finding] = examine_chance([right_for(10)], 0.1, knows_nothing=True)
    assert finding.severity is Severity.WARNING


def test_few_images_leave_it_open() -> None:
    [finding] = examine_chance([right_for(2, 6)], 0.1, knows_nothing=False)
    assert (finding.code, finding.severity) == ("val-too-small", Severity.NOTE)
