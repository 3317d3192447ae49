from pathlib import Path

from classify.bootstrap import wilson
from classify.deployment.predict import Prediction
from classify.deployment.scores import Scores
from classify.wording import percent

CLASSES = ("a", "b", "c", "d", "e", "f")


def prediction(name: str, order: str, true: str | None, is_abstained: bool = False) -> Prediction:
    top = tuple((each, 0.5) for each in order)
    return Prediction(Path(name), top, None, true, is_abstained)


def lines(
    predictions: list[Prediction], seen: dict[Path, str] | None = None, least: float = 0.0
) -> list[str]:
    scores = Scores(CLASSES, seen or {}, least)
    assert list(scores.count(predictions)) == predictions
    return list(scores.lines())


def share(n_right: int, n: int) -> str:
    return percent(wilson(n_right, n))


def test_without_labels_and_faults_there_is_nothing_to_say() -> None:
    assert lines([prediction("1", "abcde", None)]) == []


def test_unusable_files_are_counted_and_are_no_mistakes() -> None:
    bad = Prediction(Path("2"), (), "empty file", "a")
    assert lines([prediction("1", "abcde", "a"), bad]) == [
        "1 of 2 files cannot be used",
        f"all labelled files: top-1 {share(1, 1)}, top-5 {share(1, 1)} (n=1)",
    ]


def test_a_file_that_is_given_twice_is_counted_once_and_that_is_said() -> None:
    predictions = [prediction(name, "abcde", "a") for name in ("1", "2", "1")]
    predictions += [prediction(str(Path.cwd() / "1"), "abcde", "a")]
    assert lines(predictions) == [
        "2 labelled files given again: each is counted once below",
        f"all labelled files: top-1 {share(2, 2)}, top-5 {share(2, 2)} (n=2)",
    ]


def test_accuracy_is_that_of_a_count_by_hand() -> None:
    predictions = [
        prediction("1", "abcde", "a"),
        prediction("2", "abcde", "e"),
        prediction("3", "abcde", "f"),
        prediction("4", "abcde", None),
    ]
    assert lines(predictions) == [
        f"all labelled files: top-1 {share(1, 3)}, top-5 {share(2, 3)} (n=3)"
    ]


def test_unknown_classes_count_as_wrong_and_are_named() -> None:
    predictions = [prediction("1", "abcde", "a"), prediction("2", "abcde", "z")]
    assert lines(predictions) == [
        f"all labelled files: top-1 {share(1, 2)}, top-5 {share(1, 2)} (n=2)",
        "1 file of classes that the model does not know (z) count as wrong above;",
        f"  without them: top-1 {share(1, 1)}, top-5 {share(1, 1)} (n=1)",
    ]


def test_files_of_train_and_val_do_not_flatter() -> None:
    predictions = [prediction(str(number), "abcde", "ab"[number == 3]) for number in range(4)]
    seen = {Path("0"): "train", Path("1"): "train", Path("2"): "val"}
    assert lines(predictions, seen) == [
        f"all labelled files: top-1 {share(3, 4)}, top-5 {share(4, 4)} (n=4)",
        "files that the head was trained or chosen on, by content: 2 in train, 1 in val;",
        f"  without them: top-1 {share(0, 1)}, top-5 {share(1, 1)} (n=1)",
    ]


def test_the_last_line_leaves_out_unknown_classes_and_files_of_train() -> None:
    # Two of train that are right, two unknown ones, of which train has one; of the rest 1 of 3.
    true = ["a", "a", "z", "z", "a", "e", "e"]
    predictions = [prediction(str(number), "abcde", each) for number, each in enumerate(true)]
    seen = {Path("0"): "train", Path("1"): "train", Path("3"): "train"}
    said = lines(predictions, seen)
    assert said[2].startswith(f"  without them: top-1 {share(3, 5)}")
    assert said[4].startswith(f"  without them: top-1 {share(1, 4)}")
    assert said[5:] == [f"without either: top-1 {share(1, 3)}, top-5 {share(3, 3)} (n=3)"]


def test_what_is_not_answered_is_coverage_and_no_mistake() -> None:
    predictions = [prediction("1", "abcde", "a"), prediction("2", "bcdea", "a", True)]
    assert lines(predictions, least=0.6) == [
        f"abstained: 1 of 2, {share(1, 2)}, below 0.6",
        f"all labelled files: answered {share(1, 2)} (n=2), top-1 {share(1, 1)}, "
        f"top-5 {share(1, 1)} (n=1)",
    ]
    assert lines(predictions[1:], least=0.6)[1].endswith("(n=1), no answer to count")
