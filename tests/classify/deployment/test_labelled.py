from pathlib import Path

import pytest

from headbench.classify.deployment.labelled import Scores, true_classes
from headbench.classify.deployment.prediction import Prediction
from headbench.classify.intervals import wilson
from headbench.classify.wording import percent
from tests.conftest import listen, write_image

CLASSES = ("blue", "green", "red")
LETTERS = ("a", "b", "c", "d", "e", "f")


def make(folder: Path, *names: str) -> Path:
    for name in names:
        write_image(folder / name, seed=1)
    return folder


def labels(folder: Path, *more: str) -> tuple[dict[str, str], str]:
    said = listen()
    found = true_classes([str(folder), *more], CLASSES)
    named = {path.relative_to(folder).as_posix(): name for path, name in found.items()}
    return named, "\n".join(said)


def test_labels_come_from_folders_and_not_from_a_data_set_saved_there(tmp_path: Path) -> None:
    folder = make(tmp_path, "red/1.png")
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert labels(folder)[0] == {"red/1.png": "red"}


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("red/1.png", "blue/2.png"), "class folders"),
        (("red/deep/1.png",), "class folders"),
        (("train/red/1.png", "val/red/1.png", "test/blue/2.png"), "split folders"),
        (("images/red/1.png", "images/blue/2.png"), "food101"),
    ],
)
def test_class_folders_are_true_classes_in_every_layout(
    tmp_path: Path, names: tuple[str, ...], layout: str
) -> None:
    folder = make(tmp_path, *names)
    if layout == "food101":
        (folder / "meta").mkdir()
        (folder / "meta/train.txt").write_text("red/1\n")
        (folder / "meta/test.txt").write_text("blue/2\n")
    found, said = labels(folder)
    assert found == {name: "red" if "red" in name else "blue" for name in names}
    assert said == f"{folder}: true classes are taken from the names of its folders ({layout})"


def test_folders_that_look_like_splits_give_no_labels_and_no_error(tmp_path: Path) -> None:
    found, said = labels(make(tmp_path, "train/1.png", "test1/2.png"))
    assert found == {}
    assert "accuracy is unknown: " in said
    assert "look like splits" in said


def test_folders_that_are_no_class_are_named_and_keep_their_name(tmp_path: Path) -> None:
    found, said = labels(make(tmp_path, "red/1.png", "mauve/2.png", "stray.png"))
    assert found == {"red/1.png": "red", "mauve/2.png": "mauve"}
    assert said.splitlines()[1] == "1 folder names no class of the model: mauve"


def test_a_folder_without_folders_says_nothing(tmp_path: Path) -> None:
    assert labels(make(tmp_path, "1.png")) == ({}, "")


@pytest.mark.parametrize(
    ("names", "found"),
    [(("Red Ones/1.png", "ochre/2.png"), "Red Ones, ochre"), (("a/red/1.png",), "a")],
)
def test_where_no_folder_is_a_class_it_is_said_what_was_found_and_expected(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    assert labels(make(tmp_path, *names)) == (
        {},
        f"{tmp_path}: accuracy is unknown: no folder in it is named after a class (found "
        f"{found}; expected blue, green, red)",
    )


def test_a_folder_that_is_named_after_a_class_holds_that_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "red", "1.png", "deep/2.png")
    said = f"{folder}: the name of the folder is taken as the true class"
    assert labels(folder) == ({"1.png": "red", "deep/2.png": "red"}, said)
    monkeypatch.chdir(folder)
    assert labels(Path()) == labels(Path(".")) != ({}, "")


def test_many_folders_that_are_named_after_classes_are_said_in_one_line(tmp_path: Path) -> None:
    make(tmp_path, "red/1.png", "blue/2.png")
    said = listen()
    named = [str(tmp_path / name) for name in ("red", "blue")]
    assert sorted(true_classes(named, CLASSES).values()) == ["blue", "red"]
    assert said == [f"{', '.join(named)}: the name of the folder is taken as the true class"]


@pytest.mark.parametrize(
    ("named", "names", "ambiguous"),
    [
        (".", ("red/1.png", "blue/red/2.png"), "blue/red/2.png"),
        ("blue", ("red/2.png",), "red/2.png"),
    ],
)
def test_a_class_inside_another_is_ambiguous(
    tmp_path: Path, named: str, names: tuple[str, ...], ambiguous: str
) -> None:
    folder = make(tmp_path / named, *names)
    said = f"{folder}: accuracy is unknown: {ambiguous} lies in the folders of two classes"
    assert labels(folder) == ({}, said)


def test_files_patterns_and_lists_have_no_labels(tmp_path: Path) -> None:
    folder = make(tmp_path, "red/1.png")
    said = listen()
    named = [str(folder / "red/1.png"), str(folder / "*/*.png"), "-"]
    assert true_classes(named, CLASSES) == {}
    assert said == []


def prediction(name: str, order: str, true: str | None, is_abstained: bool = False) -> Prediction:
    top = tuple((each, 0.5) for each in order)
    return Prediction(Path(name), top, None, true, is_abstained)


def lines(
    predictions: list[Prediction], seen: dict[Path, str] | None = None, least: float = 0.0
) -> list[str]:
    scores = Scores(LETTERS, seen or {}, least)
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
        "2 labelled files named twice: each counts once below",
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
    assert lines(predictions[1:], least=0.6)[1].endswith("(n=1), no answers to measure")
