"""A split by file order is named, with what it leaves out."""

from pathlib import Path

from classify.doctor.data.order import examine_order
from classify.doctor.finding import Finding, Severity
from classify.doctor.script import DATASET, GENERATOR, ScriptSettings
from extract.sources.source import Dataset, LabelledImage


def found_in(sizes: dict[str, int], script: ScriptSettings) -> list[Finding]:
    images = tuple(
        LabelledImage(f"{name}/{number:04}.jpg", name, None)
        for name, n in sizes.items()
        for number in range(n)
    )
    return list(examine_order(Dataset(Path(), "class folders", images, ()), script))


def test_classes_that_only_validation_has_bound_its_accuracy() -> None:
    # 10 of 40 files: 5 of c and all 5 of d. Half of validation cannot be right.
    (found,) = found_in({"a": 15, "b": 10, "c": 10, "d": 5}, ScriptSettings(validation_split=0.25))
    assert found.code == "split-by-file-order"
    assert found.severity is Severity.SEVERE
    assert found.evidence[0] == (
        "fit takes the last 25 % of the files, class after class: 30 for training, 10 for "
        "validation."
    )
    assert found.evidence[2].startswith("Only in validation: d, 5 of 10 images.")
    assert "can be 50.0 % at most" in found.evidence[2]
    # b would have 2.5 images in validation by its share: that it has none might be chance.
    assert found.evidence[3].startswith("Never validated: a. ")
    assert found.grid is not None
    assert found.grid.rows == (
        ("a", "15", "0"), ("b", "10", "0"), ("c", "5", "5"), ("d", "0", "5"),
    )  # fmt: skip


def test_the_origins_split_cannot_reach_more_than_one_in_a_hundred() -> None:
    # Food-101's 101 classes of 750 photographs and a share of 0.2: fit trains on the first 60 600,
    # 80 classes and 600 of the next; validation has the rest of that one and 20 that nobody learnt.
    (found,) = found_in({f"{n:03}": 750 for n in range(101)}, ScriptSettings(validation_split=0.2))
    assert "15000 of 15150 images" in found.evidence[2]
    assert "can be 1.0 % at most" in found.evidence[2]


def test_a_shuffled_dataset_is_not_accused() -> None:
    script = ScriptSettings(validation_split=0.2, loader=DATASET)
    assert found_in({"a": 20, "b": 20}, script) == []


def test_no_share_is_no_finding() -> None:
    assert found_in({"a": 20, "b": 20}, ScriptSettings()) == []


def test_the_first_of_each_class_are_a_note_and_a_class_without_any_a_warning() -> None:
    script = ScriptSettings(validation_split=0.2, loader=GENERATOR)
    (note,) = found_in({"a": 20, "b": 5}, script)
    assert note.severity is Severity.NOTE
    assert "20 for training, 5 for validation" in note.evidence[0]
    (warning,) = found_in({"a": 20, "b": 4}, script)
    assert warning.severity is Severity.WARNING
    assert warning.evidence[-1] == "Too small to have an image in validation: b."
